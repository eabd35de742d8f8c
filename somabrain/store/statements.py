"""The statements, made once for each engine: building one costs more than running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from somabrain.store import tables as t

K = TypeVar("K")

KEYS_MAX = 500
"""Most keys in one statement: SQLite takes 999 parameters in its oldest builds."""


def upsert(table: Table, *, on_sqlite: bool) -> Any:
    """INSERT … ON CONFLICT (primary key) DO UPDATE of all other columns."""
    keys = [column.name for column in table.primary_key]
    statement: Any = (sqlite if on_sqlite else postgresql).insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def accumulate(table: Table, *, on_sqlite: bool) -> Any:
    """INSERT … ON CONFLICT (primary key) DO UPDATE that adds to all other columns."""
    keys = [column.name for column in table.primary_key]
    statement: Any = (sqlite if on_sqlite else postgresql).insert(table)
    changed = {
        column.name: column + statement.excluded[column.name] for column in table.columns if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def chunks(keys: Sequence[K]) -> list[Sequence[K]]:
    """The keys in parts that one statement takes."""
    return [keys[first : first + KEYS_MAX] for first in range(0, len(keys), KEYS_MAX)]


def insert_missing(table: Table, *, on_sqlite: bool) -> Any:
    """INSERT … ON CONFLICT DO NOTHING."""
    statement: Any = (sqlite if on_sqlite else postgresql).insert(table)
    return statement.on_conflict_do_nothing()


_tenant: BindParameter[str] = bindparam("in_tenant")
_namespace: BindParameter[str] = bindparam("in_namespace")

NAMESPACE = select(t.namespaces).where(t.namespaces.c.tenant == _tenant, t.namespaces.c.namespace == _namespace)
NAMESPACES = select(t.namespaces).where(t.namespaces.c.tenant == _tenant).order_by(t.namespaces.c.namespace)
OPTION = select(t.options).where(
    t.options.c.tenant == _tenant,
    t.options.c.namespace == _namespace,
    t.options.c.option_id == bindparam("in_option"),
)
ROW = select(t.model_rows).where(
    t.model_rows.c.tenant == _tenant,
    t.model_rows.c.namespace == _namespace,
    t.model_rows.c.option_id == bindparam("in_option"),
    t.model_rows.c.start == bindparam("in_start"),
)
SEQUENCE = select(t.tenants.c.sequence).where(t.tenants.c.tenant == _tenant)
LOCKED_SEQUENCE = SEQUENCE.with_for_update()
SET_SEQUENCE = update(t.tenants).where(t.tenants.c.tenant == _tenant).values(sequence=bindparam("in_sequence"))
DROP_ROWS = delete(t.model_rows).where(
    t.model_rows.c.tenant == _tenant,
    t.model_rows.c.namespace == _namespace,
    t.model_rows.c.option_id == bindparam("in_option"),
)
ADD_VISITS = (
    update(t.prototypes)
    .where(
        t.prototypes.c.tenant == _tenant,
        t.prototypes.c.namespace == _namespace,
        t.prototypes.c.number == bindparam("in_number"),
    )
    .values(visits=t.prototypes.c.visits + bindparam("in_visits"))
)
REPLY = select(t.replies).where(
    t.replies.c.tenant == _tenant,
    t.replies.c.scope == bindparam("in_scope"),
    t.replies.c.expires_at_ms > bindparam("in_now"),
)
EXPIRE_PREDICTIONS = delete(t.predictions).where(t.predictions.c.told_at_ms <= bindparam("in_before"))
EXPIRE_REPLIES = delete(t.replies).where(t.replies.c.expires_at_ms <= bindparam("in_now"))
