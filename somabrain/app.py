"""The application: routes, error map, documentation. It opens nothing until its lifespan begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from somabrain.api import errors, experience, health, memories, odds, options, traces, worlds
from somabrain.api.description import complete
from somabrain.api.edge import RequestEdge
from somabrain.api.guard import GuardedRoute, Usage
from somabrain.api.services import ApiSettings, Services

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

PUBLIC = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/assets/{name}", "/docs/errors"})
"""Paths that do not ask the policy (DESIGN §8)."""

FREQUENT = ("act", "predict", "plan", "memory_recall")
"""Operations that agents ask for at every step: a request is compared with the routes in their order."""

DESCRIPTION = (
    "A memory and skill runtime for AI agents: report what was lived through, ask for a plan, follow it. "
    "Every refusal is listed at /docs/errors."
)


class Application(FastAPI):
    """FastAPI inside the edge that gives every request its ids, also where the application fails."""

    def __init__(
        self, dimension: int, lifespan: Callable[[FastAPI], Any], tracer_provider: TracerProvider | None
    ) -> None:
        """`dimension`: MEMORY_DIM, which the documentation states; no `tracer_provider`: no traces."""
        self._dimension = dimension
        super().__init__(
            title="Somabrain",
            version=version("somabrain"),
            description=DESCRIPTION,
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=lifespan,
            telemetry={
                "tracer_provider": tracer_provider,
                "tracing": tracer_provider is not None,
                "metrics": False,
                "logs": False,
                "operation_spans": False,
            },
        )
        self._edge = RequestEdge(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        scope["app"] = self
        await self._edge(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The API's description."""
        if self.openapi_schema is None:
            guarded = frozenset(str(route.operation_id) for route in self.routes if isinstance(route, GuardedRoute))
            complete(super().openapi(), dimension=self._dimension, guarded=guarded)
        assert self.openapi_schema is not None
        return self.openapi_schema


def create_app(
    open_services: Callable[[], AbstractContextManager[Services]],
    settings: ApiSettings,
    dimension: int,
    tracer_provider: TracerProvider | None = None,
) -> Application:
    """The application over services that are opened when it starts and closed when it stops.

    Raises `AssertionError` where a route would neither be public nor ask the policy.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opening = open_services()
        app.state.usage = Usage()
        app.state.services = await run_in_threadpool(opening.__enter__)
        try:
            yield
        finally:
            await run_in_threadpool(opening.__exit__, None, None, None)
            if tracer_provider is not None:
                await run_in_threadpool(tracer_provider.shutdown)

    app = Application(dimension, lifespan, tracer_provider)
    errors.install(app)
    routers = [health.router]
    if settings.metrics_on_main_port:
        routers.append(health.metrics_router)
    if settings.serves_requests:
        routers += [
            options.router,
            worlds.router,
            worlds.events_router,
            experience.router,
            traces.router,
            odds.router,
            memories.router,
        ]
    routes = [route for router in routers for route in router.routes]
    app.router.routes.extend(sorted(routes, key=_rarity))
    unguarded = [path for path, guarded in guarded_paths(app) if not guarded and path not in PUBLIC]
    assert not unguarded, f"routes without a policy question: {unguarded}"
    return app


def _rarity(route: BaseRoute) -> int:
    operation = getattr(route, "operation_id", None)
    return FREQUENT.index(operation) if operation in FREQUENT else len(FREQUENT)


def guarded_paths(app: FastAPI) -> list[tuple[str, bool]]:
    """Each route's path, and whether it asks the policy."""
    return [(getattr(route, "path", ""), isinstance(route, GuardedRoute)) for route in app.routes]
