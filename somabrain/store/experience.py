"""Raw experience and option models on SQL."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, Table, and_, delete, or_, select, tuple_

from somabrain.oak.consolidation import of_bytes, to_bytes
from somabrain.oak.documents import json_text
from somabrain.oak.model import Arrivals, Mark, OptionModel, PrimitiveRow, Source, Status
from somabrain.ports import Consolidation, EpisodeRecord
from somabrain.store import statements as sql
from somabrain.store import tables as t
from somabrain.store.statements import Change, chunks
from somabrain.tenancy import Namespace, TenantId

COUNTED = "iq"
"""One outcome of a primitive row as stored, little-endian: prototype number, and how often it came."""

_COUNTED_BYTES = struct.calcsize("<" + COUNTED)

RECORDED = "EpisodeRecorded"
"""The event type of an episode (DESIGN §9)."""

NUMBER = np.dtype("<i4")
"""A prototype number as stored."""


class SqlExperience:
    """`ReadExperience` on a connection."""

    def __init__(self, connection: Connection, tenant: TenantId) -> None:
        """`connection` is inside a transaction or begins one with its first statement."""
        self._connection = connection
        self._tenant = tenant

    def actions(self, namespace: Namespace, *, first: int = 0) -> list[str]:
        """As the port."""
        a = t.actions.c
        query = self._of(t.actions, namespace, a.option_id).where(a.number >= first).order_by(a.number)
        return list(self._connection.execute(query).scalars())

    def rows(self, namespace: Namespace, *, changed_after: int = 0) -> list[PrimitiveRow]:
        """As the port."""
        asked = self._asked(namespace)
        if changed_after:
            rows = sql.PRIMITIVE_ROWS_CHANGED.rows(self._connection, in_after=changed_after, **asked)
        else:
            rows = sql.PRIMITIVE_ROWS.rows(self._connection, **asked)
        return [_row(row) for row in rows]

    def rows_of(self, namespace: Namespace, pairs: Collection[tuple[int, int]]) -> list[PrimitiveRow]:
        """As the port: all rows from those states are read, which is faster than to name pairs to an engine."""
        starts = sorted({start for start, _ in pairs})
        rows = sql.PRIMITIVE_ROWS_FROM.rows(self._connection, starts, **self._asked(namespace))
        wanted = set(pairs)
        return sorted((_row(row) for row in rows if row[:2] in wanted), key=attrgetter("start", "action"))

    def arrivals(self, namespace: Namespace, *, changed_after: int = 0) -> list[Arrivals]:
        """As the port."""
        asked = self._asked(namespace)
        if changed_after:
            rows = sql.ARRIVALS_CHANGED.rows(self._connection, in_after=changed_after, **asked)
        else:
            rows = sql.ARRIVALS.rows(self._connection, **asked)
        return [_arrivals(row) for row in rows]

    def arrivals_of(self, namespace: Namespace, numbers: Collection[int]) -> list[Arrivals]:
        """As the port."""
        rows = sql.ARRIVALS_OF.rows(self._connection, sorted(set(numbers)), **self._asked(namespace))
        return sorted((_arrivals(row) for row in rows), key=attrgetter("number"))

    def changed_states(self, namespace: Namespace, *, after: int) -> list[int]:
        """As the port."""
        r = t.primitive_rows.c
        query = self._of(t.primitive_rows, namespace, r.start).where(r.changed > after).distinct().order_by(r.start)
        return list(self._connection.execute(query).scalars())

    def episode(self, namespace: Namespace, episode_id: str) -> EpisodeRecord | None:
        """As the port."""
        found = sql.EPISODE.documents(self._connection, in_episode=episode_id, **self._asked(namespace))
        if not found:
            return None
        row = found[0]
        return EpisodeRecord(
            episode_id=row["episode_id"],
            sequence=row["sequence"],
            body_sha256=bytes(row["body_sha256"]),
            success=None if row["success"] is None else bool(row["success"]),
            outcome_sequence=row["outcome_sequence"],
        )

    def reports(self, namespace: Namespace, *, after: int) -> list[tuple[int, int]]:
        """As the port."""
        j = t.journal.c
        query = self._of(t.journal, namespace, j.payload).where(j.type == RECORDED, j.sequence > after)
        rows = self._connection.execute(query.order_by(j.sequence)).scalars()
        told = (json.loads(payload) for payload in rows)
        return [(one["transitions"], one["prototypes_created"]) for one in told]

    def models(self, namespace: Namespace, wanted: Mapping[str, int]) -> list[OptionModel]:
        """As the port."""
        m = t.option_models.c
        query = self._of(t.option_models, namespace, m.option_id, m.model)
        found = []
        for some in chunks(sorted(wanted.items())):
            rows = self._connection.execute(query.where(tuple_(m.option_id, m.build).in_(some)))
            found += [of_bytes(bytes(row.model)) for row in rows]
        return sorted(found, key=lambda model: model.option_id)

    def unused(self, namespace: Namespace, *, before_ms: int) -> dict[str, int]:
        """As the port."""
        o, u = t.options.c, t.option_uses.c
        query = (
            self._of(t.options, namespace, o.option_id, o.created_at_ms, u.used_at_ms)
            .outerjoin(
                t.option_uses,
                and_(u.tenant == o.tenant, u.namespace == o.namespace, u.option_id == o.option_id),
            )
            .where(o.source == Source.DISCOVERED.value, o.status == Status.ACTIVE.value, o.created_at_ms < before_ms)
            .order_by(o.option_id)
        )
        last = {row.option_id: row.used_at_ms or row.created_at_ms for row in self._connection.execute(query)}
        return {option_id: at_ms for option_id, at_ms in last.items() if at_ms < before_ms}

    def consolidation(self, namespace: Namespace) -> Consolidation:
        """As the port."""
        row = self._connection.execute(self._of(t.consolidations, namespace)).mappings().first()
        if row is None:
            return Consolidation(namespace=namespace)
        kept = {name: value for name, value in row.items() if name not in {"tenant", "namespace", "terminal", "result"}}
        return Consolidation(
            namespace=namespace,
            terminal=tuple(np.frombuffer(row["terminal"], dtype=NUMBER).tolist()),
            result=json.loads(row["result"]),
            **kept,
        )

    def _asked(self, namespace: Namespace) -> dict[str, Any]:
        return {"in_tenant": self._tenant.value, "in_namespace": namespace.value}

    def _of(self, table: Table, namespace: Namespace, *columns: Any) -> Select[Any]:
        query = select(*columns) if columns else select(table)
        return query.where(table.c.tenant == self._tenant.value, table.c.namespace == namespace.value)


class SqlExperienceWriter(SqlExperience):
    """`WriteExperience` on a connection whose transaction holds the tenant's row."""

    def __init__(self, connection: Connection, tenant: TenantId, upserts: Mapping[str, Change]) -> None:
        """`upserts` by table name."""
        super().__init__(connection, tenant)
        self._upserts = upserts

    def add_actions(self, namespace: Namespace, first: int, option_ids: Sequence[str]) -> None:
        """As the port."""
        rows = [{"number": number, "option_id": option_id} for number, option_id in enumerate(option_ids, first)]
        sql.ADD_ACTIONS.make(self._connection, rows, **self._owner(namespace))

    def save_rows(self, namespace: Namespace, rows: Sequence[PrimitiveRow], sequence: int) -> None:
        """As the port."""
        self._put(t.primitive_rows, namespace, [{**_row_columns(row), "changed": sequence} for row in rows])

    def save_arrivals(self, namespace: Namespace, arrivals: Sequence[Arrivals], sequence: int) -> None:
        """As the port."""
        rows = [
            {
                "in_number": one.number,
                "in_arrivals": one.arrivals,
                "in_endings": one.endings,
                "in_marks": int(one.marks),
            }
            for one in arrivals
        ]
        sql.SAVE_ARRIVALS.make(self._connection, rows, in_changed=sequence, **self._asked(namespace))

    def save_episode(self, namespace: Namespace, record: EpisodeRecord) -> None:
        """As the port."""
        columns = {
            "episode_id": record.episode_id,
            "sequence": record.sequence,
            "body_sha256": record.body_sha256,
            "success": record.success,
            "outcome_sequence": record.outcome_sequence,
        }
        self._put(t.episodes, namespace, [columns])

    def save_models(self, namespace: Namespace, build: int, models: Sequence[OptionModel]) -> None:
        """As the port."""
        rows = [{"option_id": model.option_id, "build": build, "model": to_bytes(model)} for model in models]
        self._put(t.option_models, namespace, rows)

    def drop_models(self, namespace: Namespace, kept: Mapping[str, int]) -> None:
        """As the port."""
        m = t.option_models.c
        known = self._connection.execute(self._of(t.option_models, namespace, m.option_id, m.build)).all()
        gone = [(row.option_id, row.build) for row in known if kept.get(row.option_id) != row.build]
        for some in chunks(gone):
            self._connection.execute(
                delete(t.option_models).where(
                    m.tenant == self._tenant.value,
                    m.namespace == namespace.value,
                    tuple_(m.option_id, m.build).in_(some),
                )
            )

    def save_uses(self, namespace: Namespace, uses: Mapping[str, int]) -> None:
        """As the port."""
        rows = [{"option_id": option_id, "used_at_ms": at_ms} for option_id, at_ms in sorted(uses.items())]
        self._put(t.option_uses, namespace, rows)

    def save_consolidation(self, record: Consolidation) -> None:
        """As the port."""
        columns = {
            "requested": record.requested,
            "through": record.through,
            "episodes": record.episodes,
            "build": record.build,
            "run": record.run,
            "terminal": np.array(record.terminal, dtype=NUMBER).tobytes(),
            "started_at_ms": record.started_at_ms,
            "finished_at_ms": record.finished_at_ms,
            "done": record.done,
            "total": record.total,
            "result": json_text(record.result),
            "problem": record.problem,
        }
        self._put(t.consolidations, record.namespace, [columns])

    def _owner(self, namespace: Namespace) -> dict[str, Any]:
        return {"tenant": self._tenant.value, "namespace": namespace.value}

    def _put(self, table: Table, namespace: Namespace, rows: Sequence[dict[str, Any]]) -> None:
        self._upserts[table.name].make(self._connection, rows, **self._owner(namespace))


def due_consolidations(connection: Connection, episodes: int) -> list[tuple[TenantId, Namespace]]:
    """Namespaces of all tenants whose consolidation was asked for, or which had `episodes` new ones since the last."""
    n, c = t.namespaces.c, t.consolidations.c
    query = (
        select(n.tenant, n.namespace)
        .outerjoin(t.consolidations, and_(c.tenant == n.tenant, c.namespace == n.namespace))
        .where(
            n.actions > 0,
            or_(
                c.requested > c.through,
                and_(c.tenant.is_not(None), n.episodes - c.episodes >= episodes),
                and_(c.tenant.is_(None), n.episodes >= episodes),
            ),
        )
        .order_by(n.tenant, n.namespace)
    )
    return [(TenantId(row.tenant), Namespace(row.namespace)) for row in connection.execute(query)]


def counted(stored: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Outcomes of a primitive row, ascending, and how often each came."""
    flat = struct.unpack("<" + COUNTED * (len(stored) // _COUNTED_BYTES), stored)
    return flat[::2], flat[1::2]


def _row(row: tuple[Any, ...]) -> PrimitiveRow:
    start, action, reward, loss, refused, fresh, stored = row
    outcomes, counts = counted(stored)
    return PrimitiveRow(
        start=start,
        action=action,
        reward=reward,
        loss=loss,
        refused=refused,
        fresh=bool(fresh),
        outcomes=outcomes,
        counts=counts,
    )


def _row_columns(row: PrimitiveRow) -> dict[str, Any]:
    flat = chain.from_iterable(zip(row.outcomes, row.counts, strict=True))
    return {
        "start": row.start,
        "action": row.action,
        "reward": row.reward,
        "loss": row.loss,
        "refused": row.refused,
        "fresh": row.fresh,
        "outcomes": struct.pack("<" + COUNTED * len(row.outcomes), *flat),
    }


def _arrivals(row: tuple[Any, ...]) -> Arrivals:
    number, arrivals, endings, marks = row
    return Arrivals(number=number, arrivals=arrivals, endings=endings, marks=Mark(marks))
