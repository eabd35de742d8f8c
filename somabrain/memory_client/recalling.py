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

OFTEN = 10
"""How often a filter's entries pass is not counted to the end where that is more than once in so many memories."""

SOONER = 10
"""So many times what the engine is to propose SQL has read sooner than the engine has answered, and is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallLimits:
    """What recall holds to (Settings `recall_*`, `milvus_*`).

    A tenant of up to `exact_max` memories is scored whole. Above, the engine proposes at least `candidates`, and where
    there is a filter up to `proposals_max`, about as many of which pass; memories younger than `staleness_ms` are read
    in SQL, and a scan of SQL ends after `scan_deadline_s`. `load_rows` are read at once.
    """

    exact_max: int
    candidates: int
    proposals_max: int
    staleness_ms: int
    scan_deadline_s: float
    load_rows: int
    namespaces_max: int

    @property
    def fresh_max(self) -> int:
        """Most memories that are read in SQL beside the engine's proposals; where there are more, all are."""
        return max(self.exact_max, self.candidates)

    @property
    def scanned_max(self) -> int:
        """Most memories passing a filter that SQL has sooner than the engine has proposed them."""
        return SOONER * self.candidates


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
            spaces = {space.namespace: space for space in tx.memories.spaces()}
            if namespace not in spaces:
                return Recalled(hits=(), degraded=False)
            whole = sum(space.memories for space in spaces.values()) <= self._limits.exact_max
            limits = () if whole else self._to_propose(tx, spaces[namespace], query)
        if whole:
            return self._from_index(tenant, namespace, query, now_ms)
        self._slots.drop((tenant.value, namespace.value))
        try:
            for limit in limits:
                found = self._proposed(tenant, namespace, query, now_ms, limit)
                if found is not None:
                    return found
        except VectorEngineUnavailableError:
            return self._scanned(tenant, namespace, query, now_ms, degraded=True)
        return self._scanned(tenant, namespace, query, now_ms, degraded=not query.entries)

    def _to_propose(self, tx: ReadTransaction, space: MemorySpace, query: Query) -> tuple[int, ...]:
        """How many the engine is asked for, in turn until enough pass; never where so few do that SQL reads them all.

        As large a part of the nearest is expected to pass as of all memories, by the filter's rarest entry.
        """
        wanted, most = self._wanted(query), self._limits.proposals_max
        if not query.entries:
            return (wanted,)
        few = self._limits.scanned_max
        counted = max(few + 1, space.memories // (OFTEN * len(query.entries)))
        _, passing = tx.memories.rarest(space.namespace, query.entries, limit=counted)
        if passing <= few:
            return ()
        return tuple(dict.fromkeys((min(most, wanted * space.memories // passing), most)))

    def _wanted(self, query: Query) -> int:
        """How many that pass are scored, where there are as many."""
        return max(self._limits.candidates, 2 * query.top_k)

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

    def _proposed(
        self, tenant: TenantId, namespace: Namespace, query: Query, now_ms: int, limit: int
    ) -> Recalled | None:
        """The best of `limit` that the engine proposes and of what it may not show yet, scored from SQL.

        Its position is read before it is asked: what is projected meanwhile is in neither its answer nor what is read
        above a later position. `None` where so much of what it proposes does not pass, is forgotten, expired or
        replaced that farther ones would have a place. Raises `VectorEngineUnavailableError` too where too much is
        fresh.
        """
        if self._nearest is None:
            raise VectorEngineUnavailableError
        fresh_max = self._limits.fresh_max
        with self._store.read(tenant) as tx:
            position = tx.position(self._projection)
        near = self._nearest.search(Shelf.MEMORIES, tenant, namespace, query.vector, limit=limit)
        with self._store.read(tenant) as tx:
            newer_than = (position, now_ms - self._limits.staleness_ms)
            fresh = tx.memories.traces(namespace, newer_than=newer_than, limit=fresh_max + 1)
            if len(fresh) > fresh_max:
                raise VectorEngineUnavailableError
            passing, wanted = near, self._wanted(query)
            if query.entries:
                names = [*(hit.id for hit in near), *(trace.memory_id for trace in fresh)]
                holding = tx.memories.holding(namespace, query.entries, names)
                passing = [hit for hit in near if hit.id in holding]
                fresh = [trace for trace in fresh if trace.memory_id in holding]
            known = tx.memories.get(namespace, [hit.id for hit in passing[:wanted]])
            if len(near) == limit or len(passing) > wanted:
                farther = (passing[wanted:] or near[-1:])[0].similarity
                if _as_near(known.values(), query, farther, now_ms) < query.top_k:
                    return None
            traces = {trace.memory_id: trace for trace in fresh}
            traces.update((memory.memory_id, _trace(memory)) for memory in known.values())
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
        after, ordered = "", sorted(entries)
        if len(ordered) > 1:
            rarest, _ = tx.memories.rarest(namespace, entries, limit=self._limits.scanned_max)
            ordered.sort(key=lambda entry: entry != rarest)
        while page := tx.memories.traces(namespace, entries=ordered, after=after, limit=self._limits.load_rows):
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
