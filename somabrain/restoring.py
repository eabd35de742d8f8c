"""An empty database filled from the documents in the vector engine (DESIGN §3)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from somabrain.errors import InvalidRequestError, ModelIncompatibleError
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

    `rows_omitted`, `options_omitted`: what the documents had no room for. `skipped`: the tenant has a journal, so
    nothing was.
    """

    tenant: TenantId
    options: int = 0
    states: int = 0
    rows: int = 0
    rows_omitted: int = 0
    options_omitted: int = 0
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
                report = self._import(tx, namespace, found, report)
            for namespace, found in sorted(memories.items(), key=_name):
                restored = sorted((self._memory(one) for one in found), key=_order)
                restore_memories(tx, namespace, restored, self._stamp)
                report = replace(report, memories=report.memories + len(restored))
        return report

    def _by_namespace(self, shelf: Shelf, tenant: TenantId) -> dict[Namespace, list[Projected]]:
        found: dict[Namespace, list[Projected]] = {}
        for batch in self._engine.documents(shelf, tenant):
            for projected in batch:
                found.setdefault(projected.namespace, []).append(projected)
        return {namespace: sorted(documents, key=_id) for namespace, documents in found.items()}

    def _memory(self, projected: Projected) -> Memory:
        with _reading(projected):
            memory = memory_of_projected(projected)
        components = len(memory.vector.array())
        if components != self._limits.dimension:
            message = f"memory {projected.id!r} has {components} components, this server {self._limits.dimension}"
            raise ModelIncompatibleError(message)
        return memory

    def _import(
        self, tx: WriteTransaction, namespace: Namespace, found: Sequence[Projected], report: Restored
    ) -> Restored:
        drafts = _Drafts(dimension=self._limits.dimension)
        for projected in found:
            with _reading(projected):
                document = option_of_projected(projected)
                if document is None:
                    report = replace(report, options_omitted=report.options_omitted + 1)
                else:
                    drafts.add(document)
        model = parse_model(drafts.model(), self._limits.dimension)
        import_model(tx, namespace, model, self._stamp, manager=self._manager, limits=self._limits, replacing=False)
        return replace(
            report,
            options=report.options + len(model.options),
            states=report.states + len(model.prototypes),
            rows=report.rows + len(model.rows),
            rows_omitted=report.rows_omitted + drafts.rows_omitted,
        )


@contextmanager
def _reading(projected: Projected) -> Iterator[None]:
    """Names the document that can't be read. Raises `InvalidRequestError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError) as error:
        message = f"the document {projected.id!r} of namespace {projected.namespace} is not this service's: {error!r}"
        raise InvalidRequestError(message) from error


class _Drafts:
    """Options' documents as one exported model."""

    def __init__(self, dimension: int) -> None:
        self.rows_omitted = 0
        self._dimension = dimension
        self._numbers: dict[str, int] = {}
        self._prototypes: list[dict[str, Any]] = []
        self._options: list[Any] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, document: Mapping[str, Any]) -> None:
        """Adds an option, its rows and their states. Raises `ModelIncompatibleError`."""
        if (document["memory_dim"], document["encoder"]) != (self._dimension, ENCODER_ID):
            message = (
                f"an option's MEMORY_DIM and encoder are {document['memory_dim']!r} and {document['encoder']!r}, "
                f"this server's {self._dimension} and {ENCODER_ID!r}"
            )
            raise ModelIncompatibleError(message)
        self.rows_omitted += document["rows_omitted"]
        option_id = document["option"]["option_id"]
        self._options.append(document["option"])
        places = [self._numbered(state) for state in document["states"]]
        for row in document["rows"]:
            start = places[row["start"]]
            self._prototypes[start]["visits"] += row["executions"]
            outcomes = sorted((-1 if y == "FAIL" else places[y], p, reach) for y, p, reach in row["outcomes"])
            named = [["FAIL" if y < 0 else y, p, reach] for y, p, reach in outcomes]
            self._rows.append({**row, "option_id": option_id, "start": start, "outcomes": named})

    def model(self) -> dict[str, Any]:
        """The document of them all."""
        return {
            "format": FORMAT,
            "memory_dim": self._dimension,
            "encoder": ENCODER_ID,
            "prototypes": self._prototypes,
            "options": self._options,
            "rows": sorted(self._rows, key=lambda row: (row["option_id"], row["start"])),
            "primitives": {"actions": [], "rows": []},
            "consolidation": None,
        }

    def _numbered(self, state: Mapping[str, Any]) -> int:
        """The number of the prototype that stands for `state`, a new one where there is none."""
        key = json.dumps({name: state[name] for name in ("features", "vector_b64") if name in state}, sort_keys=True)
        number = self._numbers.setdefault(key, len(self._prototypes))
        if number == len(self._prototypes):
            self._prototypes.append({"prototype": number, **state, "visits": 0})
        return number


def _name(item: tuple[Namespace, Any]) -> str:
    return item[0].value


def _id(projected: Projected) -> str:
    return projected.id


def _order(memory: Memory) -> int:
    return memory.sequence
