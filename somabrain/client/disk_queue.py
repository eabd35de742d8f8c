"""What is still to be sent, in a folder: it outlives the process, and is bounded."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

QUEUE_BYTES_MAX = 64 << 20
"""Most bytes that wait; what comes then is refused with a warning, and what waits is kept."""

REFUSED_BYTES_MAX = 16 << 20
"""Most bytes of what the service refused; beyond, the oldest is deleted."""

_NAME_DIGITS = 20
_OWNER_ONLY = 0o700
_NS_PER_S = 1_000_000_000
_SUFFIX = ".json"

log = logging.getLogger("somabrain.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A write that waits: its JSON body, and the key that makes it happen once. `name` is its file's."""

    name: str
    path: str
    key: str
    body: Any

    @property
    def age_s(self) -> float:
        """Seconds since it was added."""
        return time.time() - int(self.name[:_NAME_DIGITS]) / _NS_PER_S


class DiskQueue:
    """Items in the order in which they were added, one file each, named by the time in nanoseconds.

    A file appears whole or not at all: it is written beside its place, synced and renamed. Processes may share a
    folder; one at a time holds it for sending.
    """

    def __init__(self, folder: Path, *, bytes_max: int = QUEUE_BYTES_MAX) -> None:
        """Makes the folder, for its owner's eyes only. Raises `OSError` where it can't be made or written."""
        self.folder = folder
        self._refused = folder / "refused"
        self._refused.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
        folder.chmod(_OWNER_ONLY)
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._last_ns = 0

    def add(self, path: str, body: Any) -> bool:
        """Keeps a POST to `path` until it is sent. False, with a warning, where the queue is full or the disk fails."""
        with self._lock:
            self._last_ns = max(self._last_ns + 1, time.time_ns())
            name = f"{self._last_ns:0{_NAME_DIGITS}d}-{uuid.uuid4().hex}{_SUFFIX}"
        content = json.dumps({"path": path, "key": str(uuid.uuid4()), "body": body}, separators=(",", ":")).encode()
        try:
            if self.bytes() + len(content) > self._bytes_max:
                log.warning("lost: the queue in %s is full (%d bytes)", self.folder, self._bytes_max)
                return False
            _write(self.folder / name, content)
        except OSError as error:
            log.warning("lost: the queue in %s can't be written: %s", self.folder, error)
            return False
        return True

    def bytes(self) -> int:
        """What waits, in bytes."""
        return sum(_size(path) for path in _files(self.folder))

    def empty(self) -> bool:
        """Whether nothing waits."""
        return next(self.folder.glob(f"*{_SUFFIX}"), None) is None

    def items(self) -> Iterator[Item]:
        """What waits, oldest first. A file that is none of ours is moved aside."""
        for path in _files(self.folder):
            try:
                found = json.loads(path.read_bytes())
                yield Item(name=path.name, path=str(found["path"]), key=str(found["key"]), body=found["body"])
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError) as error:
                self._aside(path.name, f"not an item: {error!r}")

    def done(self, item: Item) -> None:
        """Forgets an item that arrived."""
        (self.folder / item.name).unlink(missing_ok=True)

    def refuse(self, item: Item, answer: str) -> None:
        """Moves an item aside with the service's answer beside it, and warns."""
        self._aside(item.name, answer)

    def _aside(self, name: str, answer: str) -> None:
        log.warning("refused, and moved to %s: %s", self._refused / name, answer)
        (self._refused / name).with_suffix(".txt").write_text(answer + "\n", encoding="utf-8")
        (self.folder / name).replace(self._refused / name)
        kept, total = _files(self._refused), 0
        for path in reversed(kept):
            total += _size(path)
            if total > REFUSED_BYTES_MAX:
                path.unlink(missing_ok=True)
                path.with_suffix(".txt").unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Whether this process may send while the block lasts; where the system has no locks it may always.

        Two senders would do no harm, only work: each item has its key.
        """
        with (self.folder / "sending.lock").open("ab") as file:
            yield _locked(file.fileno())


def _locked(descriptor: int) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    with part.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def queue_in(folder: Path) -> DiskQueue | None:
    """The queue in this folder, else in one that no later process knows, with a warning; None where there is none."""
    try:
        return DiskQueue(folder)
    except OSError as error:
        log.warning("%s: the queue can't be kept there", error)
    try:
        queue = DiskQueue(Path(tempfile.mkdtemp(prefix="somabrain-queue-")))
    except OSError as error:
        log.warning("%s: nor in any other folder", error)
        return None
    log.warning("what is recorded waits in %s, which no later process knows", queue.folder)
    return queue
