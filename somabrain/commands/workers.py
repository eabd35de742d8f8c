"""`somabrain serve --workers`: the server in several processes, which this one starts and replaces (ADR 20)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from common.config.settings import Settings, load_settings
from somabrain.api.services import Services
from somabrain.app import Application
from somabrain.bootstrap import (
    application,
    open_database,
    open_metrics_server,
    open_services,
    prove,
    shared_metrics,
)
from somabrain.commands.output import EXIT_CONFIGURATION, fail
from somabrain.commands.serving import bound, configuration, keep_what_started, tell
from somabrain.errors import ConfigurationError
from somabrain.observability.logs import configure_logs
from somabrain.observability.metrics import FOLDER


def serve_together(settings: Settings, workers: int) -> None:
    """Serves in `workers` processes, which share the port and the database, until SIGTERM or SIGINT.

    One that ends is replaced; one that can't start ends all. SIGHUP replaces each in turn.
    """
    configure_logs(settings.somabrain_log_level)
    with ExitStack() as stack:
        listener = stack.enter_context(bound(settings))
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
        config = configuration(settings, f"{__name__}:worker", workers=workers)
        tell(settings, listener, workers=workers)
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
        keep_what_started()
        yield services
