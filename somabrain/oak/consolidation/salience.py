"""Which states deserve an option (DESIGN §5.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.consolidation.centrality import cover, dependencies, peaks
from somabrain.oak.model import Mark
from somabrain.oak.subtasks import Dynamics

SOURCES = 64
"""States that betweenness is sampled from (DESIGN §5.5.1)."""

PROPOSED = 1e-4
"""A float32 product this much below the threshold still asks for the exact cosine (DESIGN §5.2)."""

BLOCK = 256
"""Candidates whose products with what was kept are taken at once; any number gives the same answer."""


def targets(dyn: Dynamics, marks: NDArray[np.uint8], *, published: Sequence[int], limit: int) -> list[int]:
    """The first `limit` states worth an option: reward or success, then marked, bottlenecks, novel ones.

    `marks` (S,) are bits of `Mark`. Within each class those `published` come first, then by id, bottlenecks by height.
    A state without predecessor can't be reached and is none. A published bottleneck stays while it is on any of the
    sampled shortest paths. With vectors, take all and give them to `distinct`, which sets the limit.
    """
    reachable = np.diff(dyn.incoming_at) > 0
    held = np.zeros(dyn.states, dtype=np.bool_)
    held[[state for state in published if state < dyn.states]] = True
    free = reachable.copy()
    found: list[NDArray[np.intp] | NDArray[np.int32]] = []

    def take(member: NDArray[np.bool_]) -> None:
        for some in (member & free & held, member & free & ~held):
            found.append(np.flatnonzero(some))
            free[found[-1]] = False

    take((marks & (Mark.REWARD | Mark.SUCCESS)) != 0)
    take((marks & Mark.MARKED) != 0)
    if sum(map(len, found)) < limit:
        score = betweenness(dyn)
        between = score > 0
        known = np.flatnonzero(between & ~free)
        kept = _falling(score, between & free & held)
        free[kept] = False
        new = _bottlenecks(dyn, score, [*known.tolist(), *kept.tolist()], _falling(score, between & free))
        free[new] = False
        found += [kept, new]
        take((marks & Mark.NOVELTY) != 0)
    return [int(state) for some in found for state in some][:limit]


def betweenness(dyn: Dynamics) -> NDArray[np.float64]:
    """(S,) the betweenness of each state from `SOURCES` sources spread evenly over the ids; all where S is less.

    Brandes 2001, "A Faster Algorithm for Betweenness Centrality", on the graph of known transitions, unweighted.
    Terminal states have none: nothing leads on from them.
    """
    score = np.zeros(dyn.states, dtype=np.float64)
    count = min(SOURCES, dyn.states)
    sources = np.array([number * dyn.states // count for number in range(count)], dtype=np.int32)
    dependencies(sources, dyn.successor_at, dyn.successor, score)
    return score


def distinct(
    candidates: Iterable[int],
    *,
    vector: Callable[[int], NDArray[np.float32] | None],
    cosine: Callable[[NDArray[np.float32], NDArray[np.float32]], float],
    threshold: float,
    limit: int,
) -> list[int]:
    """The first `limit` candidates without those whose cosine to one before them is at least `threshold`.

    `vector` gives a state's unit vector, `None` where it is facts, which are like no other. A float32 product
    proposes, `cosine` decides.
    """
    waiting = list(candidates)
    kept: list[int] = []
    held: list[NDArray[np.float32]] = []
    for begun in range(0, len(waiting), BLOCK):
        block = [(state, vector(state)) for state in waiting[begun : begun + BLOCK]]
        vectors = [one for _, one in block if one is not None]
        near = _near(vectors, held + vectors, threshold - PROPOSED)
        places = iter(range(len(vectors)))
        compared = held + vectors
        fresh = np.ones(len(compared), dtype=np.bool_)
        fresh[len(held) :] = False
        for state, one in block:
            if len(kept) == limit:
                return kept
            if one is not None:
                place = next(places)
                close = np.flatnonzero(near[place] & fresh).tolist()
                if any(cosine(one, compared[other]) >= threshold for other in close):
                    continue
                fresh[len(held) + place] = True
            kept.append(state)
        held = [one for one, stays in zip(compared, fresh.tolist(), strict=True) if stays]
    return kept


def _near(
    some: Sequence[NDArray[np.float32]], others: Sequence[NDArray[np.float32]], least: float
) -> NDArray[np.bool_]:
    """(some, others) whether the float32 product is at least `least`."""
    if not some:
        return np.zeros((0, len(others)), dtype=np.bool_)
    near: NDArray[np.bool_] = np.stack(some) @ np.stack(others).T >= least
    return near


def _falling(score: NDArray[np.float64], member: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The members, highest score first, then by id."""
    states = np.flatnonzero(member)
    return states[np.lexsort((states, -score[states]))].astype(np.int32)


def _bottlenecks(
    dyn: Dynamics, score: NDArray[np.float64], known: Sequence[int], candidates: NDArray[np.int32]
) -> NDArray[np.int32]:
    covered = np.zeros(dyn.states, dtype=np.bool_)
    for state in known:
        cover(state, dyn.successor_at, dyn.successor, covered)
        cover(state, dyn.incoming_at, dyn.incoming, covered)
    chosen = np.empty(candidates.size, dtype=np.int32)
    count = peaks(candidates, score, dyn.successor_at, dyn.successor, dyn.incoming_at, dyn.incoming, covered, chosen)
    return chosen[:count]
