"""Prototypes: which abstract state a state belongs to, and which ones meet a target (DESIGN §5.2).

A `StateIndex` only ever grows, so a reader that knows how many prototypes its snapshot holds (`limit`)
may use it while it grows: prototypes numbered `limit` and above do not exist for that reader.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.learning.states import cosine, pairs_kernel
from somabrain.oak.model import Facts, Prototype, State, Vector

CANDIDATE_MARGIN = 1e-4
"""A float32 product proposes, float64 decides: products this close to a bound are scored again (DESIGN §5.2)."""

_FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A prototype and its similarity to what was asked."""

    number: int
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Prototypes that meet a target, ascending; `best` is the best similarity seen, `None` if none compares."""

    numbers: tuple[int, ...]
    best: float | None


class _VectorColumn:
    """Unit vectors with their prototype numbers, in one growing float32 matrix."""

    def __init__(self, dimension: int) -> None:
        self._matrix = np.empty((_FIRST_CAPACITY, dimension), dtype=np.float32)
        self._numbers = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._rows: dict[int, int] = {}
        self._texts: dict[int, str] = {}

    def append(self, number: int, vector: Vector) -> None:
        row = len(self._rows)
        if row == len(self._numbers):
            self._matrix = np.concatenate([self._matrix, np.empty_like(self._matrix)])
            self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)])
        self._matrix[row] = vector.array()
        self._numbers[row] = number
        if vector.text is not None:
            self._texts[number] = vector.text
        self._rows[number] = row

    def vector(self, number: int) -> Vector | None:
        row = self._rows.get(number)
        if row is None:
            return None
        return Vector(data=self._matrix[row].astype("<f4").tobytes(), text=self._texts.get(number))

    def products(self, query: NDArray[np.float32], limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers below `limit`, ascending, and their float32 products with `query`."""
        matrix, numbers = self._matrix, self._numbers
        filled = min(len(self._rows), len(numbers))
        all_below = not filled or numbers[filled - 1] < limit
        count = filled if all_below else int(np.searchsorted(numbers[:filled], limit))
        return numbers[:count], matrix[:count] @ query

    def exact(self, number: int, query: NDArray[np.float32]) -> float:
        return cosine(self._matrix[self._rows[number]], query)


class StateIndex:
    """The prototypes of a namespace. Appending and reading from several threads is safe with one appender."""

    def __init__(self, dimension: int) -> None:
        """`dimension`: MEMORY_DIM."""
        self._size = 0
        self._facts: dict[int, Facts] = {}
        self._numbers: dict[str, int] = {}
        self._postings: dict[str, list[int]] = {}
        self._norms = np.zeros(_FIRST_CAPACITY)
        self._vectors = _VectorColumn(dimension)

    def __len__(self) -> int:
        """How many prototypes there are."""
        return self._size

    def append(self, prototypes: Iterable[Prototype]) -> None:
        """Adds the next prototypes; their numbers continue the count."""
        for prototype in prototypes:
            if prototype.number != self._size:
                message = f"prototype {prototype.number} does not follow {self._size - 1}"
                raise ValueError(message)
            if isinstance(prototype.state, Facts):
                self._facts[prototype.number] = prototype.state
                self._numbers[prototype.state.canonical] = prototype.number
                for entry in prototype.state.entries:
                    self._postings.setdefault(entry, []).append(prototype.number)
            else:
                self._vectors.append(prototype.number, prototype.state)
            self._measure(prototype)
            self._size += 1

    def _measure(self, prototype: Prototype) -> None:
        """Keeps the length of a state's features, 0 of a vector, for `familiarity`."""
        if prototype.number == len(self._norms):
            self._norms = np.concatenate([self._norms, np.zeros_like(self._norms)])
        if isinstance(prototype.state, Facts):
            self._norms[prototype.number] = np.sqrt(pairs_kernel(np.array(len(prototype.state.entries))))

    def state(self, number: int) -> State:
        """What prototype `number` stands for. Raises `KeyError`."""
        known = self._facts.get(number) or self._vectors.vector(number)
        if known is None:
            raise KeyError(number)
        return known

    def closest(self, state: State, limit: int) -> Match | None:
        """The prototype of largest similarity, lowest number on ties; facts match only when equal."""
        if isinstance(state, Facts):
            number = self._numbers.get(state.canonical)
            return None if number is None or number >= limit else Match(number=number, similarity=1.0)
        query = state.array()
        numbers, products = self._vectors.products(query, limit)
        if not len(numbers):
            return None
        near = numbers[products >= products.max() - CANDIDATE_MARGIN]
        scored = [Match(number=int(number), similarity=self._vectors.exact(int(number), query)) for number in near]
        return min(scored, key=lambda match: (-match.similarity, match.number))

    def assigned(self, state: State, threshold: float, limit: int) -> Match | None:
        """The prototype that `state` belongs to, if there is one: DESIGN §5.2."""
        match = self.closest(state, limit)
        return match if match is not None and match.similarity >= threshold else None

    def meeting(self, target: State, threshold: float, limit: int) -> Goals:
        """The prototypes whose similarity to `target` is at least `threshold`."""
        if isinstance(target, Facts):
            first = next(iter(self._facts), None)
            if first is None or first >= limit:
                return Goals(numbers=(), best=None)
            shared = self._shared(target, limit)
            total = len(target.entries)
            numbers = np.flatnonzero(shared / total >= threshold) if threshold > 0 else self._facts_below(limit)
            return Goals(numbers=tuple(numbers.tolist()), best=float(shared.max(initial=0)) / total)
        query = target.array()
        found, products = self._vectors.products(query, limit)
        if not len(found):
            return Goals(numbers=(), best=None)
        sure = found[products >= threshold + CANDIDATE_MARGIN].tolist()
        unsure = found[np.abs(products - threshold) < CANDIDATE_MARGIN].tolist()
        numbers_met = sorted(sure + [number for number in unsure if self._vectors.exact(number, query) >= threshold])
        closest = self.closest(target, limit)
        return Goals(numbers=tuple(numbers_met), best=None if closest is None else closest.similarity)

    def nearest(self, state: State, count: int, limit: int) -> tuple[Match, ...]:
        """The `count` known states most like `state`: by shared facts, or by cosine; lowest number on ties."""
        if isinstance(state, Facts):
            shared = self._shared(state, limit)
            known = self._facts_below(limit)
            order = known[np.lexsort((known, -shared[known]))][:count] if len(known) else known
            total = len(state.entries)
            return tuple(Match(number=int(n), similarity=float(shared[n]) / total) for n in order)
        query = state.array()
        numbers, products = self._vectors.products(query, limit)
        if not len(numbers):
            return ()
        worst = np.sort(products)[::-1][min(count, len(products)) - 1]
        near = numbers[products >= worst - CANDIDATE_MARGIN].tolist()
        scored = [Match(number=number, similarity=self._vectors.exact(number, query)) for number in near]
        return tuple(sorted(scored, key=lambda match: (-match.similarity, match.number))[:count])

    def familiarity(self, state: State, limit: int) -> float:
        """The greatest cosine with a known state; 0 where none compares.

        Of facts it is that of the exact features which `facts_vector` hashes: entries and pairs of entries.
        """
        if isinstance(state, Vector):
            closest = self.closest(state, limit)
            return 0.0 if closest is None else closest.similarity
        shared = self._shared(state, limit)
        if not shared.any():
            return 0.0
        norms = self._norms[:limit]
        likeness = np.divide(pairs_kernel(shared), norms, out=np.zeros(limit), where=norms > 0)
        return float(likeness.max() / np.sqrt(pairs_kernel(np.array(len(state.entries)))))

    def _facts_below(self, limit: int) -> NDArray[np.int64]:
        numbers = np.fromiter(list(self._facts), dtype=np.int64)
        return numbers[numbers < limit]

    def _shared(self, target: Facts, limit: int) -> NDArray[np.int64]:
        """For each prototype below `limit`, how many of the target's entries hold in it."""
        shared = np.zeros(limit, dtype=np.int64)
        for entry in target.entries:
            numbers = np.array(self._postings.get(entry, ()), dtype=np.int64)
            shared[numbers[numbers < limit]] += 1
        return shared


class Draft:
    """The prototypes of one transaction: those of `index` below `limit`, and the ones added meanwhile."""

    def __init__(self, index: StateIndex, limit: int, dimension: int, threshold: float) -> None:
        """`threshold`: OAK_STATE_SIMILARITY of the namespace."""
        self._index = index
        self._limit = limit
        self._added = StateIndex(dimension)
        self._threshold = threshold
        self.new: list[Prototype] = []

    def __len__(self) -> int:
        """How many prototypes there are, new ones included."""
        return self._limit + len(self.new)

    def find(self, state: State) -> int | None:
        """The number of the prototype that `state` belongs to, `None` if there is none."""
        known = self._index.closest(state, self._limit)
        added = self._added.closest(state, len(self._added))
        best = known
        if added is not None and (known is None or added.similarity > known.similarity):
            best = Match(number=self._limit + added.number, similarity=added.similarity)
        return best.number if best is not None and best.similarity >= self._threshold else None

    def familiarity(self, state: State) -> float:
        """The greatest cosine with a state known by now; 0 where none compares."""
        return max(self._index.familiarity(state, self._limit), self._added.familiarity(state, len(self._added)))

    def add(self, state: State) -> int:
        """Makes a new prototype of `state` and returns its number."""
        number = len(self)
        self._added.append([Prototype(number=len(self._added), state=state)])
        self.new.append(Prototype(number=number, state=state))
        return number
