"""The engine of Milvus Lite: a process of our own, one file, one Unix socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from somabrain.ports import VectorEngineMismatchError, VectorEngineUnavailableError

NAME = re.compile(r"[A-Za-z0-9._-]{1,36}")
"""The file names that Milvus Lite takes."""

OWNER_TIMEOUT_S = 1.0
"""Wait for the engine of a process that was killed, which ends some milliseconds after it."""

STOP_TIMEOUT_S = 2.0
LOOK_S = 0.005
_FOLDERS = ("HOME", "TMPDIR")
"""Where the engine keeps what it leaves behind: it does not start without a home, and logs to the other."""

RUN_PREFIX = "somabrain-lite-"
"""Of the name of the folder that an engine runs in."""

LEFTOVERS = ("", "-journal", "-wal", "-shm")  # https://www.sqlite.org/tempfiles.html


class LiteServer:
    """Starts and stops the engine; not thread-safe.

    It is started without the package `milvus_lite`, which waits half a second, needs setuptools and, where a file is
    in use, removes its user's lock. The engine ends by itself when the lock that its starter holds is released, by a
    kill too. It inherits a second lock: nobody starts another on the file while it still lives. That one's file names
    the folder that the engine runs in, which the next to start removes where nobody else did.
    """

    def __init__(self, path: Path, *, monotonic_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        """Touches nothing."""
        self._path = path
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._process: subprocess.Popen[bytes] | None = None
        self._locks: list[IO[bytes]] = []
        self._run: Path | None = None

    @property
    def alive(self) -> bool:
        """Whether the engine runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float, *, anew: bool = False) -> str:
        """Starts the engine, with `anew` on an empty file, and returns its address.

        Raises `VectorEngineUnavailableError` and `VectorEngineMismatchError`.
        """
        self.stop()
        try:
            self._lock()
            if anew:
                for ending in LEFTOVERS:
                    self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            return self._launch(timeout_s)
        except OSError as error:
            self.stop()
            message = f"Milvus Lite: {self._path}: {error.strerror or error}"
            raise VectorEngineUnavailableError(message) from error
        except (VectorEngineUnavailableError, VectorEngineMismatchError):
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the engine, if there is one."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()
        if self._process is not None:
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._run is not None:
            shutil.rmtree(self._run, ignore_errors=True)
            self._run = None

    def _lock(self) -> None:
        if NAME.fullmatch(self._path.name) is None:
            message = f"Milvus Lite: {self._path.name}: a file name is 1 to 36 of A-Za-z0-9._-"
            raise VectorEngineMismatchError(message)
        owner = self._path.with_name(f".{self._path.name}.owner").open("a+b")
        self._locks.append(owner)
        self._await_lock(fcntl.flock, owner)
        watched = self._watched().open("ab")
        self._locks.append(watched)
        self._await_lock(fcntl.lockf, watched)

    def _watched(self) -> Path:
        """The lock file by whose release the engine ends; that of the package `milvus_lite`, which it shuts out."""
        return self._path.with_name(f".{self._path.name}.lock")

    def _await_lock(self, lock: Callable[[IO[bytes], int], object], file: IO[bytes]) -> None:
        deadline_s = self._monotonic_s() + OWNER_TIMEOUT_S
        while True:
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                if self._monotonic_s() >= deadline_s:
                    message = f"Milvus Lite: another process has {self._path} open"
                    raise VectorEngineUnavailableError(message) from error
                self._sleep(LOOK_S)
            else:
                return

    def _launch(self, timeout_s: float) -> str:
        programs = _programs()
        self._run = _run_folder(self._locks[0])
        address = self._run / "socket"
        libraries = {
            name: f"{programs}:{os.environ.get(name, '')}" for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
        }
        self._process = subprocess.Popen(  # noqa: S603 - the package's own program
            [programs / "milvus", self._path, f"unix:{address}", "ERROR", self._watched()],
            env={**os.environ, **libraries, **dict.fromkeys(_FOLDERS, str(self._run))},
            cwd=self._path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._locks[0].fileno()],
        )
        deadline_s = self._monotonic_s() + timeout_s
        while self._monotonic_s() < deadline_s and self.alive:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(address))
                return f"unix:{address}"
            self._sleep(LOOK_S)
        message = (
            f"Milvus Lite did not start on {self._path}; if the file is damaged, `somabrain reconcile --rebuild` "
            "makes it anew"
        )
        raise VectorEngineUnavailableError(message)


def _run_folder(owner: IO[bytes]) -> Path:
    """A new folder, named in the file of the owner's lock; the one that was named there before is removed."""
    owner.seek(0)
    before = Path(os.fsdecode(owner.read()))
    if before.name.startswith(RUN_PREFIX) and before.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(before, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX))
    owner.truncate(0)
    owner.write(os.fsencode(folder))
    owner.flush()
    return folder


def _programs() -> Path:
    """The folder of the engine's program. Raises `VectorEngineMismatchError`."""
    package = find_spec("milvus_lite")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "lib"
        if (folder / "milvus").exists():
            return folder
    message = "Milvus Lite: its engine is not installed; `pip install 'milvus-lite>=2.5.1,<3'`, or set MILVUS_URI"
    raise VectorEngineMismatchError(message)
