"""The SQL database: the system of record (ADR 0001). SQLite and PostgreSQL, one code."""

from somabrain.store.database import Database, database_url
from somabrain.store.journal import RelayPositions
from somabrain.store.store import SqlStore

__all__ = ["Database", "RelayPositions", "SqlStore", "database_url"]
