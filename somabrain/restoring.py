"""An empty database filled from the documents in the vector engine (DESIGN §3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from somabrain.memory.model import Memory
from somabrain.memory_client import restore_memories
from somabrain.memory_client.documents import memory_of_projected, option_of_projected
from somabrain.oak.changes import Stamp
from somabrain.oak.learning import ENCODER_ID
from somabrain.oak.model_document import FORMAT
from somabrain.oak.option_manager import Limits, OptionManager
from somabrain.oak.transfer import import_model, parse_model
from somabrain.ports import Projected, Shelf, Store, VectorEngine, WriteTransaction
from somabrain.tenancy import Namespace, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was taken from a tenant's documents.

    `rows_omitted`: rows that the documents had no room for. `skipped`: the tenant has a journal, so nothing was.
    """

    tenant: TenantId
    options: int = 0
    states: int = 0
    rows: int = 0
    rows_omitted: int = 0
    memories: int = 0
    skipped: bool = False


class Restoring:
    """Restores tenants one by one, each in one transaction. What is restored is journalled as an import."""

    def __init__(
        self, *, store: Store, engine: VectorEngine, manager: OptionManager, limits: Limits, stamp: Stamp
    ) -> None:
        """`engine` is open."""
        self._store = store
        self._engine = engine
        self._manager = manager
        self._limits = limits
        self._stamp = stamp

    def tenants(self) -> list[TenantId]:
        """Every owner of documents. Raises as `VectorEngine`."""
        return sorted(set().union(*(self._engine.tenants(shelf) for shelf in Shelf)))

    def restore(self, tenant: TenantId) -> Restored:
        """Restores one tenant, whole or not at all.

        Prototypes are numbered anew, and their visits are the runs that began in them. Raises as `VectorEngine`,
        `ModelIncompatibleError` where the documents are of another MEMORY_DIM or encoder, `InvalidRequestError` where
        one is not what this service writes, `StoreUnavailableError`.
        """
        options = self._by_namespace(Shelf.OPTIONS, tenant)
        memories = self._by_namespace(Shelf.MEMORIES, tenant)
        report = Restored(tenant=tenant)
        with self._store.write(tenant) as tx:
            if tx.sequence():
                return Restored(tenant=tenant, skipped=True)
            for namespace, found in sorted(options.items(), key=_name):
                report = self._import(tx, namespace, [option_of_projected(one) for one in found], report)
            for namespace, found in sorted(memories.items(), key=_name):
                restored = sorted((memory_of_projected(one) for one in found), key=_order)
                restore_memories(tx, namespace, restored, self._stamp)
                report = replace(report, memories=report.memories + len(restored))
        return report

    def _by_namespace(self, shelf: Shelf, tenant: TenantId) -> dict[Namespace, list[Projected]]:
        found: dict[Namespace, list[Projected]] = {}
        for batch in self._engine.documents(shelf, tenant):
            for projected in batch:
                found.setdefault(projected.namespace, []).append(projected)
        return {namespace: sorted(documents, key=_id) for namespace, documents in found.items()}

    def _import(
        self, tx: WriteTransaction, namespace: Namespace, documents: Sequence[Mapping[str, Any]], report: Restored
    ) -> Restored:
        model = parse_model(_model(documents, self._limits.dimension), self._limits.dimension)
        import_model(tx, namespace, model, self._stamp, manager=self._manager, limits=self._limits, replacing=False)
        return replace(
            report,
            options=report.options + len(model.options),
            states=report.states + len(model.prototypes),
            rows=report.rows + len(model.rows),
            rows_omitted=report.rows_omitted + sum(document["rows_omitted"] for document in documents),
        )


def _model(documents: Iterable[Mapping[str, Any]], dimension: int) -> dict[str, Any]:
    """The options' documents as one exported model."""
    numbers: dict[str, int] = {}
    prototypes: list[dict[str, Any]] = []
    options, rows = [], []
    encoder = ENCODER_ID
    for document in documents:
        dimension, encoder = document["memory_dim"], document["encoder"]
        places = [_numbered(state, numbers, prototypes) for state in document["states"]]
        options.append(document["option"])
        for row in document["rows"]:
            start = places[row["start"]]
            prototypes[start]["visits"] += row["executions"]
            outcomes = sorted(
                (-1 if y == "FAIL" else places[y], probability, reach) for y, probability, reach in row["outcomes"]
            )
            moved = {
                **row,
                "option_id": document["option"]["option_id"],
                "start": start,
                "outcomes": [["FAIL" if y < 0 else y, probability, reach] for y, probability, reach in outcomes],
            }
            rows.append(moved)
    return {
        "format": FORMAT,
        "memory_dim": dimension,
        "encoder": encoder,
        "prototypes": prototypes,
        "options": options,
        "rows": sorted(rows, key=lambda row: (row["option_id"], row["start"])),
        "primitives": [],
        "consolidation": None,
    }


def _numbered(state: Mapping[str, Any], numbers: dict[str, int], prototypes: list[dict[str, Any]]) -> int:
    """The number of the prototype that stands for `state`, a new one where there is none."""
    key = json.dumps({name: state[name] for name in ("features", "vector_b64") if name in state}, sort_keys=True)
    number = numbers.setdefault(key, len(prototypes))
    if number == len(prototypes):
        prototypes.append({"prototype": number, **state, "visits": 0})
    return number


def _name(item: tuple[Namespace, Any]) -> str:
    return item[0].value


def _id(projected: Projected) -> str:
    return projected.id


def _order(memory: Memory) -> int:
    return memory.sequence
