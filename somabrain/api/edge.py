"""The outermost layer of every request: its ids, its duration, its log line."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders
from uuid_utils import uuid4

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, §3.2."""
_MS_PER_S = 1000
_MS_DECIMALS = 3

log = structlog.get_logger()


class RequestEdge:
    """Gives each request a trace id and each response its X-Request-Id; observes and logs it when it ends.

    A request that names no id of its own has that of its trace.
    """

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what the requests are for; its scope's application has the services in its state."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        traced = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        trace_id = traced.group(1) if traced else uuid4().hex
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else trace_id
        scope.setdefault("state", {})["trace_id"] = trace_id
        began = time.perf_counter()
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            _observe(scope, status, time.perf_counter() - began, request_id)


def _observe(scope: Scope, status: int, elapsed_s: float, request_id: str) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    services = getattr(scope["app"].state, "services", None)
    if services is not None:
        services.metrics.http.labels(route, scope["method"], str(status)).observe(elapsed_s)
    caller = scope.get("somabrain.caller")
    log.info(
        "request",
        method=scope["method"],
        route=route,
        status=status,
        ms=round(elapsed_s * _MS_PER_S, _MS_DECIMALS),
        tenant=None if caller is None else caller.principal.tenant.value,
        request_id=request_id,
        trace_id=scope["state"]["trace_id"],
    )
