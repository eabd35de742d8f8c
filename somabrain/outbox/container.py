"""An Avro object container file (Avro 1.12.0, "Object Container Files") that grows by whole blocks and survives kills.

Each append is one block, durable before it returns. Only the last block can therefore be torn, or be damaged by a loss
of power while it was written; whoever opens the file cuts it off. Readers are never locked out.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import fastavro

from libs.kafka_cog.avro_schemas import AvroSchemas, Record, Schema

MAGIC = b"Obj\x01"
"""First bytes of a container file."""

SYNC_BYTES = 16
"""Length of a file's sync marker, which ends its header and each of its blocks."""

CODEC = "deflate"
"""The compression that every Avro implementation must have, beside none."""

_SEARCH_BYTES = 1 << 16
"""How much of the file is looked at in one step when the last marker is searched for; any value above 16 will do."""

_BLOCK_BYTES_MAX = 1 << 30
"""Records up to this size in sum make one block: more than a batch can hold."""

_MODE = 0o644
"""Permissions of a new file, before the process's umask."""

NO_MARKER = bytes(SYNC_BYTES)

DAMAGED = (
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What fastavro raises on bytes that are no block of the file."""


class NotContainerError(Exception):
    """The file is not an Avro object container."""


class ContainerBusyError(Exception):
    """Another process is writing to the file."""


class Container:
    """A container file open for appending by this object alone, `end` bytes long.

    `last_records` are those of its last block, none if it has no block.
    """

    def __init__(self, path: Path, schemas: AvroSchemas) -> None:
        """Opens or creates the file and cuts off a torn tail.

        A file of another writer's schemas, or one damaged before its last block, is renamed to `<name>.<n>`, n counting
        from 1, and a new one is begun. Raises `NotContainerError`, `ContainerBusyError`, `OSError`.
        """
        self._path = path
        self._schemas = schemas
        self._prefix = _header(schemas.documents, NO_MARKER)[:-SYNC_BYTES]
        self._scratch_header_bytes = len(_header(schemas.union, NO_MARKER))
        self._marker = NO_MARKER
        self.end = 0
        self.last_records: list[Record] = []
        while not self._open():
            continue

    def _open(self) -> bool:
        """Whether the file is ready; if not it was renamed, by this process or another, and is to be opened anew."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ContainerBusyError from None
            self._descriptor = descriptor
            if self._renamed():
                return False
            if not (self._take_header() and self._cut_tail()):
                self._move_aside()
                return False
            undo.pop_all()
            return True

    def _take_header(self) -> bool:
        """Reads the header, or writes it where the file is new; false where it is another writer's."""
        expected = len(self._prefix) + SYNC_BYTES
        found = os.pread(self._descriptor, expected, 0)
        if not self._prefix.startswith(found[: len(self._prefix)]):
            if found.startswith(MAGIC):
                return False
            raise NotContainerError
        if len(found) < expected:
            os.ftruncate(self._descriptor, 0)
            self._marker = os.urandom(SYNC_BYTES)
            self.end = 0
            self._write(self._prefix + self._marker)
            _sync_folder(self._path.parent)
        self._marker = os.pread(self._descriptor, SYNC_BYTES, len(self._prefix))
        return True

    def _cut_tail(self) -> bool:
        """Shortens the file to its last whole block; false where more than that block is damaged."""
        header_end = len(self._prefix) + SYNC_BYTES
        self.end = self._marker_end(os.fstat(self._descriptor).st_size)
        self.last_records = []
        for _ in range(2):
            if self.end == header_end:
                break
            start = self._marker_end(self.end - 1)
            records = self._records(os.pread(self._descriptor, self.end - start, start))
            if records is not None:
                self.last_records = records
                break
            self.end = start
        else:
            return False
        if self.end < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, self.end)
            os.fsync(self._descriptor)
        return True

    def _marker_end(self, before: int) -> int:
        """Where the last sync marker ends that ends at or before `before`: the header's, if there is no block."""
        high = before
        while True:
            low = max(len(self._prefix), high - _SEARCH_BYTES)
            found = os.pread(self._descriptor, high - low, low).rfind(self._marker)
            if found >= 0:
                return low + found + SYNC_BYTES
            high = low + SYNC_BYTES - 1

    def _records(self, block: bytes) -> list[Record] | None:
        """The block's records, `None` if it is damaged."""
        try:
            return list(fastavro.reader(io.BytesIO(self._prefix + self._marker + block)))  # type: ignore[arg-type]
        except DAMAGED:
            return None

    def append(self, records: Sequence[tuple[str, Record]]) -> None:
        """Adds pairs of an unqualified name and a checked record as one block; durable on return.

        Raises `OSError`; then nothing was added, and the file is to be closed and opened anew, which cuts off what
        could not be taken back at once.
        """
        if not records:
            return
        named = [(self._schemas.qualified(name), record) for name, record in records]
        buffer = io.BytesIO()
        fastavro.writer(
            buffer,
            self._schemas.union,
            named,
            codec=CODEC,
            sync_interval=_BLOCK_BYTES_MAX,
            sync_marker=self._marker,
            strict_allow_default=True,
        )
        self._write(buffer.getvalue()[self._scratch_header_bytes :])
        self.last_records = [record for _, record in records]

    def _write(self, data: bytes) -> None:
        remaining = memoryview(data)
        try:
            while remaining:
                remaining = remaining[os.write(self._descriptor, remaining) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.end)
            raise
        self.end += len(data)

    def intact(self) -> bool:
        """Whether the file is still the one at its path, and as long as it was left. Raises `OSError`."""
        return not self._renamed() and os.fstat(self._descriptor).st_size == self.end

    def _renamed(self) -> bool:
        here = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)

    def _move_aside(self) -> None:
        pattern = re.compile(re.escape(self._path.name) + r"\.([1-9][0-9]*)")
        names = (entry.name for entry in self._path.parent.iterdir())
        taken = [int(match[1]) for match in map(pattern.fullmatch, names) if match]
        self._path.rename(self._path.with_name(f"{self._path.name}.{max(taken, default=0) + 1}"))
        _sync_folder(self._path.parent)

    def close(self) -> None:
        """Closes the file, and lets another process write to it."""
        os.close(self._descriptor)


def looks_like_container(path: Path) -> bool:
    """Whether `path` is a regular file that is empty or begins as a container does. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return MAGIC.startswith(os.pread(descriptor, len(MAGIC), 0))
    finally:
        os.close(descriptor)


def _header(union: list[Schema], marker: bytes) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, union, [], codec=CODEC, sync_marker=marker)
    return buffer.getvalue()


def _sync_folder(folder: Path) -> None:
    """Makes a file's new name durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
