"""Memories for tests, and recall over a store with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from somabrain.memory.entries import entries_of
from somabrain.memory.model import Memory, Query, Weights
from somabrain.memory_client import MILVUS, Nearest, NewMemory, Projection, Recaller, RecallLimits
from somabrain.oak.model import Vector
from somabrain.ports import Store, VectorEngine
from somabrain.store import RelayPositions, SqlStore
from somabrain.tenancy import TenantId
from tests.vectors import DIMENSION, vector

NOW_MS = 1_700_000_000_000
WEIGHTS = Weights(lexical=0.4, importance=0.05, recency=0.02, half_life_ms=2_592_000_000.0)
LIMITS = RecallLimits(
    exact_max=100_000,
    candidates=200,
    proposals_max=16_384,
    staleness_ms=10_000,
    scan_deadline_s=60.0,
    load_rows=7,
    namespaces_max=3,
)


def memory(memory_id: str, **changes: Any) -> Memory:
    """A memory of its own vector, unless `vector` is given."""
    values: dict[str, Any] = {
        "memory_id": memory_id,
        "content": f"content of {memory_id}",
        "metadata": {},
        "importance": 0.5,
        "created_at_ms": NOW_MS,
        "expires_at_ms": None,
        "vector": vector(memory_id),
        "sequence": 1,
        "checksum": "",
    }
    return Memory(**{**values, **changes})


def new(memory_id: str, **changes: Any) -> NewMemory:
    """What to remember, of its own vector, unless `vector` is given."""
    values: dict[str, Any] = {
        "memory_id": memory_id,
        "content": f"content of {memory_id}",
        "vector": vector(memory_id),
        "metadata": {},
        "importance": 0.5,
        "ttl_s": None,
    }
    return NewMemory(**{**values, **changes})


def query(wanted: Vector, *, top_k: int = 10, holds: Mapping[str, Any] | None = None, **changes: Any) -> Query:
    """A query by vector, for memories whose metadata hold `holds`."""
    values: dict[str, Any] = {"text": None, "entries": entries_of(holds or {}), "min_score": None}
    return Query(vector=wanted, top_k=top_k, **{**values, **changes})


def recaller(
    store: Store,
    nearest: Nearest | None = None,
    *,
    limits: RecallLimits = LIMITS,
    monotonic_s: Callable[[], float] = lambda: 0.0,
) -> Recaller:
    """Recall over `store` in DIMENSION dimensions."""
    return Recaller(
        store=store,
        nearest=nearest,
        projection=MILVUS,
        dimension=DIMENSION,
        weights=WEIGHTS,
        limits=limits,
        accelerate=lambda: None,
        monotonic_s=monotonic_s,
    )


def projection(
    store: SqlStore,
    positions: RelayPositions,
    engine: VectorEngine,
    *,
    dimension: int = DIMENSION,
    breathe: Callable[[], None] = lambda: None,
) -> Projection:
    """The projection of `store` into `engine`, which is that of its database alone."""
    return Projection(
        store=store,
        engine=engine,
        tenants=store.tenants,
        dimension=dimension,
        document_bytes_max=60_000,
        page=7,
        disposable=True,
        positions=positions,
        breathe=breathe,
    )


def follow(store: SqlStore, positions: RelayPositions, held: Projection, tenants: Iterable[TenantId]) -> int:
    """Brings the projection to the end of each tenant's journal, as the relay does; how many entries that took."""
    count = 0
    for tenant in tenants:
        with store.read(tenant) as tx:
            entries = tx.journal(after=tx.position(MILVUS))
        if entries:
            held.publish(entries)
            positions.advance(MILVUS, tenant, entries[-1].sequence)
            count += len(entries)
    return count
