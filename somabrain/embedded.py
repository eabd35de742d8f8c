"""The service in the caller's process, with its data in a folder: what `somabrain.client.Brain()` asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import structlog

from common.config.settings import Settings, load_settings
from somabrain.app import Application
from somabrain.bootstrap import make_app

LOOPBACK = "127.0.0.1"


def open_service(folder: Path) -> InProcess:
    """The service of the environment's settings, with its data in `folder` and for this process alone.

    What it has to say goes to the standard library's `logging`, unless the program has set up structlog. Raises
    `ConfigurationError`.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )
    alone = {"somabrain_data_dir": folder, "auth_mode": "none", "somabrain_host": LOOPBACK}
    return InProcess(load_settings().model_copy(update=alone))


class InProcess(httpx.BaseTransport):
    """Carries requests to the application, which runs on an event loop in a thread of its own. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Starts the application. Raises `ConfigurationError`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="somabrain", daemon=True)
        self._thread.start()
        app = make_app(settings)
        self._asgi = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(LOOPBACK, 0))
        self._lifespan = _lifespan(app)
        self._serves = False
        try:
            self._run(self._lifespan.__aenter__())
            self._serves = True
        finally:
            if not self._serves:
                self._stop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The application's answer, whole."""
        answer: httpx.Response = self._run(self._answer(request))
        return answer

    def close(self) -> None:
        """Stops the application, once."""
        if self._serves:
            self._serves = False
            self._run(self._lifespan.__aexit__(None, None, None))
            self._stop()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        answer = await self._asgi.handle_async_request(asked)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _lifespan(app: Application) -> AbstractAsyncContextManager[Any]:
    return app.router.lifespan_context(app)
