"""The connection to the database: engine, transactions, migrations, and what the database says of itself."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from somabrain.errors import ConfigurationError, StoreUnavailableError
from somabrain.ports import NotAtHandError
from somabrain.store.statements import insert_missing
from somabrain.store.tables import meta

HEAD = "0004"
"""The newest migration; a test compares it with the migrations' own."""

_MIGRATION_LOCK = 0x536F6D61_00000001
"""Key of the advisory lock under which PostgreSQL is migrated."""

_DEFECTS = (IntegrityError, ProgrammingError, DataError)
"""Database errors that are this code's fault, not the database's."""

PREPARE_SUFFIX = ".prepare.lock"
"""What the lock file of `prepare` has after the name of SQLite's database file."""

CACHE_KIB = 16_384
"""Most that each connection to SQLite keeps of its file; the pool hands out first what was used last."""

_POLL_S = 0.01
_MS_PER_S = 1000


def database_url(configured: str, data_dir: Path) -> str:
    """The SQLAlchemy URL: the configured one with our driver, or SQLite's under `data_dir`."""
    if not configured:
        return f"sqlite:///{data_dir / 'somabrain.sqlite3'}"
    for scheme in ("postgresql://", "postgres://"):
        if configured.startswith(scheme):
            return "postgresql+psycopg://" + configured.removeprefix(scheme)
    return configured


class Database:
    """One database. Thread-safe. Opens at `prepare`, which also migrates it."""

    def __init__(self, url: str, *, pool_size: int, timeout_s: float) -> None:
        """`pool_size` connections at most, and two more of SQLite's that are kept: for reading and for writing.

        Raises `ConfigurationError` for a URL that is not SQLite's or PostgreSQL's.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            message = "DATABASE_URL: not a database URL (want sqlite:///file or postgresql://user@host/name)"
            raise ConfigurationError(message) from None
        backend = parsed.get_backend_name()
        if backend not in {"sqlite", "postgresql"}:
            message = f"DATABASE_URL: {backend} is not supported (want sqlite or postgresql)"
            raise ConfigurationError(message)
        self.sqlite = backend == "sqlite"
        if self.sqlite and parsed.database in {None, "", ":memory:"}:
            message = "DATABASE_URL: a SQLite database needs a file (sqlite:////path/to/file)"
            raise ConfigurationError(message)
        self.file = Path(parsed.database) if self.sqlite and parsed.database else None
        self._timeout_s = timeout_s
        self._snapshot: dict[str, Any] = (
            {} if self.sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        self.engine: Engine = create_engine(
            parsed,
            pool_size=pool_size + 2 * self.sqlite,
            max_overflow=0,
            pool_timeout=timeout_s,
            pool_use_lifo=True,
            pool_pre_ping=not self.sqlite,
            connect_args=self._connect_arguments(),
        )
        if self.sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "connect", _configure_postgresql)
        self._reader = _Kept(self.engine)
        self._writer = _Kept(self.engine, immediate=True)

    def _connect_arguments(self) -> dict[str, Any]:
        if self.sqlite:
            return {"timeout": self._timeout_s, "check_same_thread": False}
        deadline_ms = int(self._timeout_s * _MS_PER_S)
        return {
            "connect_timeout": max(2, int(self._timeout_s)),
            "options": f"-c lock_timeout={deadline_ms} -c idle_in_transaction_session_timeout={deadline_ms * 2}",
        }

    def at_hand(self) -> bool:
        """Whether it is a file here, and one of its connections is free."""
        pool = self.engine.pool
        if not (self.sqlite and isinstance(pool, QueuePool)):
            return False
        return pool.checkedout() + (not self._writer.held) < pool.size()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction with a snapshot of its own, never waiting for writers. Raises `StoreUnavailableError`."""
        if self.sqlite and self._reader.lock.acquire(blocking=False):
            try:
                with _named_failures(self.engine.dialect.dbapi), self._reader.lent() as connection:
                    yield connection
            finally:
                self._reader.lock.release()
            return
        with _named_failures(self.engine.dialect.dbapi), self.engine.connect() as connection:
            yield connection.execution_options(**self._snapshot)

    @contextmanager
    def writing(self, *, durable: bool = True, at_once: bool = False) -> Iterator[Connection]:
        """A transaction that commits at the end of the block. Raises `StoreUnavailableError`.

        Without `durable` the commit does not wait for the disk: what was written is seen by all and survives the end of
        the process, but a power failure may undo it, alone of all or with later ones of its kind (ADR 0012). `at_once`
        raises `NotAtHandError` rather than wait, also for PostgreSQL.
        SQLite has one writer for each file: threads of this process queue here rather than poll the file's lock.
        """
        if self.sqlite:
            with self._writing_sqlite(durable=durable, at_once=at_once) as connection:
                yield connection
            return
        if at_once:
            raise NotAtHandError
        with _named_failures(self.engine.dialect.dbapi), self.engine.begin() as connection:
            if not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
            yield connection

    @contextmanager
    def _writing_sqlite(self, *, durable: bool, at_once: bool) -> Iterator[Connection]:
        if not self._writer.lock.acquire(timeout=0 if at_once else self._timeout_s):
            raise NotAtHandError if at_once else StoreUnavailableError
        try:
            with _named_failures(self.engine.dialect.dbapi), self._writer.lent() as connection:
                driver: Any = connection.connection.driver_connection
                driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}").close()
                with self._begun_at_once(connection) if at_once else connection.begin():
                    yield connection
        finally:
            self._writer.lock.release()

    def _begun_at_once(self, connection: Connection) -> RootTransaction:
        """A transaction that another process's does not hold up. Raises `NotAtHandError`."""
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA busy_timeout=0").close()
        try:
            return connection.begin()
        except sqlite3.OperationalError as error:
            raise NotAtHandError from error
        finally:
            driver.execute(f"PRAGMA busy_timeout={int(self._timeout_s * _MS_PER_S)}").close()

    def prepare(self) -> None:
        """Opens the database and brings its tables up to date. Raises `ConfigurationError` with one line."""
        try:
            with self._alone():
                if self._version() != HEAD:
                    self._migrate()
        except (DBAPIError, OSError) as error:
            raise self._not_opened(error) from error

    def _not_opened(self, error: BaseException) -> ConfigurationError:
        reason = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
        where = self.file or self.engine.url.render_as_string(hide_password=True)
        return ConfigurationError(f"the database {where} can't be opened: {reason}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, where the database has no lock of its own for it.

        SQLite answers "locked" at once, without waiting, to a second process that switches a new file to WAL.
        """
        if self.file is None:
            yield
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.with_name(self.file.name + PREPARE_SUFFIX).open("ab") as lock:
            deadline = time.monotonic() + self._timeout_s
            while not _locked(lock):
                if time.monotonic() > deadline:
                    message = "another process is preparing it"
                    raise OSError(message)
                time.sleep(_POLL_S)
            yield

    def _version(self) -> str | None:
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())

    def _migrate(self) -> None:
        from alembic import command  # noqa: PLC0415 - a third of a second, and needed only when tables change
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.engine.connect().execution_options(immediate=True) as connection, connection.begin():
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def recorded(self, name: str) -> str | None:
        """What `hold_to` recorded under this name. Raises `ConfigurationError`."""
        try:
            with self.reading() as connection:
                return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()
        except StoreUnavailableError as error:
            raise self._not_opened(error.__cause__ or error) from error

    def hold_to(self, facts: dict[str, str]) -> None:
        """Records what the data depend on (DESIGN §5.1), or refuses other values. Raises `ConfigurationError`."""
        try:
            self._hold_to(facts)
        except StoreUnavailableError as error:
            raise self._not_opened(error.__cause__ or error) from error

    def _hold_to(self, facts: dict[str, str]) -> None:
        with self.writing() as connection:
            unseen = insert_missing(meta, on_sqlite=self.sqlite)
            connection.execute(unseen, [{"name": name, "value": value} for name, value in facts.items()])
            known = {row.name: row.value for row in connection.execute(select(meta))}
            for name, value in facts.items():
                if known[name] != value:
                    message = f"{name} is {value}, but the data in this database were written with {known[name]}"
                    raise ConfigurationError(message)

    def close(self) -> None:
        """Closes every connection."""
        self._reader.close(self._timeout_s)
        self._writer.close(self._timeout_s)
        self.engine.dispose()


class _Kept:
    """A connection that stays out of the pool: taking one from there and giving it back is half of a short read."""

    def __init__(self, engine: Engine, **options: bool) -> None:
        """`options`: of execution, of the connection."""
        self.lock = threading.Lock()
        self._engine = engine
        self._options = options
        self._connection: Connection | None = None

    @property
    def held(self) -> bool:
        """Whether it is out of the pool now."""
        return self._connection is not None or self.lock.locked()

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """To who holds the lock. One that failed is not used again."""
        connection, self._connection = self._connection, None
        with ExitStack() as failing:
            if connection is None:
                connection = self._engine.connect().execution_options(**self._options)
            failing.callback(connection.close)
            yield connection
            connection.rollback()
            failing.pop_all()
            self._connection = connection

    def close(self, timeout_s: float) -> None:
        """Gives the connection back to the pool, unless who has it keeps it for longer than `timeout_s`."""
        if not self.lock.acquire(timeout=timeout_s):
            return
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.lock.release()


def _locked(lock: IO[bytes]) -> bool:
    """Whether flock(2) gave the lock; closing the file frees it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _named_failures(driver: Any) -> Iterator[None]:
    """`driver`: the DB-API module (PEP 249), whose errors come from statements that SQLAlchemy did not pass on."""
    try:
        yield
    except (*_DEFECTS, driver.IntegrityError, driver.ProgrammingError, driver.DataError):
        raise
    except (DatabaseError, InterfaceError, PoolTimeoutError, driver.DatabaseError, driver.InterfaceError) as error:
        raise StoreUnavailableError from error


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"cache_size=-{CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if immediate else "BEGIN").close()


def _configure_postgresql(connection: Any, _record: Any) -> None:
    connection.execute("SET synchronous_commit TO on")
    connection.commit()
