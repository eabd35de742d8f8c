"""Okapi BM25 over rows that are appended and removed: how far a text has the words of a query.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", §3.5. With N living rows, df of
them holding the term, tf occurrences in a row of dl terms, and avgdl terms in the mean living row:

    idf = ln(1 + (N - df + 0.5) / (df + 0.5))
    score(row) = Σ idf · (K1 + 1) · tf / (tf + K1 · (1 - B + B · dl / avgdl))

over the query's distinct terms. The sum is divided by its supremum, Σ idf · (K1 + 1) over the same terms whether they
occur anywhere or not, so a score lies in [0, 1) and says how much of what the query asks for the row has (ADR 7).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from somabrain.memory.terms import terms
from somabrain.oak.kernels import REALS, kernel

K1 = 1.2
"""How fast repetition of a term saturates (Robertson and Zaragoza 2009, §3.5: 1.2 to 2)."""

B = 0.75
"""How much a row's length counts (Robertson and Zaragoza 2009, §3.5: 0.5 to 0.8)."""

_PAIR = 2
"""Numbers that a posting takes: the row, and the term's occurrences in it."""

_POSTINGS = "Array(uint32, 2, 'C', readonly=True)"


class LexicalIndex:
    """An inverted index over rows 0, 1, 2…. Not thread-safe: no two methods may run at once.

    What a row scores depends on the living rows alone: an index with removals gives the very bits that one built of
    the living rows gives.
    """

    def __init__(self) -> None:
        self._postings: dict[str, array[int]] = {}
        self._lengths = array("I")
        self._alive = bytearray()
        self._living = 0
        self._total = 0
        self._damping: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """The rows, removed ones included."""
        return len(self._lengths)

    def append(self, texts: Sequence[str]) -> None:
        """Adds a row for each text, after those there are."""
        self._damping = None
        for text in texts:
            found = terms(text)
            row = len(self._lengths)
            for term, count in Counter(found).items():
                posting = self._postings.get(term)
                if posting is None:
                    self._postings[term] = array("I", (row, count))
                else:
                    posting.append(row)
                    posting.append(count)
            self._lengths.append(len(found))
            self._alive.append(1)
            self._living += 1
            self._total += len(found)

    def remove(self, row: int) -> None:
        """Takes the row out of scores and statistics; its number stays taken. Again: nothing."""
        if self._alive[row]:
            self._damping = None
            self._alive[row] = 0
            self._living -= 1
            self._total -= self._lengths[row]

    def scores(self, query: str) -> NDArray[np.float64]:
        """What each row scores, shape (rows,), in [0, 1); 0 for removed rows."""
        scores = np.zeros(len(self._lengths))
        if self._total == 0:
            return scores
        alive = np.frombuffer(self._alive, dtype=np.bool_)
        damping = self._dampings()
        supremum = 0.0
        for term in dict.fromkeys(terms(query)):
            pairs = np.frombuffer(self._postings.get(term, b""), dtype=np.uint32).reshape(-1, _PAIR)
            holders = self._holders(pairs, alive)
            weight = (K1 + 1) * math.log(1 + (self._living - holders + 0.5) / (holders + 0.5))
            supremum += weight
            if add_shares.compiled:
                add_shares(pairs, damping, weight, scores)
            else:
                rows, counts = pairs[:, 0].astype(np.intp), pairs[:, 1]
                scores[rows] += weight * (counts / (damping[rows] + counts))
        if self._living < len(alive):
            scores[~alive] = 0.0
        if supremum:
            scores /= supremum
        return scores

    def _dampings(self) -> NDArray[np.float64]:
        """What BM25 adds to a term's count in each row for the row's length; kept until a row comes or goes."""
        if self._damping is None:
            lengths = np.frombuffer(self._lengths, dtype=np.uint32).astype(np.float64)
            self._damping = lengths * (K1 * B * self._living / self._total) + K1 * (1 - B)
        return self._damping

    def _holders(self, pairs: NDArray[np.uint32], alive: NDArray[np.bool_]) -> int:
        """How many living rows these postings are of."""
        if self._living == len(alive):
            return len(pairs)
        return count_living(pairs, alive) if count_living.compiled else int(np.count_nonzero(alive[pairs[:, 0]]))

    def compact(self, keep: NDArray[np.bool_]) -> None:
        """Drops the rows where `keep`, shape (rows,), is false, and renumbers the others from 0 in their order.

        A kept row that was removed stays removed. Takes time in proportion to the whole index.
        """
        self._damping = None
        places = np.cumsum(keep, dtype=np.uint32) - np.uint32(1)
        postings: dict[str, array[int]] = {}
        for term, posting in self._postings.items():
            pairs = np.frombuffer(posting, dtype=np.uint32).reshape(-1, _PAIR)
            kept = pairs[keep[pairs[:, 0]]]
            if len(kept):
                kept[:, 0] = places[kept[:, 0]]
                postings[term] = array("I", kept.tobytes())
        self._postings = postings
        alive = np.frombuffer(self._alive, dtype=np.bool_) & keep
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)
        self._living = int(alive.sum())
        self._total = int(lengths[alive].sum(dtype=np.uint64))
        self._alive = bytearray(alive[keep].tobytes())
        self._lengths = array("I", lengths[keep].tobytes())


@kernel(f"int64({_POSTINGS}, Array(bool, 1, 'C'))")
def count_living(pairs: NDArray[np.uint32], alive: NDArray[np.bool_]) -> int:
    """How many of the postings, shape (postings, 2), are of rows that are alive, shape (rows,)."""
    found = 0
    for place in range(len(pairs)):
        if alive[pairs[place, 0]]:
            found += 1
    return found


@kernel(f"void({_POSTINGS}, {REALS}, float64, float64[::1])")
def add_shares(
    pairs: NDArray[np.uint32], damping: NDArray[np.float64], weight: float, scores: NDArray[np.float64]
) -> None:
    """Adds a term's share to the rows that hold it; `pairs`: its postings, shape (postings, 2), no row twice."""
    for place in range(len(pairs)):
        row, count = pairs[place, 0], pairs[place, 1]
        scores[row] += weight * (count / (damping[row] + count))
