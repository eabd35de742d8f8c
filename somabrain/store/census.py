"""What the database holds, counted for the metrics: the one query over all tenants."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from somabrain.oak.model import Source, Status
from somabrain.store import tables as t
from somabrain.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFigures:
    """A tenant's options by status, the sum of U over the active ones, its prototypes, and its options' models."""

    tenant: str
    active: int
    retired: int
    active_utility: float
    prototypes: int
    model_bytes: int


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
        nothing = (0, 0.0)
        return [
            TenantFigures(
                tenant=tenant,
                active=by_status.get((tenant, Status.ACTIVE.value), nothing)[0],
                retired=by_status.get((tenant, Status.RETIRED.value), nothing)[0],
                active_utility=by_status.get((tenant, Status.ACTIVE.value), nothing)[1],
                prototypes=number,
                model_bytes=bytes_of.get(tenant, 0),
            )
            for tenant, number in known.items()
        ]
