"""Counts behind the odds of a run, and the odds that were told, on SQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from somabrain.oak.model import BUCKETS, EVERYONE, Prediction, Score, Scored, Tallied, Tally, Tried
from somabrain.ports import TallyQuery
from somabrain.store import statements as sql
from somabrain.store import tables as t
from somabrain.store.experience import counted
from somabrain.store.statements import NOBODY, Change
from somabrain.tenancy import Namespace, TenantId

_KINDS = {int(kind): kind for kind in Tallied}
"""Looked up: calling an enumeration takes longer than the rest of a row."""


class SqlOdds:
    """`ReadOdds` on a connection."""

    def __init__(self, connection: Connection, tenant: TenantId) -> None:
        """`connection` is inside a transaction or begins one with its first statement."""
        self._connection = connection
        self._tenant = tenant

    def tallies(self, namespace: Namespace, query: TallyQuery | None = None) -> list[Tally]:
        """As the port."""
        rows: Sequence[Any]
        if query is None:
            labels = self._labels(namespace)
            rows = self._connection.execute(self._of(t.odds, namespace)).all()
        else:
            labels = {NOBODY: EVERYONE}
            if query.agent is not None:
                labels[_key(query.agent)] = query.agent
            first = 0 if query.steps is None else query.steps * BUCKETS
            asked = {
                "in_state": sql.NOTHING if query.state is None else query.state,
                "in_agent": sql.NO_KEY if query.agent is None else _key(query.agent),
                "in_steps": sql.NOTHING if query.steps is None else query.steps,
                "in_left": int(Tallied.LEFT) if query.left else sql.NOTHING,
                "in_first": first,
                "in_last": (BUCKETS * BUCKETS if query.steps is None else first + BUCKETS) - 1,
            }
            rows = sql.TALLIES.rows(self._connection, **self._asked(namespace), **asked)
        return [
            Tally(
                state=state,
                kind=_KINDS[kind],
                place=place,
                agent=labels[agent],
                episodes=episodes,
                successes=successes,
                left=left,
            )
            for _, _, state, kind, place, agent, episodes, successes, left in rows
        ]

    def tried(self, namespace: Namespace, state: int) -> list[Tried]:
        """As the port."""
        rows = sql.TRIED.rows(self._connection, in_state=state, **self._asked(namespace))
        return [
            Tried(action, sum(counted(outcomes)[1]), episodes or 0, successes or 0)
            for action, outcomes, episodes, successes in rows
        ]

    def predictions(self, namespace: Namespace, episode_id: str) -> list[Prediction]:
        """As the port."""
        rows = sql.PREDICTIONS.documents(self._connection, in_episode=episode_id, **self._asked(namespace))
        return [
            Prediction(
                probability=row["probability"],
                steps=row["steps"],
                agent=None if row["agent"] is None else json.loads(row["agent"]),
            )
            for row in rows
        ]

    def scores(self, namespace: Namespace, agent: str | None = None) -> list[Score]:
        """As the port."""
        query = self._of(t.scores, namespace)
        if agent is None:
            labels = self._labels(namespace)
        else:
            labels = {_key(agent): agent}
            query = query.where(t.scores.c.agent == _key(agent))
        return [
            Score(
                agent=labels[bytes(row.agent)],
                kind=Scored(row.kind),
                place=row.place,
                count=row.number,
                successes=row.successes,
                predicted=row.predicted,
                squares=row.squares,
                steps=row.steps,
            )
            for row in self._connection.execute(query)
        ]

    def _labels(self, namespace: Namespace) -> dict[bytes, str]:
        rows = self._connection.execute(self._of(t.agents, namespace, t.agents.c.agent, t.agents.c.label))
        return {NOBODY: EVERYONE, **{bytes(row.agent): json.loads(row.label) for row in rows}}

    def _asked(self, namespace: Namespace) -> dict[str, str]:
        return {"in_tenant": self._tenant.value, "in_namespace": namespace.value}

    def _of(self, table: Table, namespace: Namespace, *columns: Any) -> Select[Any]:
        query = select(*columns) if columns else select(table)
        return query.where(table.c.tenant == self._tenant.value, table.c.namespace == namespace.value)


class SqlOddsWriter(SqlOdds):
    """`WriteOdds` on a connection whose transaction holds the tenant's row."""

    def __init__(self, connection: Connection, tenant: TenantId, upserts: Mapping[str, Change]) -> None:
        """`upserts` by table name."""
        super().__init__(connection, tenant)
        self._upserts = upserts

    def add_tallies(self, namespace: Namespace, tallies: Sequence[Tally]) -> None:
        """As the port."""
        labels = {one.agent for one in tallies}
        keys = {label: _key(label) for label in labels}
        rows = [
            {
                "state": one.state,
                "kind": int(one.kind),
                "place": one.place,
                "agent": keys[one.agent],
                "episodes": one.episodes,
                "successes": one.successes,
                "steps_left": one.left,
            }
            for one in tallies
        ]
        self._name(namespace, labels)
        self._put(t.odds, namespace, rows)

    def add_prediction(self, namespace: Namespace, episode_id: str, told: Prediction, now_ms: int, most: int) -> None:
        """As the port."""
        row = {
            "in_episode": episode_id,
            "in_probability": told.probability,
            "in_steps": told.steps,
            "in_agent": None if told.agent is None else json.dumps(told.agent),
            "in_told_at_ms": now_ms,
            "in_most": most,
        }
        sql.ADD_PREDICTION.make(self._connection, [row], **self._asked(namespace))

    def drop_predictions(self, namespace: Namespace, episode_id: str) -> None:
        """As the port."""
        sql.DROP_PREDICTIONS.make(self._connection, [{"in_episode": episode_id}], **self._asked(namespace))

    def add_scores(self, namespace: Namespace, scores: Sequence[Score]) -> None:
        """As the port."""
        rows = [
            {
                "agent": _key(one.agent),
                "kind": int(one.kind),
                "place": one.place,
                "number": one.count,
                "successes": one.successes,
                "predicted": one.predicted,
                "squares": one.squares,
                "steps": one.steps,
            }
            for one in scores
        ]
        self._name(namespace, {one.agent for one in scores})
        self._put(t.scores, namespace, rows)

    def _name(self, namespace: Namespace, labels: set[str]) -> None:
        rows = [{"agent": _key(label), "label": json.dumps(label)} for label in sorted(labels - {EVERYONE})]
        self._put(t.agents, namespace, rows)

    def _owner(self, namespace: Namespace) -> dict[str, Any]:
        return {"tenant": self._tenant.value, "namespace": namespace.value}

    def _put(self, table: Table, namespace: Namespace, rows: Sequence[dict[str, Any]]) -> None:
        self._upserts[table.name].make(self._connection, rows, **self._owner(namespace))


def _key(agent: str) -> bytes:
    """An agent's label as a key: labels may be long, and hold what a database's text does not."""
    return NOBODY if agent == EVERYONE else hashlib.sha256(json.dumps(agent).encode()).digest()
