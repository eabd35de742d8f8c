"""Fixtures that every suite may use: the databases, and the application on each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import create_engine, text
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app, open_database
from somabrain.store import SqlStore
from tests.milvus import MilvusServer
from tests.milvus import milvus_server as running_milvus
from tests.servers import ServerMissingError, postgresql

ENGINES = ("sqlite", "postgresql")
_missing: set[str] = set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("not run: this machine has no")
        for line in sorted(_missing):
            terminalreporter.line(line)


def missing(what: str) -> NoReturn:
    """Skips the test, and has the run's summary name what the machine lacks."""
    _missing.add(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL that the run has to itself."""
    try:
        with postgresql() as url:
            yield url
    except ServerMissingError as error:
        if os.environ.get("SOMABRAIN_REQUIRE_SERVERS") == "1":
            pytest.fail(str(error))
        missing(str(error))


@contextmanager
def needed_milvus() -> Iterator[MilvusServer]:
    """A Milvus server; where the machine can't run it the test is skipped, or fails if servers are required."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_milvus())
        except ServerMissingError as error:
            if os.environ.get("SOMABRAIN_REQUIRE_SERVERS") == "1":
                pytest.fail(str(error))
            missing(str(error))
        yield server


@pytest.fixture(scope="session")
def milvus_server() -> Iterator[MilvusServer]:
    """A Milvus server that the run has to itself; a test that stops it starts it again."""
    with needed_milvus() as server:
        yield server


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'somabrain.sqlite3'}"
    url = str(request.getfixturevalue("postgresql_url"))
    name = f"t{os.urandom(8).hex()}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.rsplit("/", 1)[0] + "/" + name


def plain_settings(folder: Path, **changes: object) -> Settings:
    """Default settings whatever the environment says, with data in `folder`; no Milvus or text model unless asked."""
    defaults = {name: field.get_default() for name, field in Settings.model_fields.items()}
    return Settings.model_validate(
        {**defaults, "milvus_uri": "off", "embedder": "hashed", "somabrain_data_dir": folder / "data", **changes}
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Default settings on each engine."""
    return plain_settings(tmp_path, database_url=database_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    """An empty store on each engine."""
    with open_database(settings) as database:
        yield SqlStore(database)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The application on each engine, asked in process."""
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def sqlite_client(tmp_path: Path) -> Iterator[TestClient]:
    """The application on SQLite, asked in process."""
    with TestClient(make_app(plain_settings(tmp_path)), base_url="http://localhost") as client:
        yield client
