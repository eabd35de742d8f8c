"""Memories on SQL: what a transaction reads and writes of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, or_, select

from somabrain.memory.model import Memory, Trace
from somabrain.oak.documents import json_text
from somabrain.oak.model import Vector
from somabrain.ports import Mark, MemorySpace
from somabrain.store import statements as sql
from somabrain.store import tables as t
from somabrain.store.statements import Change, chunks, documents
from somabrain.tenancy import Namespace, TenantId

FORGOTTEN = "MemoryForgotten"
"""The event type that tells which memories are gone (DESIGN §9)."""


class SqlMemories:
    """`ReadMemories` on a connection."""

    def __init__(self, connection: Connection, tenant: TenantId) -> None:
        """`connection` is inside a transaction or begins one with its first statement."""
        self._connection = connection
        self._tenant = tenant

    def space(self, namespace: Namespace) -> MemorySpace | None:
        """As the port."""
        rows = sql.MEMORY_SPACE.documents(self._connection, **self._owner(namespace))
        return _space(rows[0]) if rows else None

    def spaces(self) -> list[MemorySpace]:
        """As the port."""
        return [_space(row) for row in sql.MEMORY_SPACES.documents(self._connection, in_tenant=self._tenant.value)]

    def get(self, namespace: Namespace, ids: Iterable[str]) -> dict[str, Memory]:
        """As the port."""
        rows = sql.MEMORIES_BY_ID.documents(self._connection, sorted(set(ids)), **self._owner(namespace))
        return {row["memory_id"]: _memory(row) for row in rows}

    def stored(self, namespace: Namespace, *, after: int, limit: int) -> list[Memory]:
        """As the port."""
        query = select(t.memories).where(*self._in(t.memories, namespace), t.memories.c.sequence > after)
        found = self._connection.execute(query.order_by(t.memories.c.sequence).limit(limit))
        return [_memory(row) for row in documents(found)]

    def marks(self, namespace: Namespace, *, after: int, limit: int) -> list[Mark]:
        """As the port."""
        m = t.memories.c
        query = select(m.memory_id, m.sequence, m.checksum).where(*self._in(t.memories, namespace), m.sequence > after)
        return [
            Mark(namespace=namespace, id=row.memory_id, sequence=row.sequence, checksum=row.checksum)
            for row in self._connection.execute(query.order_by(m.sequence).limit(limit))
        ]

    def forgotten(self, namespace: Namespace, *, after: int) -> list[str]:
        """As the port."""
        j = t.journal.c
        query = select(j.payload).where(*self._in(t.journal, namespace), j.sequence > after, j.type == FORGOTTEN)
        rows = self._connection.execute(query.order_by(j.sequence)).scalars()
        return [json.loads(payload)["memory_id"] for payload in rows]

    def traces(
        self,
        namespace: Namespace,
        *,
        entries: Sequence[str] = (),
        after: str = "",
        limit: int,
        newer_than: tuple[int, int] | None = None,
    ) -> list[Trace]:
        """As the port."""
        m = t.memories.c
        query = select(m.memory_id, m.vector, m.importance, m.created_at_ms, m.expires_at_ms)
        query = query.where(*self._in(t.memories, namespace))
        found_by = m.memory_id
        if entries:
            found_by = t.memory_entries.c.memory_id
            query = query.where(*self._entry(namespace, entries[0]), found_by == m.memory_id)
        for entry in entries[1:]:
            other = t.memory_entries.alias()
            held = other.c.entry == _digest(entry), other.c.memory_id == found_by
            query = query.where(exists().where(*self._in(other, namespace), *held))
        if newer_than is None:
            query = query.where(found_by > after).order_by(found_by)
        else:  # neither an order nor a bound by id, or SQLite reads the namespace by id instead of by these indexes
            query = query.where(or_(m.sequence > newer_than[0], m.created_at_ms >= newer_than[1]))
        rows = self._connection.execute(query.limit(limit))
        found = [
            Trace(
                memory_id=row.memory_id,
                vector=Vector(data=bytes(row.vector)),
                importance=row.importance,
                created_at_ms=row.created_at_ms,
                expires_at_ms=row.expires_at_ms,
            )
            for row in rows
        ]
        return sorted((trace for trace in found if trace.memory_id > after), key=lambda trace: trace.memory_id)

    def rarest(self, namespace: Namespace, entries: Iterable[str], *, limit: int) -> tuple[str, int]:
        """As the port."""
        rarest, least = "", limit
        for entry in sorted(entries):
            some = select(t.memory_entries.c.memory_id).where(*self._entry(namespace, entry)).limit(least).subquery()
            count = self._connection.execute(select(func.count()).select_from(some)).scalar_one()
            if not rarest or count < least:
                rarest, least = entry, count
        return rarest, least

    def holding(self, namespace: Namespace, entries: Iterable[str], ids: Iterable[str]) -> set[str]:
        """As the port."""
        left = sorted(set(ids))
        for entry in sorted(entries):
            asked = {**self._owner(namespace), "in_entry": _digest(entry)}
            left = [row["memory_id"] for row in sql.ENTRIES_BY_ID.documents(self._connection, left, **asked)]
        return set(left)

    def _entry(self, namespace: Namespace, entry: str) -> tuple[Any, ...]:
        return *self._in(t.memory_entries, namespace), t.memory_entries.c.entry == _digest(entry)

    def _owner(self, namespace: Namespace) -> dict[str, str]:
        return {"in_tenant": self._tenant.value, "in_namespace": namespace.value}

    def _in(self, table: Any, namespace: Namespace) -> tuple[Any, ...]:
        return table.c.tenant == self._tenant.value, table.c.namespace == namespace.value


class SqlMemoryWriter(SqlMemories):
    """`WriteMemories` on a connection whose transaction holds the tenant's row."""

    def __init__(self, connection: Connection, tenant: TenantId, upserts: Mapping[str, Change]) -> None:
        """`upserts`: by table name."""
        super().__init__(connection, tenant)
        self._upserts = upserts

    def save(self, namespace: Namespace, memories: Sequence[Memory], entries: Mapping[str, frozenset[str]]) -> None:
        """As the port."""
        if not memories:
            return
        owner = {"tenant": self._tenant.value, "namespace": namespace.value}
        self._drop_entries(namespace, [memory.memory_id for memory in memories])
        self._upserts[t.memories.name].make(self._connection, [_memory_columns(memory) for memory in memories], **owner)
        held = [
            {**owner, "entry": _digest(entry), "memory_id": memory.memory_id}
            for memory in memories
            for entry in sorted(entries.get(memory.memory_id, ()))
        ]
        if held:
            self._connection.execute(t.memory_entries.insert(), held)

    def forget(self, namespace: Namespace, ids: Sequence[str]) -> None:
        """As the port."""
        self._drop_entries(namespace, ids)
        for some in chunks(ids):
            condition = and_(*self._in(t.memories, namespace), t.memories.c.memory_id.in_(some))
            self._connection.execute(delete(t.memories).where(condition))

    def save_space(self, space: MemorySpace) -> None:
        """As the port."""
        columns = {"namespace": space.namespace.value, "version": space.version, "memories": space.memories}
        self._upserts[t.memory_spaces.name].make(self._connection, [columns], tenant=self._tenant.value)

    def _drop_entries(self, namespace: Namespace, ids: Sequence[str]) -> None:
        for some in chunks(ids):
            condition = and_(*self._in(t.memory_entries, namespace), t.memory_entries.c.memory_id.in_(some))
            self._connection.execute(delete(t.memory_entries).where(condition))


def _digest(entry: str) -> bytes:
    return hashlib.sha256(entry.encode()).digest()


def _space(row: Mapping[str, Any]) -> MemorySpace:
    return MemorySpace(namespace=Namespace(row["namespace"]), version=row["version"], memories=row["memories"])


def _memory_columns(memory: Memory) -> dict[str, Any]:
    return {
        "memory_id": memory.memory_id,
        "sequence": memory.sequence,
        "importance": memory.importance,
        "created_at_ms": memory.created_at_ms,
        "expires_at_ms": memory.expires_at_ms,
        "checksum": memory.checksum,
        "vector": memory.vector.data,
        "metadata": json_text(memory.metadata),
        "content": json.dumps(memory.content),
    }


def _memory(row: Mapping[str, Any]) -> Memory:
    return Memory(
        memory_id=row["memory_id"],
        content=json.loads(row["content"]),
        metadata=json.loads(row["metadata"]),
        importance=row["importance"],
        created_at_ms=row["created_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        vector=Vector(data=bytes(row["vector"])),
        sequence=row["sequence"],
        checksum=row["checksum"],
    )
