"""Small servers that do what a service must not: never answer, answer byte by byte, answer garbage."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SLEEP_S = 10.0
DRIP_S = 0.03

Manners = Callable[[socket.socket, threading.Event], None]


@contextmanager
def misbehaving(manners: Manners, port: int = 0) -> Iterator[str]:
    """A server whose every connection is handed to `manners`; yields its URL. It ends with the block."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(0.05)
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(1 << 20)
                manners(connection, over)
            except OSError:  # the client hung up, as it should
                return

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        accepting.join()
        listener.close()
        for thread in threads:
            thread.join()


def sleeps(_connection: socket.socket, over: threading.Event) -> None:
    over.wait(SLEEP_S)


def drips_headers(connection: socket.socket, over: threading.Event) -> None:
    _drip(connection, over, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000)


def drips_a_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n")
    _drip(connection, over, b" " * 1000)


def _drip(connection: socket.socket, over: threading.Event, content: bytes) -> None:
    until = time.monotonic() + SLEEP_S
    for place in range(len(content)):
        if over.wait(DRIP_S) or time.monotonic() > until:
            return
        connection.sendall(content[place : place + 1])


def answers(body: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> Manners:
    """One answer with this body, and the end of the connection."""
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"

    def manners(connection: socket.socket, _over: threading.Event) -> None:
        connection.sendall(head % (status, len(body), kind) + body)

    return manners


def speaks_no_http(connection: socket.socket, _over: threading.Event) -> None:
    connection.sendall(b"\x00\xff SSH-2.0-nothing\r\n\r\n")


def hangs_up(_connection: socket.socket, _over: threading.Event) -> None:
    """Closes the connection without a word."""


NONSENSE: dict[str, Manners] = {
    "sleeps": sleeps,
    "drips headers": drips_headers,
    "drips a body": drips_a_body,
    "hangs up": hangs_up,
    "speaks no HTTP": speaks_no_http,
    "says nothing": answers(b""),
    "another page": answers(b"<html>captive portal</html>", kind=b"text/html"),
    "other JSON": answers(b'{"success_probability": "likely"}'),
    "a list": answers(b"[]"),
    "deep JSON": answers(b"[" * 100_000),
    "broken UTF-8": answers(b'{"success_probability": "\xff\xfe'),
    "a bad gateway": answers(b"<html>502</html>", b"502 Bad Gateway", b"text/html"),
    "a foreign refusal": answers(b'{"error": "no"}', b"404 Not Found"),
    "elsewhere": answers(b"", b"302 Found"),
    "odds beyond all bounds": answers(json.dumps({"success_probability": 1e999}).encode()),
}
"""All of them by name."""
