"""The `Store` port on SQL: one tenant's snapshot, and one tenant's writer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from somabrain.oak.model import ModelRow, Option, Source, State, Status
from somabrain.ports import (
    Event,
    JournalEntry,
    NamespaceRecord,
    ReadTransaction,
    Reply,
    ReplyScope,
    StoredPrototype,
    WriteTransaction,
)
from somabrain.store import codec
from somabrain.store import statements as sql
from somabrain.store import tables as t
from somabrain.store.database import Database
from somabrain.store.experience import SqlExperience, SqlExperienceWriter, due_consolidations
from somabrain.store.memories import SqlMemories, SqlMemoryWriter
from somabrain.store.odds import SqlOdds, SqlOddsWriter
from somabrain.store.statements import Change, chunks, documents
from somabrain.tenancy import Namespace, TenantId

UPSERTED = (
    t.namespaces,
    t.options,
    t.model_rows,
    t.replies,
    t.memories,
    t.memory_spaces,
    t.primitive_rows,
    t.episodes,
    t.option_models,
    t.option_uses,
    t.consolidations,
    t.agents,
)

ACCUMULATED = (t.odds, t.scores)


class SqlStore:
    """The system of record on a `Database`."""

    def __init__(self, database: Database) -> None:
        """`database` is prepared."""
        self._database = database
        dialect = database.engine.dialect
        self._upserts = {table.name: sql.upsert(table, dialect) for table in UPSERTED}
        self._upserts |= {table.name: sql.upsert(table, dialect, adds=True) for table in ACCUMULATED}
        self._new_tenant = Change(sql.insert_missing(t.tenants, on_sqlite=database.sqlite))

    @contextmanager
    def read(self, tenant: TenantId) -> Iterator[ReadTransaction]:
        """As `Store.read`."""
        with self._database.reading() as connection:
            yield SqlReader(connection, tenant)

    def reads_at_once(self) -> bool:
        """As `Store.reads_at_once`."""
        return self._database.at_hand()

    @contextmanager
    def write(self, tenant: TenantId, *, durable: bool = True, at_once: bool = False) -> Iterator[WriteTransaction]:
        """As `Store.write`: the tenant's row is locked first, so its writers queue there."""
        with self._database.writing(durable=durable, at_once=at_once) as connection:
            found = sql.LOCKED_SEQUENCE.rows(connection, in_tenant=tenant.value)
            if not found:
                self._new_tenant.make(connection, [{"tenant": tenant.value, "sequence": 0}])
                found = sql.LOCKED_SEQUENCE.rows(connection, in_tenant=tenant.value)
            writer = SqlWriter(connection, tenant, self._upserts, found[0][0])
            yield writer
            writer.flush()

    def expire_replies(self, now_ms: int) -> int:
        """Deletes answers whose time is over, of all tenants; returns how many."""
        with self._database.writing() as connection:
            return connection.execute(sql.EXPIRE_REPLIES, {"in_now": now_ms}).rowcount

    def expire_predictions(self, before_ms: int) -> int:
        """Deletes odds told before then of episodes whose outcome never came, of all tenants; returns how many."""
        with self._database.writing() as connection:
            return connection.execute(sql.EXPIRE_PREDICTIONS, {"in_before": before_ms}).rowcount

    def expired_memories(self, now_ms: int, limit: int) -> list[tuple[TenantId, Namespace, str]]:
        """Memories whose time is over, of all tenants, those that expired first."""
        m = t.memories.c
        query = select(m.tenant, m.namespace, m.memory_id).where(m.expires_at_ms <= now_ms)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(m.expires_at_ms).limit(limit))
            return [(TenantId(row.tenant), Namespace(row.namespace), row.memory_id) for row in rows]

    def due_consolidations(self, episodes: int) -> list[tuple[TenantId, Namespace]]:
        """Namespaces whose consolidation was asked for, or which had `episodes` new ones since the last."""
        with self._database.reading() as connection:
            return due_consolidations(connection, episodes)

    def tenants(self) -> list[TenantId]:
        """All that ever wrote, by name."""
        with self._database.reading() as connection:
            return [
                TenantId(name) for name in connection.execute(select(t.tenants.c.tenant).order_by("tenant")).scalars()
            ]


class SqlReader:
    """`ReadTransaction` on a connection."""

    def __init__(self, connection: Connection, tenant: TenantId) -> None:
        """`connection` is inside a transaction or begins one with its first statement."""
        self._connection = connection
        self._tenant = tenant

    @property
    def tenant(self) -> TenantId:
        """Whose data."""
        return self._tenant

    @property
    def memories(self) -> SqlMemories:
        """As the port."""
        return SqlMemories(self._connection, self._tenant)

    @property
    def experience(self) -> SqlExperience:
        """As the port."""
        return SqlExperience(self._connection, self._tenant)

    @property
    def odds(self) -> SqlOdds:
        """As the port."""
        return SqlOdds(self._connection, self._tenant)

    def _key(self, namespace: Namespace, **more: Any) -> dict[str, Any]:
        return {"in_tenant": self._tenant.value, "in_namespace": namespace.value, **more}

    def namespace(self, namespace: Namespace) -> NamespaceRecord | None:
        """As the port."""
        found = sql.NAMESPACE.documents(self._connection, **self._key(namespace))
        return codec.namespace_of(found[0]) if found else None

    def namespaces(self) -> list[NamespaceRecord]:
        """As the port."""
        rows = self._connection.execute(sql.NAMESPACES, {"in_tenant": self._tenant.value}).mappings()
        return [codec.namespace_of(dict(row)) for row in rows]

    def option(self, namespace: Namespace, option_id: str) -> Option | None:
        """As the port."""
        found = sql.OPTION.documents(self._connection, **self._key(namespace, in_option=option_id))
        return codec.option_of(found[0]) if found else None

    def options(
        self,
        namespace: Namespace,
        *,
        after: str = "",
        limit: int | None = None,
        status: Status | None = None,
        source: Source | None = None,
        besides: Source | None = None,
    ) -> list[Option]:
        """As the port."""
        query = self._of(t.options, namespace).where(t.options.c.option_id > after)
        if status is not None:
            query = query.where(t.options.c.status == status.value)
        if source is not None:
            query = query.where(t.options.c.source == source.value)
        if besides is not None:
            query = query.where(t.options.c.source != besides.value)
        query = query.order_by(t.options.c.option_id).limit(limit)
        return [codec.option_of(row) for row in documents(self._connection.execute(query))]

    def options_by_id(self, namespace: Namespace, ids: Iterable[str]) -> dict[str, Option]:
        """As the port."""
        rows = sql.OPTIONS_BY_ID.documents(self._connection, sorted(set(ids)), **self._key(namespace))
        return {row["option_id"]: codec.option_of(row) for row in rows}

    def option_ids(self, namespace: Namespace, *, besides: Source | None = None) -> list[str]:
        """As the port."""
        query = self._of(t.options, namespace, t.options.c.option_id)
        if besides is not None:
            query = query.where(t.options.c.source != besides.value)
        return list(self._connection.execute(query.order_by(t.options.c.option_id)).scalars())

    def rows(
        self,
        namespace: Namespace,
        *,
        option_id: str | None = None,
        start: int | None = None,
        after: int = -1,
        limit: int | None = None,
        active_only: bool = False,
    ) -> list[ModelRow]:
        """As the port."""
        if option_id is not None and start is not None and limit is None and not active_only and after < start:
            key = self._key(namespace, in_option=option_id, in_start=start)
            return [codec.model_row_of(row) for row in sql.ROW.documents(self._connection, **key)]
        rows = t.model_rows
        query = self._of(rows, namespace).where(rows.c.start > after)
        if option_id is not None:
            query = query.where(rows.c.option_id == option_id)
        if start is not None:
            query = query.where(rows.c.start == start)
        if active_only:
            active = self._of(t.options, namespace, t.options.c.option_id)
            query = query.where(rows.c.option_id.in_(active.where(t.options.c.status == Status.ACTIVE.value)))
        query = query.order_by(rows.c.option_id, rows.c.start).limit(limit)
        return [codec.model_row_of(row) for row in documents(self._connection.execute(query))]

    def rows_of(self, namespace: Namespace, ids: Iterable[str], *, limit: int | None = None) -> list[ModelRow]:
        """As the port."""
        found: list[ModelRow] = []
        for some in chunks(sorted(set(ids))):
            left = None if limit is None else limit - len(found)
            if left == 0:
                break
            query, key = sql.ROWS_OF.limit(left), self._key(namespace, in_options=some)
            found += [codec.model_row_of(row) for row in documents(self._connection.execute(query, key))]
        return found

    def prototypes(self, namespace: Namespace, *, first: int = 0, limit: int | None = None) -> list[StoredPrototype]:
        """As the port."""
        query = self._of(t.prototypes, namespace).where(t.prototypes.c.number >= first)
        query = query.order_by(t.prototypes.c.number).limit(limit)
        return [codec.prototype_of(row) for row in documents(self._connection.execute(query))]

    def states(self, namespace: Namespace, numbers: Sequence[int]) -> dict[int, State]:
        """As the port."""
        rows = sql.STATES.documents(self._connection, numbers, **self._key(namespace))
        return {row["number"]: codec.state_of(row) for row in rows}

    def journal(
        self, *, after: int = 0, limit: int | None = None, namespace: Namespace | None = None
    ) -> list[JournalEntry]:
        """As the port."""
        if namespace is None and limit is not None:
            found = sql.JOURNAL.documents(
                self._connection, in_tenant=self._tenant.value, in_after=after, in_limit=limit
            )
            return [codec.journal_entry_of(row) for row in found]
        query = select(t.journal).where(t.journal.c.tenant == self._tenant.value, t.journal.c.sequence > after)
        if namespace is not None:
            query = query.where(t.journal.c.namespace == namespace.value)
        query = query.order_by(t.journal.c.sequence).limit(limit)
        return [codec.journal_entry_of(row) for row in documents(self._connection.execute(query))]

    def changes(self, *, after: int, limit: int) -> list[JournalEntry]:
        """As the port."""
        asked = {"in_tenant": self._tenant.value, "in_after": after, "in_limit": limit}
        return [codec.journal_entry_of(row) for row in sql.CHANGES.documents(self._connection, **asked)]

    def sequence(self) -> int:
        """As the port."""
        found = sql.SEQUENCE.rows(self._connection, in_tenant=self._tenant.value)
        return found[0][0] if found else 0

    def position(self, sink: str) -> int:
        """As the port."""
        p = t.relay_positions.c
        query = select(p.sequence).where(p.sink == sink, p.tenant == self._tenant.value)
        return self._connection.execute(query).scalar() or 0

    def _of(self, table: Any, namespace: Namespace, *columns: Any) -> Select[Any]:
        query = select(*columns) if columns else select(table)
        return query.where(table.c.tenant == self._tenant.value, table.c.namespace == namespace.value)


class SqlWriter(SqlReader):
    """`WriteTransaction` on a connection whose transaction holds the tenant's row."""

    def __init__(self, connection: Connection, tenant: TenantId, upserts: Mapping[str, Change], sequence: int) -> None:
        """`sequence`: the tenant's last one."""
        super().__init__(connection, tenant)
        self._upserts = upserts
        self._sequence = sequence
        self._entries: list[JournalEntry] = []

    @property
    def memories(self) -> SqlMemoryWriter:
        """As the port; forgotten ids appended here are not told."""
        return SqlMemoryWriter(self._connection, self._tenant, self._upserts)

    @property
    def experience(self) -> SqlExperienceWriter:
        """As the port."""
        return SqlExperienceWriter(self._connection, self._tenant, self._upserts)

    @property
    def odds(self) -> SqlOddsWriter:
        """As the port."""
        return SqlOddsWriter(self._connection, self._tenant, self._upserts)

    def append(self, event: Event) -> int:
        """As the port."""
        self._sequence += 1
        self._entries.append(JournalEntry(tenant=self._tenant, sequence=self._sequence, event=event))
        return self._sequence

    def sequence(self) -> int:
        """As the port, entries appended here included."""
        return self._sequence

    def journal(
        self, *, after: int = 0, limit: int | None = None, namespace: Namespace | None = None
    ) -> list[JournalEntry]:
        """As the port, entries appended here included."""
        self.flush()
        return super().journal(after=after, limit=limit, namespace=namespace)

    def changes(self, *, after: int, limit: int) -> list[JournalEntry]:
        """As the port, entries appended here included."""
        self.flush()
        return super().changes(after=after, limit=limit)

    def flush(self) -> None:
        """Writes the appended entries and the tenant's sequence."""
        if self._entries:
            rows = [codec.journal_columns(entry) for entry in self._entries]
            sql.ADD_JOURNAL.make(self._connection, rows, tenant=self._tenant.value)
            sql.SET_SEQUENCE.make(self._connection, [{"in_sequence": self._sequence}], in_tenant=self._tenant.value)
            self._entries = []

    def save_namespace(self, record: NamespaceRecord) -> None:
        """As the port."""
        self._put(t.namespaces.name, [codec.namespace_columns(record)])

    def clear_namespace(self, namespace: Namespace) -> None:
        """As the port."""
        for table in t.OWNED:
            self._connection.execute(
                delete(table).where(table.c.tenant == self._tenant.value, table.c.namespace == namespace.value)
            )

    def save_options(self, namespace: Namespace, options: Sequence[Option]) -> None:
        """As the port."""
        self._put(t.options.name, [{"namespace": namespace.value, **codec.option_columns(o)} for o in options])

    def save_rows(self, namespace: Namespace, rows: Sequence[ModelRow]) -> None:
        """As the port."""
        self._put(t.model_rows.name, [{"namespace": namespace.value, **codec.model_row_columns(row)} for row in rows])

    def drop_rows(self, namespace: Namespace, option_id: str) -> None:
        """As the port."""
        self._connection.execute(sql.DROP_ROWS, self._key(namespace, in_option=option_id))

    def add_prototypes(self, namespace: Namespace, prototypes: Sequence[StoredPrototype]) -> None:
        """As the port."""
        rows = [codec.prototype_columns(stored) for stored in prototypes]
        sql.ADD_PROTOTYPES.make(self._connection, rows, tenant=self._tenant.value, namespace=namespace.value)

    def add_visits(self, namespace: Namespace, visits: Mapping[int, int]) -> None:
        """As the port."""
        rows = [{"in_number": number, "in_visits": count} for number, count in sorted(visits.items())]
        sql.ADD_VISITS.make(self._connection, rows, **self._key(namespace))

    def reply(self, scope: ReplyScope, now_ms: int) -> Reply | None:
        """As the port."""
        key = {"in_tenant": self._tenant.value, "in_scope": _digest(scope), "in_now": now_ms}
        found = sql.REPLY.documents(self._connection, **key)
        if not found:
            return None
        row = found[0]
        return Reply(
            body_sha256=bytes(row["body_sha256"]),
            status=row["status"],
            headers=json.loads(row["headers"]),
            body=bytes(row["body"]),
            expires_at_ms=row["expires_at_ms"],
        )

    def save_reply(self, scope: ReplyScope, reply: Reply) -> None:
        """As the port."""
        columns = {
            "scope": _digest(scope),
            "body_sha256": reply.body_sha256,
            "status": reply.status,
            "headers": json.dumps(dict(reply.headers)),
            "body": reply.body,
            "expires_at_ms": reply.expires_at_ms,
        }
        self._put(t.replies.name, [columns])

    def _put(self, table: str, rows: list[codec.Columns]) -> None:
        self._upserts[table].make(self._connection, rows, tenant=self._tenant.value)


def _digest(scope: ReplyScope) -> bytes:
    parts = [scope.subject, scope.method, scope.path, scope.key]
    return hashlib.sha256(json.dumps(parts).encode()).digest()
