"""An embeddings endpoint in OpenAI's form, on a free loopback port, whose vectors a text's SHA-512 gives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

DIMENSION = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came."""

    path: str
    authorization: str | None
    body: Any


Answer = tuple[int, bytes | list[bytes]]
"""Status and body, which goes out piece by piece, PAUSE_S apart."""

PAUSE_S = 0.05


def vector(text: str, dimension: int = DIMENSION) -> list[float]:
    """Components of ±1 to ±128, never all zero."""
    return [float(byte - 128 or 1) for byte in shake_256(text.encode("utf-8", "surrogatepass")).digest(dimension)]


def right(asked: Asked) -> Answer:
    """The vectors asked for, in reverse order with their indices, as the form allows."""
    dimension = asked.body.get("dimensions", DIMENSION)
    items = [
        {"object": "embedding", "index": at, "embedding": vector(text, dimension)}
        for at, text in enumerate(asked.body["input"])
    ]
    return 200, json.dumps({"object": "list", "data": items[::-1], "model": asked.body["model"]}).encode()


class EmbeddingServer:
    """Answers each request by the next of `script`, and by `right` when that is used up."""

    def __init__(self, script: Sequence[Callable[[Asked], Answer]] = ()) -> None:
        """Binds the port; serves within `with`."""
        self.asked: list[Asked] = []
        left = list(script)
        lock = threading.Lock()
        asked_so_far = self.asked

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                asked = Asked(path=self.path, authorization=self.headers["Authorization"], body=json.loads(data))
                with lock:
                    asked_so_far.append(asked)
                    answer = left.pop(0) if left else right
                status, body = answer(asked)
                pieces = [body] if isinstance(body, bytes) else body
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(sum(map(len, pieces))))
                self.end_headers()
                try:
                    for piece in pieces:
                        self.wfile.write(piece)
                        time.sleep(PAUSE_S if len(pieces) > 1 else 0)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
