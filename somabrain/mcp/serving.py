"""The server on its transports: stdio, and streamable HTTP on an address that was bound before."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address

import uvicorn
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from somabrain.client import AsyncBrain
from somabrain.mcp.server import make_server

PATH = "/mcp"
GRACE_S = 5
"""How long running calls get to end when the server is stopped."""
KEY_CHARACTERS_MIN = 16
"""Shortest key of clients that is taken: a shorter one can be guessed."""

_STDOUT, _STDERR = 1, 2
_SIGNALLED = 128
"""A program that a signal ended has this status plus the signal's number, as shells tell it."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class NotSafeError(Exception):
    """The address can't be served so; the message says what to add."""


def serve_stdio(open_brain: Callable[[], AsyncBrain]) -> None:
    """Serves the process's standard input and output until the input ends or SIGTERM or SIGINT, and closes the brain.

    Whatever else is written to standard output goes to standard error, from the moment on that the brain is opened:
    nothing but the protocol may be there. Raises as `open_brain`.
    """
    with _nothing_said():
        brain = open_brain()
    try:
        asyncio.run(_stdio(brain))
    finally:
        brain.brain.close()


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Standard output is standard error within; `stdio_server` does the same while it serves."""
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


async def _stdio(brain: AsyncBrain) -> None:
    def stop(number: int) -> None:
        brain.brain.close()
        os._exit(_SIGNALLED + number)  # a thread that reads standard input can't be woken, and an exit waits for it

    if os.name == "posix":  # where loops handle signals
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    server = make_server(brain)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def serve_http(brain: AsyncBrain, listener: socket.socket, *, key: str | None, hosts: Sequence[str]) -> None:
    """Serves `PATH` on a bound socket until SIGTERM or SIGINT, and closes `brain`.

    `key`: what clients have to send as a bearer token, None: nothing; `hosts`: names and addresses that clients call
    this server by, beside those of loopback where it is bound there. Raises `NotSafeError`.
    """
    bound = listener.getsockname()[0]
    security = security_of(bound, key=key, hosts=hosts)
    app: ASGIApp = make_server(brain).streamable_http_app(
        streamable_http_path=PATH, transport_security=security, host=bound
    )
    if key is not None:
        app = KeyNeeded(app, key)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        brain.brain.close()


def security_of(bound: str, *, key: str | None, hosts: Sequence[str]) -> TransportSecuritySettings:
    """Which Host and Origin headers are taken on this address, the guard against DNS rebinding.

    Raises `NotSafeError` for an address beyond loopback without a key or without a name to be called by, and for a key
    that can be guessed.
    """
    if key is not None and len(key) < KEY_CHARACTERS_MIN:
        raise NotSafeError(f"--http-key (SOMABRAIN_MCP_KEY) has at least {KEY_CHARACTERS_MIN} characters")
    address = ip_address(bound)
    names = list(hosts)
    if address.is_loopback:
        names += _LOOPBACK
    elif key is None:
        raise NotSafeError(
            f"whoever reaches {bound} could read and write the memory: set SOMABRAIN_MCP_KEY, which clients then send "
            "as a bearer token, or listen on 127.0.0.1"
        )
    elif not address.is_unspecified:
        names.append(f"[{bound}]" if ":" in bound else bound)
    elif not names:
        raise NotSafeError(f"{bound} is every address: say with --allow-host which name clients call this server by")
    origins = [f"{scheme}://{name}" for name in names for scheme in ("http", "https")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[*origins, *(f"{origin}:*" for origin in origins)],
    )


class KeyNeeded:
    """Lets requests through that have the key as their bearer token (RFC 6750)."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._wanted = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401 without the key; only the server's start and stop need none."""
        if scope["type"] != "lifespan":
            given = Headers(scope=scope).get("authorization", "").encode()
            if not hmac.compare_digest(given, self._wanted):
                refusal = PlainTextResponse(
                    "a bearer token is needed\n",
                    status_code=HTTPStatus.UNAUTHORIZED,
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
