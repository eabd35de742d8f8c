"""`somabrain serve`: the server in this process."""

from __future__ import annotations

import gc
import signal
import socket
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import FrameType

import orjson
import structlog
import uvicorn
import yaml

from common.config.settings import Settings, is_loopback
from somabrain.app import Application
from somabrain.bootstrap import application, make_app, open_metrics_server, open_services
from somabrain.commands.output import EXIT_CONFIGURATION, err, fail
from somabrain.errors import ConfigurationError
from somabrain.observability.logs import configure_logs

YAML_WIDTH = 120
"""Columns of openapi.yaml, as of the code."""


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; running requests get SHUTDOWN_TIMEOUT_S to end."""
    configure_logs(settings.somabrain_log_level)
    with ExitStack() as stack:
        listener = stack.enter_context(bound(settings))
        try:
            services = stack.enter_context(open_services(settings))
            if not settings.loopback:
                stack.enter_context(open_metrics_server(settings, services.metrics.registry))
            app = application(settings, lambda: nullcontext(services))
        except ConfigurationError as error:
            fail(str(error), EXIT_CONFIGURATION)
        config = configuration(settings, app)
        tell(settings, listener, workers=1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopped)
        keep_what_started()
        uvicorn.Server(config).run(sockets=[listener])


def keep_what_started() -> None:
    """What the start has made stays: a full collection need not look at it, for a tenth of a second."""
    gc.freeze()


def configuration(settings: Settings, app: Application | str, workers: int = 1) -> uvicorn.Config:
    """Uvicorn's for an application, or for the name of what makes it."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )


def tell(settings: Settings, listener: socket.socket, *, workers: int) -> None:
    """Says where the server is."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    structlog.get_logger().info("serving", url=f"http://{shown}:{port}", auth=settings.auth_mode, workers=workers)
    if err.is_terminal:
        err.print(f"Somabrain listens at http://{shown}:{port} - API at /docs, health at /readyz. Ctrl-C stops it.")


def _stopped(_number: int, _frame: FrameType | None) -> None:
    """Uvicorn raises the signal once more when it has stopped; what this process opened is closed after that."""


def bound(settings: Settings) -> socket.socket:
    """The listening socket. Bound before the database is opened, so that a taken port changes nothing."""
    host = settings.somabrain_host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, settings.somabrain_port))
    except OSError as error:
        listener.close()
        fail(f"SOMABRAIN_HOST, SOMABRAIN_PORT: can't listen on {host}:{settings.somabrain_port}: {error.strerror}")
    assert settings.auth_mode != "none" or is_loopback(listener.getsockname()[0])
    return listener


def openapi_text(settings: Settings) -> str:
    """The API's description as YAML, as `openapi.yaml` holds it."""
    document = orjson.loads(orjson.dumps(make_app(settings).openapi()))
    return yaml.safe_dump(document, sort_keys=True, allow_unicode=True, width=YAML_WIDTH)


def write_openapi(settings: Settings, path: Path, *, check: bool) -> None:
    """Writes `path`, or with `check` ends with status 1 where it is not what the application generates."""
    text = openapi_text(settings)
    if not check:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        fail(f"{path} is not what the application generates: run `somabrain openapi` and commit the result")
