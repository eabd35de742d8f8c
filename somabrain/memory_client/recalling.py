"""Recall: exact from the process's memory while a tenant is small, by the vector engine above that (ADR 0008)."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from somabrain.errors import RecallUnavailableError
from somabrain.memory.index import MemoryIndex
from somabrain.memory.model import Memory, Query, Scored, Trace, Weights
from somabrain.memory.scoring import boosts, exact_cosines, rounded_scores
from somabrain.oak.learning.prototypes import CANDIDATE_MARGIN
from somabrain.oak.model import Vector
from somabrain.ports import MemorySpace, Near, ReadTransaction, Shelf, Store, VectorEngineUnavailableError
from somabrain.recent import Recent
from somabrain.tenancy import Namespace, TenantId


class Nearest(Protocol):
    """The searching half of a vector engine; it may be out of this process's reach."""

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As `VectorEngine.search`. Raises `VectorEngineUnavailableError`."""
        ...


ACCELERATED_MEMORIES = 10_000
"""Where a namespace has more, its recalls are worth compiled kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallLimits:
    """What recall holds to (Settings `recall_*`, `milvus_*`).

    A tenant of up to `exact_max` memories is scored whole. Above, the engine proposes at least `candidates`; memories
    younger than `staleness_ms` are read in SQL, and a scan of SQL ends after `scan_deadline_s`. `load_rows` are read
    at once.
    """

    exact_max: int
    candidates: int
    staleness_ms: int
    scan_deadline_s: float
    load_rows: int
    namespaces_max: int

    @property
    def fresh_max(self) -> int:
        """Most memories that are read in SQL beside the engine's proposals; where there are more, all are."""
        return max(self.exact_max, self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """Memories and their scores, best first; `degraded` where the vector engine should have answered and did not."""

    hits: Sequence[tuple[Memory, float]]
    degraded: bool


class _Slot:
    """One namespace's index and who may touch it."""

    def __init__(self, dimension: int) -> None:
        self.lock = threading.Lock()
        self.index = MemoryIndex(dimension)


class Recaller:
    """Answers recalls. Thread-safe."""

    def __init__(
        self,
        *,
        store: Store,
        nearest: Nearest | None,
        projection: str,
        dimension: int,
        weights: Weights,
        limits: RecallLimits,
        accelerate: Callable[[], None],
        monotonic_s: Callable[[], float],
    ) -> None:
        """`nearest` `None`: there is no vector engine. `projection`: the name under which its position is kept.

        `accelerate` is called once a namespace of many memories is searched: kernels will be wanted compiled.
        """
        self._store = store
        self._nearest = nearest
        self._projection = projection
        self._dimension = dimension
        self._weights = weights
        self._limits = limits
        self._accelerate = accelerate
        self._monotonic_s = monotonic_s
        self._slots: Recent[tuple[str, str], _Slot] = Recent(limits.namespaces_max)

    def recall(self, tenant: TenantId, namespace: Namespace, query: Query, now_ms: int) -> Recalled:
        """The memories that answer the query best, everything committed before included.

        Raises `RecallUnavailableError` where neither the engine nor a scan answers in time, `StoreUnavailableError`.
        """
        with self._store.read(tenant) as tx:
            spaces = tx.memories.spaces()
        if all(space.namespace != namespace for space in spaces):
            return Recalled(hits=(), degraded=False)
        if sum(space.memories for space in spaces) <= self._limits.exact_max:
            return self._from_index(tenant, namespace, query, now_ms)
        self._slots.drop((tenant.value, namespace.value))
        if query.entries:
            return self._scanned(tenant, namespace, query, now_ms, degraded=False)
        try:
            return self._proposed(tenant, namespace, query, now_ms)
        except VectorEngineUnavailableError:
            return self._scanned(tenant, namespace, query, now_ms, degraded=True)

    def _from_index(self, tenant: TenantId, namespace: Namespace, query: Query, now_ms: int) -> Recalled:
        slot = self._slots.get((tenant.value, namespace.value), lambda: _Slot(self._dimension))
        with slot.lock, self._store.read(tenant) as tx:
            space = tx.memories.space(namespace)
            if space is not None:
                if space.memories > ACCELERATED_MEMORIES:
                    self._accelerate()
                self._catch_up(slot.index, tx, space)
            found = slot.index.best(query, now_ms, self._weights)
            return Recalled(hits=_whole(tx, namespace, found), degraded=False)

    def _catch_up(self, index: MemoryIndex, tx: ReadTransaction, space: MemorySpace) -> None:
        """The snapshot was taken under the slot's lock, so it is never behind the index."""
        if index.version == space.version:
            return
        forgotten = tx.memories.forgotten(space.namespace, after=index.version) if index.version else []
        index.apply(forgotten, (), index.version)
        after = index.version
        while stored := tx.memories.stored(space.namespace, after=after, limit=self._limits.load_rows):
            after = stored[-1].sequence
            index.apply((), stored, after)
        index.version = space.version

    def _proposed(self, tenant: TenantId, namespace: Namespace, query: Query, now_ms: int) -> Recalled:
        """The best of what the engine proposes and of what it may not show yet, scored from SQL.

        Its position is read before it is asked: what is projected meanwhile is in neither its answer nor what is read
        above a later position. Raises `VectorEngineUnavailableError` too where these can't be all: too much is fresh,
        or so much of what it proposes is forgotten, expired or replaced that farther ones would have a place.
        """
        if self._nearest is None:
            raise VectorEngineUnavailableError
        limit, fresh_max = max(self._limits.candidates, 2 * query.top_k), self._limits.fresh_max
        with self._store.read(tenant) as tx:
            position = tx.position(self._projection)
        near = self._nearest.search(Shelf.MEMORIES, tenant, namespace, query.vector, limit=limit)
        with self._store.read(tenant) as tx:
            newer_than = (position, now_ms - self._limits.staleness_ms)
            fresh = tx.memories.traces(namespace, newer_than=newer_than, limit=fresh_max + 1)
            known = tx.memories.get(namespace, [hit.id for hit in near])
            traces = {trace.memory_id: trace for trace in fresh}
            traces.update((memory.memory_id, _trace(memory)) for memory in known.values())
            short = len(near) == limit and _as_near(known.values(), query, near[-1].similarity, now_ms) < query.top_k
            if short or len(fresh) > fresh_max:
                raise VectorEngineUnavailableError
            found = _best(list(traces.values()), query, now_ms, self._weights)
            return Recalled(hits=_whole(tx, namespace, found), degraded=False)

    def _scanned(
        self, tenant: TenantId, namespace: Namespace, query: Query, now_ms: int, *, degraded: bool
    ) -> Recalled:
        """Every memory that passes the filter, scored straight from SQL. Raises `RecallUnavailableError`."""
        deadline_s = self._monotonic_s() + self._limits.scan_deadline_s
        best: list[Scored] = []
        with self._store.read(tenant) as tx:
            for traces in self._pages(tx, namespace, query.entries):
                best = heapq.nsmallest(query.top_k, [*best, *_best(traces, query, now_ms, self._weights)], key=_rank)
                if self._monotonic_s() > deadline_s:
                    raise RecallUnavailableError
            return Recalled(hits=_whole(tx, namespace, best), degraded=degraded)

    def _pages(self, tx: ReadTransaction, namespace: Namespace, entries: frozenset[str]) -> Iterator[Sequence[Trace]]:
        after = ""
        while page := tx.memories.traces(namespace, entries=entries, after=after, limit=self._limits.load_rows):
            yield page
            after = page[-1].memory_id


def _best(traces: Sequence[Trace], query: Query, now_ms: int, weights: Weights) -> list[Scored]:
    """The best of these by vector and boosts."""
    living = [trace for trace in traces if trace.expires_at_ms is None or trace.expires_at_ms > now_ms]
    if not living:
        return []
    vectors = np.frombuffer(b"".join(trace.vector.data for trace in living), dtype="<f4").reshape(len(living), -1)
    extra = boosts(
        np.array([trace.importance for trace in living], dtype=np.float64),
        np.array([trace.created_at_ms for trace in living], dtype=np.int64),
        now_ms,
        weights,
    )
    scores = rounded_scores(exact_cosines(vectors, query.vector.array()) + extra)
    found = [
        Scored(memory_id=trace.memory_id, score=score)
        for trace, score in zip(living, scores.tolist(), strict=True)
        if query.min_score is None or score >= query.min_score
    ]
    return heapq.nsmallest(query.top_k, found, key=_rank)


def _as_near(memories: Iterable[Memory], query: Query, similarity: float, now_ms: int) -> int:
    """How many living ones are at least this near to the query's vector."""
    living = [memory.vector.data for memory in memories if memory.lives_at(now_ms)]
    if not living:
        return 0
    vectors = np.frombuffer(b"".join(living), dtype="<f4").reshape(len(living), -1)
    return int(np.count_nonzero(exact_cosines(vectors, query.vector.array()) >= similarity - CANDIDATE_MARGIN))


def _rank(hit: Scored) -> tuple[float, str]:
    return -hit.score, hit.memory_id


def _whole(tx: ReadTransaction, namespace: Namespace, found: Sequence[Scored]) -> list[tuple[Memory, float]]:
    known = tx.memories.get(namespace, [hit.memory_id for hit in found])
    return [(known[hit.memory_id], hit.score) for hit in found]


def _trace(memory: Memory) -> Trace:
    return Trace(
        memory_id=memory.memory_id,
        vector=memory.vector,
        importance=memory.importance,
        created_at_ms=memory.created_at_ms,
        expires_at_ms=memory.expires_at_ms,
    )
