"""`somabrain mcp`: memory and experience as tools for MCP clients."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from somabrain.client import AsyncBrain, BrainError
from somabrain.commands.output import EXIT_CONFIGURATION, err, fail
from somabrain.errors import ConfigurationError
from somabrain.mcp import serving
from somabrain.tenancy import NAME_PATTERN


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whom the tools ask: a service at `url`, or without one the service in this process with its data in `data`."""

    url: str | None
    key: str | None
    namespace: str
    data: Path

    def open(self) -> AsyncBrain:
        """The brain. Raises `ValueError`, `BrainError`, `ConfigurationError`, `OSError`."""
        return AsyncBrain(self.url, namespace=self.namespace, key=self.key, data=self.data)


def serve_stdio(asked: Asked) -> None:
    """Serves standard input and output until the input ends."""
    _check(asked)
    try:
        serving.serve_stdio(asked.open)
    except (ValueError, BrainError, ConfigurationError, OSError) as error:
        fail(str(error), EXIT_CONFIGURATION)


def serve_http(asked: Asked, *, host: str, port: int, key: str | None, hosts: Sequence[str]) -> None:
    """Serves streamable HTTP until SIGTERM or SIGINT."""
    _check(asked)
    with _bound(host, port) as listener:
        try:
            serving.security_of(listener.getsockname()[0], key=key, hosts=hosts)
            brain = asked.open()
        except (serving.NotSafeError, ValueError, BrainError, ConfigurationError, OSError) as error:
            fail(str(error), EXIT_CONFIGURATION)
        address, number = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        err.print(f"MCP at http://{shown}:{number}{serving.PATH}. Ctrl-C stops it.")
        serving.serve_http(brain, listener, key=key, hosts=hosts)


def _check(asked: Asked) -> None:
    if not re.fullmatch(NAME_PATTERN, asked.namespace):
        fail(f"--namespace {asked.namespace!r}: 1 to 64 of A-Za-z0-9._-", EXIT_CONFIGURATION)


def _bound(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((name, port))
    except OSError as error:
        listener.close()
        fail(f"--host, --port: can't listen on {host}:{port}: {error.strerror}", EXIT_CONFIGURATION)
    return listener
