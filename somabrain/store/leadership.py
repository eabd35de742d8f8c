"""Who does the work that is done once for each database: a lock that its holder's death frees (DESIGN §3)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from somabrain.store.database import Database

RELAY = "relay"
PROJECTION = "projection"
CONSOLIDATION = "consolidation"
"""The works that are done once for each database."""

_KEYS = {RELAY: 0x536F6D61_00000002, PROJECTION: 0x536F6D61_00000003, CONSOLIDATION: 0x536F6D61_00000004}
"""Keys of their advisory locks in PostgreSQL; the migrations' is 0x536F6D61_00000001."""

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_ALIVE = text("SELECT 1")

_MODE = 0o644
"""Permissions of a new lock file, before the process's umask."""


class Leadership(Protocol):
    """The lock of one database. Used by one thread."""

    def held(self) -> bool:
        """Whether this holder has the lock now; takes it where it is free. Never waits for another holder."""
        ...

    def release(self) -> None:
        """Gives the lock up; `held` may take it again."""
        ...


def leadership(database: Database, work: str) -> Leadership:
    """The lock of one of the works of this database, not taken yet. The database must be prepared."""
    if not database.sqlite:
        return AdvisoryLeadership(database, _KEYS[work])
    assert database.file is not None, "a database in memory has no journal"
    return FileLeadership(database.file.with_name(f"{database.file.name}.{work}.lock"))


class JointLeadership:
    """`Leadership` of several locks: held where all are."""

    def __init__(self, *locks: Leadership) -> None:
        """Taken in this order."""
        self._locks = locks

    def held(self) -> bool:
        """As the protocol."""
        if all(lock.held() for lock in self._locks):
            return True
        self.release()
        return False

    def release(self) -> None:
        """As the protocol."""
        for lock in reversed(self._locks):
            lock.release()


class FileLeadership:
    """`Leadership` by flock(2), which the kernel frees when the process ends, however it ends.

    The file stays where it is: deleting it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        """`path`: the lock file, made where it is missing."""
        self._path = path
        self._descriptor: int | None = None

    def held(self) -> bool:
        """As the protocol. False where the lock file can't be opened."""
        try:
            if self._descriptor is not None and not self._is_at_path(self._descriptor):
                self.release()
            if self._descriptor is None:
                self._take()
        except OSError:
            return False
        return self._descriptor is not None

    def _take(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _is_at_path(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)

    def release(self) -> None:
        """As the protocol."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AdvisoryLeadership:
    """`Leadership` by a PostgreSQL advisory lock of a session, which the server frees when the session ends.

    The session is a connection of its own, outside the pool; every `held` asks it whether it is still alive.
    """

    def __init__(self, database: Database, key: int) -> None:
        """`key`: the lock's, a 64-bit integer."""
        self._database = database
        self._key = key
        self._session: Connection | None = None
        self._taken = False

    def held(self) -> bool:
        """As the protocol. False where the database can't be reached."""
        try:
            session = self._opened()
            if self._taken:
                session.execute(_ALIVE)
            else:
                self._taken = bool(session.execute(_TRY_LOCK, {"key": self._key}).scalar_one())
        except (DBAPIError, PoolTimeoutError):
            self.release()
        return self._taken

    def _opened(self) -> Connection:
        if self._session is None:
            self._session = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._session.detach()
        return self._session

    def release(self) -> None:
        """As the protocol."""
        self._taken = False
        if self._session is not None:
            session, self._session = self._session, None
            session.close()
