"""The journal as an outbox: how far each sink has come, for all tenants (the relay's view of the store)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, and_, delete, func, select

from somabrain.ports import JournalEntry
from somabrain.store import codec
from somabrain.store import statements as sql
from somabrain.store import tables as t
from somabrain.store.database import Database
from somabrain.tenancy import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Events not yet handed to a sink, and the age base of the oldest: its timestamp, `None` if there is none."""

    pending: int
    oldest_ms: int | None


class RelayPositions:
    """How far sinks have come. Each sink has a name and one position in each tenant's journal."""

    def __init__(self, database: Database) -> None:
        """`database` is prepared."""
        self._database = database
        self._upsert = sql.upsert(t.relay_positions, database.engine.dialect)

    def behind(self, sink: str) -> list[tuple[TenantId, int]]:
        """Tenants with entries that the sink has not had, and the sink's position in each."""
        query = _positions(sink).where(t.tenants.c.sequence > func.coalesce(t.relay_positions.c.sequence, 0))
        with self._database.reading() as connection:
            return [(TenantId(row.tenant), row.position) for row in connection.execute(query)]

    def next_entries(self, tenant: TenantId, after: int, limit: int) -> list[JournalEntry]:
        """The tenant's entries of sequences above `after`, ascending, at most `limit`, without their `request`."""
        with self._database.reading() as connection:
            rows = sql.CHANGES.documents(connection, in_tenant=tenant.value, in_after=after, in_limit=limit)
            return [codec.journal_entry_of(row) for row in rows]

    def advance(self, sink: str, tenant: TenantId, sequence: int) -> None:
        """Records that the sink has all entries up to `sequence`, be that more or fewer than before."""
        with self._database.writing() as connection:
            self._upsert.make(connection, [{"sink": sink, "tenant": tenant.value, "sequence": sequence}])

    def reset(self, sink: str) -> None:
        """Records that the sink has nothing, of any tenant."""
        with self._database.writing() as connection:
            connection.execute(delete(t.relay_positions).where(t.relay_positions.c.sink == sink))

    def backlog(self, sink: str) -> Backlog:
        """What the sink still has to be given."""
        behind = _positions(sink).subquery()
        pending = select(func.coalesce(func.sum(behind.c.sequence - behind.c.position), 0))
        oldest = select(func.min(t.journal.c.timestamp_ms)).join(
            behind, and_(t.journal.c.tenant == behind.c.tenant, t.journal.c.sequence == behind.c.position + 1)
        )
        with self._database.reading() as connection:
            return Backlog(
                pending=int(connection.execute(pending).scalar_one()),
                oldest_ms=connection.execute(oldest).scalar_one(),
            )


def _positions(sink: str) -> Select[tuple[str, int, int]]:
    position = func.coalesce(t.relay_positions.c.sequence, 0).label("position")
    return select(t.tenants.c.tenant, t.tenants.c.sequence, position).outerjoin(
        t.relay_positions,
        and_(t.relay_positions.c.tenant == t.tenants.c.tenant, t.relay_positions.c.sink == sink),
    )
