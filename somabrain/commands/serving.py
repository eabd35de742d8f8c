"""`somabrain serve`: the server in this process, or in several that this one starts."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import orjson
import structlog
import uvicorn
import yaml
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from common.config.settings import Settings, is_loopback, load_settings
from somabrain.api.services import Services
from somabrain.app import Application
from somabrain.bootstrap import (
    application,
    make_app,
    open_database,
    open_metrics_server,
    open_services,
    prove,
    shared_metrics,
)
from somabrain.commands.output import EXIT_CONFIGURATION, err, fail
from somabrain.errors import ConfigurationError
from somabrain.observability.logs import configure_logs
from somabrain.observability.metrics import FOLDER

YAML_WIDTH = 120
"""Columns of openapi.yaml, as of the code."""


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; running requests get SHUTDOWN_TIMEOUT_S to end."""
    configure_logs(settings.somabrain_log_level)
    with ExitStack() as stack:
        listener = stack.enter_context(_bound(settings))
        try:
            services = stack.enter_context(open_services(settings))
            if not settings.loopback:
                stack.enter_context(open_metrics_server(settings, services.metrics.registry))
            app = application(settings, lambda: nullcontext(services))
        except ConfigurationError as error:
            fail(str(error), EXIT_CONFIGURATION)
        config = _config(settings, app)
        _told(settings, listener, workers=1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopped)
        _keep_what_started()
        uvicorn.Server(config).run(sockets=[listener])


def serve_together(settings: Settings, workers: int) -> None:
    """The same in `workers` processes, which share the port and the database (ADR 20).

    One that ends is replaced; one that can't start ends all. SIGHUP replaces each in turn.
    """
    configure_logs(settings.somabrain_log_level)
    with ExitStack() as stack:
        listener = stack.enter_context(_bound(settings))
        folder = stack.enter_context(TemporaryDirectory(prefix="somabrain-metrics-"))
        try:
            prove(settings)
            database = stack.enter_context(open_database(settings))
            if not settings.loopback:
                registry = shared_metrics(settings, database, Path(folder))
                stack.enter_context(open_metrics_server(settings, registry))
        except ConfigurationError as error:
            fail(str(error), EXIT_CONFIGURATION)
        os.environ[FOLDER] = folder
        config = _config(settings, f"{__name__}:worker", workers=workers)
        _told(settings, listener, workers=workers)
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            fail("a process could not start; its log says why", EXIT_CONFIGURATION)


def worker() -> Application:
    """The application of one of several processes, of the environment's settings."""
    settings = load_settings()
    configure_logs(settings.somabrain_log_level)
    return application(settings, lambda: _opened(settings))


@contextmanager
def _opened(settings: Settings) -> Iterator[Services]:
    with open_services(settings) as services:
        _keep_what_started()
        yield services


def _keep_what_started() -> None:
    """What the start has made stays: a full collection need not look at it, for a tenth of a second."""
    gc.freeze()


def _config(settings: Settings, app: Application | str, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )


def _told(settings: Settings, listener: socket.socket, *, workers: int) -> None:
    """Says where the server is."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    structlog.get_logger().info("serving", url=f"http://{shown}:{port}", auth=settings.auth_mode, workers=workers)
    if err.is_terminal:
        err.print(f"Somabrain listens at http://{shown}:{port} - API at /docs, health at /readyz. Ctrl-C stops it.")


def _stopped(_number: int, _frame: FrameType | None) -> None:
    """Uvicorn raises the signal once more when it has stopped; what this process opened is closed after that."""


def _bound(settings: Settings) -> socket.socket:
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
