"""A real Milvus server for tests: the standalone one of the PyPI wheel, reachable from this machine only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from somabrain.ports import Shelf, VectorEngineUnavailableError
from tests.factories import ALICE
from tests.servers import STOP_TIMEOUT_S, ServerMissingError, free_port
from tests.vectors import milvus

START_TIMEOUT_S = 180.0
INNER_PORT = 19530
TIME_TICK_MS = 50  # a read that sees all writes waits for one; by default 200
COMPONENTS = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")


@contextmanager
def milvus_server() -> Iterator[MilvusServer]:
    """A running server with no data, stopped and removed at the end. Raises `ServerMissingError`."""
    folder = Path(tempfile.mkdtemp(prefix="somabrain-milvus-"))
    try:
        server = MilvusServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class MilvusServer:
    """A standalone server that can be killed, frozen and started again on the same data.

    It is in a network namespace of its own (`tests.milvus_namespace`): it listens on all interfaces.
    """

    def __init__(self, folder: Path) -> None:
        """Unpacks the program and writes its configuration. Raises `ServerMissingError`."""
        if sys.platform != "linux" or find_spec("milvus") is None:
            message = "Milvus server: `pip install milvus==2.3.5`, on Linux"
            raise ServerMissingError(message)
        import milvus as wheel  # noqa: PLC0415 - it is not on every machine

        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        wheel._initialize_data_files(str(folder))  # noqa: SLF001 - the package has no public way
        configuration = wheel.MilvusServerConfig(data_dir=str(folder))
        configuration.resolve_storage()
        for component in COMPONENTS:
            configuration.set(f"{component}.ip", "127.0.0.1")
        configuration.set("proxy.timeTickInterval", TIME_TICK_MS)
        configuration.write_config()

    @property
    def log(self) -> str:
        """The end of what the server wrote."""
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def start(self) -> None:
        """Starts it and waits until it answers. Raises `ServerMissingError` where there are no namespaces."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        program = self.folder / "bin" / "milvus"
        own = {
            "DEPLOY_MODE": "STANDALONE",
            "LD_LIBRARY_PATH": str(program.parent),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        relay = [sys.executable, "-m", "tests.milvus_namespace", str(self.port), str(INNER_PORT)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*relay, program, "run", "standalone"], env={**kept, **own}, cwd=self.folder, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.2)
        log_end = self.log
        self.stop(signal.SIGKILL)
        if "no network namespace" in log_end:
            message = "Milvus server: a network namespace (be root, or allow those of users)"
            raise ServerMissingError(message)
        message = f"the Milvus server did not start:\n{log_end}"
        raise AssertionError(message)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it: SIGTERM asks first, SIGKILL does not."""
        if self._process is None:
            return
        if how == signal.SIGKILL and self._process.poll() is None:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(STOP_TIMEOUT_S)
        self._process = None

    def freeze(self) -> None:
        """Has it answer nothing, its connections open."""
        os.kill(self._server(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Has it go on."""
        os.kill(self._server(), signal.SIGCONT)

    def _server(self) -> int:
        assert self._process is not None
        pid = self._process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _answers(self) -> bool:
        """Whether it takes requests on collections, which its port's opening does not mean."""
        probe = milvus(self.uri, prefix="ready", timeout_s=5.0, connect_timeout_s=5.0)
        try:
            probe.open()
            probe.count(Shelf.OPTIONS, ALICE)
        except VectorEngineUnavailableError:
            return False
        finally:
            probe.close()
        return True
