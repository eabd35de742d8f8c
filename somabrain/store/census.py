"""What the database holds, counted for the metrics: the one query over all tenants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from somabrain.oak.model import Scored, Source, Status
from somabrain.store import tables as t
from somabrain.store.database import Database
from somabrain.store.statements import NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFigures:
    """A tenant's options by status, the sum of U over the active ones, its prototypes, and its options' models.

    Of the scored predictions: how many, the sum of their squared errors, and by bin of the reliability curve what they
    promised beyond what came, in sum.
    """

    tenant: str
    active: int
    retired: int
    active_utility: float
    prototypes: int
    model_bytes: int
    predictions: int
    squares: float
    surplus: Mapping[int, float]


class Census:
    """Counts what the database holds."""

    def __init__(self, database: Database) -> None:
        """`database` is prepared."""
        self._database = database

    def figures(self) -> list[TenantFigures]:
        """Each tenant with a namespace, by name. Raises `StoreUnavailableError`."""
        o, n = t.options.c, t.namespaces.c
        utility = case(
            (o.evidence_runs > 0, (o.kappa * o.evidence_feature + o.evidence_reward) / o.evidence_runs), else_=0.0
        )
        options = select(o.tenant, o.status, func.count().label("number"), func.sum(utility).label("utility"))
        prototypes = select(n.tenant, func.sum(n.prototypes).label("number")).group_by(n.tenant).order_by(n.tenant)
        skills = options.where(o.source != Source.PRIMITIVE.value).group_by(o.tenant, o.status)
        with self._database.reading() as connection:
            by_status = {(row.tenant, row.status): (row.number, row.utility) for row in connection.execute(skills)}
            sizes = select(t.option_models.c.tenant, func.sum(func.length(t.option_models.c.model)).label("bytes"))
            bytes_of = {
                row.tenant: int(row.bytes) for row in connection.execute(sizes.group_by(t.option_models.c.tenant))
            }
            known = {row.tenant: int(row.number) for row in connection.execute(prototypes)}
            scored = _scored(connection)
        nothing = (0, 0.0)
        return [
            TenantFigures(
                tenant=tenant,
                active=by_status.get((tenant, Status.ACTIVE.value), nothing)[0],
                retired=by_status.get((tenant, Status.RETIRED.value), nothing)[0],
                active_utility=by_status.get((tenant, Status.ACTIVE.value), nothing)[1],
                prototypes=number,
                model_bytes=bytes_of.get(tenant, 0),
                predictions=sum(int(row.number) for row in scored.get(tenant, [])),
                squares=sum(row.squares for row in scored.get(tenant, [])),
                surplus={row.place: row.predicted - int(row.successes) for row in scored.get(tenant, [])},
            )
            for tenant, number in known.items()
        ]


def _scored(connection: Connection) -> dict[str, list[Any]]:
    """Each tenant's bins of the reliability curve of all agents, in sums."""
    s = t.scores.c
    sums = (func.sum(column).label(column.name) for column in (s.number, s.successes, s.predicted, s.squares))
    query = select(s.tenant, s.place, *sums).where(s.agent == NOBODY, s.kind == Scored.BIN).group_by(s.tenant, s.place)
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query.order_by(s.tenant, s.place)):
        found[row.tenant].append(row)
    return found
