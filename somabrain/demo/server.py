"""A server of the demo's own: on a free loopback port, with data in a temporary folder, gone when the demo is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from common.config.settings import Settings
from somabrain.demo.errors import DemoError

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0
"""A first start writes caches on a slow disk; a later one takes about a second."""
STOP_TIMEOUT_S = 15.0
POLL_S = 0.02
ANSWER_TIMEOUT_S = 30.0

_SERVE = "from somabrain.cli import main; main()"


class OwnServer:
    """A `somabrain serve` process that was started, and is perhaps not ready yet."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        """`log`: the file that it writes its log to."""
        self.url = url
        self._process = process
        self._log = log

    def wait(self) -> None:
        """Waits until it answers. Raises `DemoError` with the last line of its log where it does not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(base_url=self.url, trust_env=False, timeout=START_TIMEOUT_S) as http:
            while self._process.poll() is None and time.monotonic() < deadline:
                with suppress(httpx.TransportError):
                    if http.get("/readyz").is_success:
                        return
                time.sleep(POLL_S)
        message = f"the server did not start: {self.last_line()}"
        raise DemoError(message)

    def last_line(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it wrote nothing")

    def client(self) -> httpx.Client:
        """A client that keeps its connection, and takes no proxy from the environment."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=ANSWER_TIMEOUT_S)


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Starts a server with default settings but no Milvus, whatever the environment says; then removes its data."""
    with tempfile.TemporaryDirectory(prefix="somabrain-demo-") as name:
        folder, port = Path(name), _free_port()
        log = folder / "server.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, and arguments of this module
                [sys.executable, "-c", _SERVE, "serve"],
                env=_environment(folder / "data", port),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield OwnServer(process, f"http://{LOOPBACK}:{port}", log)
        finally:
            _stop(process)


def _environment(data: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {
        **kept,
        "AUTH_MODE": "none",
        "SOMABRAIN_HOST": LOOPBACK,
        "SOMABRAIN_PORT": str(port),
        "SOMABRAIN_DATA_DIR": str(data),
        "SOMABRAIN_LOG_LEVEL": "warning",
        "MILVUS_URI": "off",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
