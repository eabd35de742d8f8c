"""The memories of one namespace in the process's memory, for exact recall."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from somabrain.memory.codes import codes_of, query_code, relevance_bounds
from somabrain.memory.entries import entries_of
from somabrain.memory.fusion import relevance
from somabrain.memory.lexical import LexicalIndex
from somabrain.memory.model import Memory, Query, Scored, Weights
from somabrain.memory.scoring import (
    boosts,
    exact_cosines,
    importance_boosts,
    raise_bounds,
    recency_boosts,
    rounded_scores,
)
from somabrain.oak.learning.prototypes import CANDIDATE_MARGIN

NEVER_MS = np.iinfo(np.int64).max
"""When a memory without an expiry expires."""

_Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]
_FIRST_CAPACITY = 64
_COLUMNS = ("_vectors", "_codes", "_scales", "_errors", "_importance", "_created", "_expires", "_alive")


class MemoryIndex:
    """Vectors, words and filters of a namespace's memories. One thread at a time.

    Rows are only appended; a memory that is replaced or forgotten leaves a dead row, and `apply` closes the ranks once
    most rows are dead. What is recalled depends on the living memories alone, never on how they came here.
    """

    def __init__(self, dimension: int) -> None:
        """Empty; `dimension`: MEMORY_DIM."""
        self.version = 0
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._vectors = np.empty((_FIRST_CAPACITY, dimension), dtype=np.float32)
        self._codes = np.empty((_FIRST_CAPACITY, dimension), dtype=np.int8)
        self._scales = np.empty(_FIRST_CAPACITY, dtype=np.float64)
        self._errors = np.empty(_FIRST_CAPACITY, dtype=np.float64)
        self._importance = np.empty(_FIRST_CAPACITY, dtype=np.float64)
        self._created = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._expires = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._alive = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)
        self._holding: dict[str, array[int]] = {}
        self._words = LexicalIndex()

    def __len__(self) -> int:
        """How many memories there are."""
        return len(self._rows)

    def apply(self, forgotten: Iterable[str], stored: Sequence[Memory], version: int) -> None:
        """Forgets, then stores: the changes that lead to the namespace's `version`."""
        for memory_id in forgotten:
            self._drop(memory_id)
        for memory in stored:
            self._drop(memory.memory_id)
            self._append(memory)
        self._encode(len(self._ids) - len(stored))
        self._words.append([memory.content for memory in stored])
        self.version = version
        if len(self._ids) > _FIRST_CAPACITY and 2 * len(self._rows) < len(self._ids):
            self._close_ranks()

    def best(self, query: Query, now_ms: int, weights: Weights) -> list[Scored]:
        """The `top_k` living memories of highest score that pass the filter and `min_score`; ties by id.

        Scores are rounded to 1e-6 and are the same whatever the order in which the memories came.
        """
        rows = self._passing(query.entries, now_ms)
        if not len(rows):
            return []
        vector, words = query.vector.array(), np.zeros(len(rows))
        if query.text is None:
            weights = replace(weights, lexical=0.0)
        else:
            words = self._words.scores(query.text)
            words = words if len(rows) == len(words) else words[rows]
        near = self._near(rows, self._bounds(rows, words, vector, weights), query.top_k, now_ms, weights)
        rows = rows[near]
        extra = boosts(self._importance[rows], self._created[rows], now_ms, weights)
        cosines = exact_cosines(self._vectors[rows], vector)
        scores = rounded_scores(relevance(cosines, words[near], weights.lexical) + extra)
        found = [
            Scored(memory_id=self._ids[row], score=score)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
            if query.min_score is None or score >= query.min_score
        ]
        return sorted(found, key=lambda hit: (-hit.score, hit.memory_id))[: query.top_k]

    def _passing(self, entries: frozenset[str], now_ms: int) -> NDArray[np.int64]:
        count = len(self._ids)
        passing = self._alive[:count] & (self._expires[:count] > now_ms)
        for entry in entries:
            holding = np.zeros(count, dtype=np.bool_)
            holding[np.array(self._holding.get(entry, ()), dtype=np.int64)] = True
            passing &= holding
        return np.flatnonzero(passing)

    def _bounds(
        self, rows: NDArray[np.int64], words: NDArray[np.float64], vector: NDArray[np.float32], weights: Weights
    ) -> _Bounds:
        """Between what the relevance of the rows lies, shape (rows,), as `words`."""
        count, low, high = len(self._ids), np.empty(len(rows)), np.empty(len(rows))
        if relevance_bounds.compiled:
            coded = self._codes[:count], self._scales[:count], self._errors[:count]
            lexical, margin = weights.lexical, CANDIDATE_MARGIN
            relevance_bounds(*coded, rows, *query_code(vector), words, lexical, margin, low, high)
            return low, high
        some = 2 * len(rows) < count
        products = self._vectors[rows] @ vector if some else (self._vectors[:count] @ vector)[rows]
        found = relevance(products.astype(np.float64), words, weights.lexical)
        return found - CANDIDATE_MARGIN, found + CANDIDATE_MARGIN

    def _near(
        self, rows: NDArray[np.int64], relevant: _Bounds, top_k: int, now_ms: int, weights: Weights
    ) -> NDArray[np.intp]:
        """Places of rows that can be among the `top_k` best, from the bounds of their relevance.

        What recency takes off takes longest to work out, so first of few: of those by whose lower bounds the score of
        the last one is known, then of those that may reach it.
        """
        low, high = relevant
        if raise_bounds.compiled:
            best = np.full(top_k, -np.inf)
            raise_bounds(low, high, self._importance[: len(self._ids)], rows, weights.importance, best)
            lowest = best[0]
        else:
            important = importance_boosts(self._importance[rows], weights)
            low, high = low + important, high + important
            lowest = _highest(low, top_k)
        sure = np.flatnonzero(low >= lowest)
        last = _highest(low[sure] + recency_boosts(self._created[rows[sure]], now_ms, weights), top_k)
        near = np.flatnonzero(high >= last)
        recency = recency_boosts(self._created[rows[near]], now_ms, weights)
        return near[high[near] + recency >= _highest(low[near] + recency, top_k)]

    def _append(self, memory: Memory) -> None:
        row = len(self._ids)
        if row == len(self._alive):
            self._grow()
        self._vectors[row] = memory.vector.array()
        self._importance[row] = memory.importance
        self._created[row] = memory.created_at_ms
        self._expires[row] = NEVER_MS if memory.expires_at_ms is None else memory.expires_at_ms
        self._alive[row] = True
        for entry in entries_of(memory.metadata):
            self._holding.setdefault(entry, array("I")).append(row)
        self._ids.append(memory.memory_id)
        self._rows[memory.memory_id] = row

    def _encode(self, first: int) -> None:
        rows = slice(first, len(self._ids))
        self._codes[rows], self._scales[rows], self._errors[rows] = codes_of(self._vectors[rows])

    def _grow(self) -> None:
        for name in _COLUMNS:
            held = getattr(self, name)
            more = np.zeros((max(len(held), _FIRST_CAPACITY), *held.shape[1:]), dtype=held.dtype)
            setattr(self, name, np.concatenate([held, more]))

    def _drop(self, memory_id: str) -> None:
        row = self._rows.pop(memory_id, None)
        if row is not None:
            self._alive[row] = False
            self._words.remove(row)

    def _close_ranks(self) -> None:
        keep = self._alive[: len(self._ids)].copy()
        kept = np.flatnonzero(keep)
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name)[kept].copy())
        self._ids = [self._ids[row] for row in kept.tolist()]
        self._rows = {memory_id: row for row, memory_id in enumerate(self._ids)}
        moved = np.cumsum(keep) - 1
        holding: dict[str, array[int]] = {}
        for entry, rows in self._holding.items():
            old = np.array(rows, dtype=np.int64)
            living = moved[old[keep[old]]]
            if len(living):
                holding[entry] = array("I", living.tolist())
        self._holding = holding
        self._words.compact(keep)


def _highest(values: NDArray[np.float64], count: int) -> float:
    """The `count`-th highest; the lowest where there are fewer."""
    place = max(0, len(values) - count)
    return float(np.partition(values, place)[place])
