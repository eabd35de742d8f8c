"""The loops of `salience`: betweenness, and the choice of bottlenecks by it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import IDS, PLACES, REALS, kernel

Ids = NDArray[np.int32]
Places = NDArray[np.int64]
Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

UNSEEN = -1

PATHS_MAX = 1e150
PATHS_SCALE = 1e-150
"""Numbers of paths are scaled down, depth by depth, before they overflow: only ratios count, those above 1e-150."""


@kernel(f"void({IDS}, {PLACES}, {IDS}, float64[::1])")
def dependencies(sources: Ids, successor_at: Places, successor: Ids, score: Reals) -> None:
    """Adds to `score` each source's dependency on each state (Brandes 2001, algorithm 1, unweighted)."""
    states = score.size
    depth = np.full(states, UNSEEN, dtype=np.int32)
    order = np.zeros(states, dtype=np.int32)
    paths = np.zeros(states, dtype=np.float64)
    share = np.zeros(states, dtype=np.float64)
    scale = np.ones(states + 1, dtype=np.float64)
    for source in sources:
        found = spread(source, successor_at, successor, depth, order, paths, scale)
        for index in range(found - 1, -1, -1):
            state = order[index]
            below = depth[state] + 1
            total = 0.0
            for entry in range(successor_at[state], successor_at[state + 1]):
                if depth[successor[entry]] == below:
                    total += paths[state] * scale[below] * share[successor[entry]]
            if state != source:
                score[state] += total
            share[state] = (1 + total) / paths[state] if paths[state] > 0 else 0.0
        for index in range(found):
            depth[order[index]] = UNSEEN


@kernel(f"int64(int64, {PLACES}, {IDS}, int32[::1], int32[::1], float64[::1], float64[::1])")
def spread(  # noqa: PLR0917 - kernels are called by position
    source: int, successor_at: Places, successor: Ids, depth: Ids, order: Ids, paths: Reals, scale: Reals
) -> int:
    """The number of states within reach of `source`, itself among them: in `order` with `depth` and `paths` to them.

    `depth` is `UNSEEN` everywhere when it is called. `scale` of a depth: by what its states' paths are multiplied.
    """
    depth[source] = 0
    paths[source] = 1.0
    order[0] = source
    begun = 0
    found = 1
    while begun < found:
        last = found
        most = 0.0
        for index in range(begun, last):
            state = order[index]
            for entry in range(successor_at[state], successor_at[state + 1]):
                following = successor[entry]
                if depth[following] == UNSEEN:
                    depth[following] = depth[state] + 1
                    paths[following] = 0.0
                    order[found] = following
                    found += 1
                if depth[following] == depth[state] + 1:
                    paths[following] += paths[state]
                    most = max(most, paths[following])
        below = depth[order[begun]] + 1
        scale[below] = PATHS_SCALE if most > PATHS_MAX else 1.0
        for index in range(last if scale[below] < 1 else found, found):
            fewer = paths[order[index]] * PATHS_SCALE
            paths[order[index]] = fewer if fewer > PATHS_SCALE else 0.0
        begun = last
    return found


@kernel(f"void(int64, {PLACES}, {IDS}, boolean[::1])")
def cover(state: int, neighbour_at: Places, neighbour: Ids, covered: Flags) -> None:
    """Covers the neighbours of a state."""
    for entry in range(neighbour_at[state], neighbour_at[state + 1]):
        covered[neighbour[entry]] = True


@kernel(f"boolean(int64, {REALS}, {PLACES}, {IDS})")
def highest(state: int, score: Reals, neighbour_at: Places, neighbour: Ids) -> bool:
    """Whether no neighbour comes before the state by (score, highest first, then id)."""
    for entry in range(neighbour_at[state], neighbour_at[state + 1]):
        other = neighbour[entry]
        if score[other] > score[state] or (score[other] == score[state] and other < state):
            return False
    return True


@kernel(f"int64({IDS}, {REALS}, {PLACES}, {IDS}, {PLACES}, {IDS}, boolean[::1], int32[::1])")
def peaks(  # noqa: PLR0917 - kernels are called by position
    candidates: Ids,
    score: Reals,
    successor_at: Places,
    successor: Ids,
    incoming_at: Places,
    incoming: Ids,
    covered: Flags,
    chosen: Ids,
) -> int:
    """How many of `candidates`, highest first, it puts in `chosen`: local maxima first, none covered or adjacent."""
    count = 0
    for turn in range(2):
        for state in candidates:
            if covered[state]:
                continue
            if turn == 1 or (
                highest(state, score, successor_at, successor) and highest(state, score, incoming_at, incoming)
            ):
                chosen[count] = state
                count += 1
                covered[state] = True
                cover(state, successor_at, successor, covered)
                cover(state, incoming_at, incoming, covered)
    return count
