"""The memories of one namespace in the process's memory, for exact recall."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from somabrain.memory.codes import codes_of, query_code, relevance_bounds
from somabrain.memory.entries import entries_of
from somabrain.memory.fusion import relevance
from somabrain.memory.lexical import LexicalIndex
from somabrain.memory.model import Memory, Query, Scored, Weights
from somabrain.memory.scoring import boosts, exact_cosines, importance_boosts, recency_boosts, rounded_scores
from somabrain.oak.learning.prototypes import CANDIDATE_MARGIN

NEVER_MS = np.iinfo(np.int64).max
"""When a memory without an expiry expires."""

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
        passing = self._passing(query.entries, now_ms)
        wanted, text_weight = min(query.top_k, int(np.count_nonzero(passing))), weights.lexical
        if not wanted:
            return []
        if query.text is None:
            words, text_weight = np.zeros(len(self._ids)), 0.0
        else:
            words = self._words.scores(query.text)
        low, high = self._bounds(query.vector.array(), passing, words, text_weight)
        rows = self._worth_a_look(low, high, wanted, now_ms, weights)
        cosines = exact_cosines(self._vectors[rows], query.vector.array())
        extra = boosts(self._importance[rows], self._created[rows], now_ms, weights)
        scores = rounded_scores(relevance(cosines, words[rows], text_weight) + extra)
        found = [
            Scored(memory_id=self._ids[row], score=score)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
            if query.min_score is None or score >= query.min_score
        ]
        return sorted(found, key=lambda hit: (-hit.score, hit.memory_id))[: query.top_k]

    def _passing(self, entries: frozenset[str], now_ms: int) -> NDArray[np.bool_]:
        count = len(self._ids)
        passing = self._alive[:count] & (self._expires[:count] > now_ms)
        for entry in entries:
            holding = np.zeros(count, dtype=np.bool_)
            holding[np.array(self._holding.get(entry, ()), dtype=np.int64)] = True
            passing &= holding
        return passing

    def _bounds(
        self, wanted: NDArray[np.float32], passing: NDArray[np.bool_], words: NDArray[np.float64], weight: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Between what the relevance of each row lies, shape (rows,), −∞ for what does not pass."""
        count = len(self._ids)
        low = np.empty(count)
        if relevance_bounds.compiled:
            high = np.empty(count)
            coded = self._codes[:count], self._scales[:count], self._errors[:count]
            relevance_bounds(*coded, passing, *query_code(wanted), words, weight, CANDIDATE_MARGIN, low, high)
        else:
            rows = np.flatnonzero(passing)
            some = 2 * len(rows) < count
            products = self._vectors[rows] @ wanted if some else (self._vectors[:count] @ wanted)[rows]
            low.fill(-np.inf)
            low[rows] = relevance(products.astype(np.float64), words[rows], weight)
            high = low + CANDIDATE_MARGIN
            low -= CANDIDATE_MARGIN
        return low, high

    def _worth_a_look(
        self, low: NDArray[np.float64], high: NDArray[np.float64], wanted: int, now_ms: int, weights: Weights
    ) -> NDArray[np.intp]:
        """Rows that can be among the `wanted` best, from the bounds of their relevance, which are added to.

        What recency takes off takes longest to work out, so first of few: of those by whose lower bounds the place of
        the last one is known, then of those that may reach it.
        """
        important = importance_boosts(self._importance[: len(self._ids)], weights)
        low += important
        high += important
        rows = np.flatnonzero(low >= _highest(low, wanted))
        last = _highest(low[rows] + recency_boosts(self._created[rows], now_ms, weights), wanted)
        rows = np.flatnonzero(high >= last)
        recency = recency_boosts(self._created[rows], now_ms, weights)
        return rows[high[rows] + recency >= _highest(low[rows] + recency, wanted)]

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
    """The `count`-th highest."""
    place = len(values) - count
    return float(np.partition(values, place)[place])
