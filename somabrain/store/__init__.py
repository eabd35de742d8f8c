"""The SQL database: the system of record (ADR 0001). SQLite and PostgreSQL, one code."""

from somabrain.store.census import Census
from somabrain.store.database import Database, database_url
from somabrain.store.journal import RelayPositions
from somabrain.store.leadership import Leadership, relay_leadership
from somabrain.store.store import SqlStore

__all__ = ["Census", "Database", "Leadership", "RelayPositions", "SqlStore", "database_url", "relay_leadership"]
