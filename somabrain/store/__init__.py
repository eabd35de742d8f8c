"""The SQL database: the system of record (ADR 0001). SQLite and PostgreSQL, one code."""

from somabrain.store.census import Census
from somabrain.store.database import Database, database_url
from somabrain.store.journal import RelayPositions
from somabrain.store.leadership import (
    CONSOLIDATION,
    PROJECTION,
    RELAY,
    FileLeadership,
    JointLeadership,
    Leadership,
    leadership,
)
from somabrain.store.store import SqlStore

__all__ = [
    "CONSOLIDATION",
    "PROJECTION",
    "RELAY",
    "Census",
    "Database",
    "FileLeadership",
    "JointLeadership",
    "Leadership",
    "RelayPositions",
    "SqlStore",
    "database_url",
    "leadership",
]
