"""Kept connections that ask one server as fast as it answers, or at a given pace."""

from __future__ import annotations

import re
import time
from asyncio import StreamReader, StreamWriter, gather, open_connection, sleep
from collections.abc import Sequence
from contextlib import asynccontextmanager
from itertools import count, cycle
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MS_PER_S = 1000.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_OK = b"HTTP/1.1 200"


def request(method: str, path: str, content: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def saturated(port: int, requests: Sequence[bytes], *, clients: int, seconds: float) -> float:
    """Answers a second to `clients` connections that ask again as soon as they are answered."""
    return uvloop.run(_saturated(port, requests, clients, seconds))


def paced(port: int, requests: Sequence[bytes], *, clients: int, rate: float, seconds: float) -> list[float]:
    """Milliseconds from when each request was due, `rate` a second, to its answer; `clients` connections share them.

    A request that finds every connection busy waits, and its waiting counts.
    """
    return uvloop.run(_paced(port, requests, clients, rate, seconds))


async def _saturated(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> float:
    following, answered = cycle(requests), count()
    began = time.perf_counter()

    async def client() -> None:
        async with _connected(port) as connection:
            while time.perf_counter() - began < seconds:
                await _answer(connection, next(following))
                next(answered)

    await gather(*(client() for _ in range(clients)))
    return next(answered) / (time.perf_counter() - began)


async def _paced(port: int, requests: Sequence[bytes], clients: int, rate: float, seconds: float) -> list[float]:
    following, spent = cycle(requests), list[float]()
    began = time.perf_counter()
    due: Iterator[float] = (began + number / rate for number in range(int(rate * seconds)))

    async def client() -> None:
        async with _connected(port) as connection:
            for at in due:
                await sleep(max(0.0, at - time.perf_counter()))
                await _answer(connection, next(following))
                spent.append(MS_PER_S * (time.perf_counter() - at))

    await gather(*(client() for _ in range(clients)))
    return spent


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    reader, writer = await open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def _answer(connection: tuple[StreamReader, StreamWriter], content: bytes) -> None:
    """Raises `RuntimeError` where the answer is not 200."""
    reader, writer = connection
    writer.write(content)
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length.group(1)) if length else 0)
    if not head.startswith(_OK):
        message = f"{head.splitlines()[0]!r}: {body[:200]!r}"
        raise RuntimeError(message)
