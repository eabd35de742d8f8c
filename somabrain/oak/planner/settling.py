"""Dijkstra's algorithm on labels (cost, hops): as a kernel, and on Python's own heap until kernels run compiled."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import IDS, PLACES, kernel

Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]

UNLIMITED = 2**62
"""Above every cost, micro-nats."""

CHILDREN = 4
"""Of each place in the kernel's heap: fewer levels than in a binary one, and those of a place are neighbours."""


def settled(  # noqa: PLR0917 - called as the kernel is
    at: Ints, neighbour: Numbers, weight: Ints, first: Ints, first_weight: Ints, cost: Ints, hops: Ints, until: int
) -> None:
    """Lowers `cost` and `hops`, of shape (size,), in place to those of the best paths.

    The search begins with the edges to `first` at `first_weight`, each one hop, and goes on from vertex v along the
    edges `at[v]` … `at[v + 1]` to `neighbour` at `weight` ≥ 1. Labels compare by (cost, hops) and are the same
    whichever version runs, also where it stops early, at `until` ≥ 0, but then only those below its label and its own.
    """
    if settle_kernel.compiled:
        settle_kernel(at, neighbour, weight, first, first_weight, cost, hops, until)
    else:
        _settle_plain(at, neighbour, weight, first, first_weight, cost, hops, until)


def _settle_plain(  # noqa: PLR0917 - the same
    at: Ints, neighbour: Numbers, weight: Ints, first: Ints, first_weight: Ints, cost: Ints, hops: Ints, until: int
) -> None:
    bounds, neighbours, steps = at.tolist(), neighbour.tolist(), weight.tolist()
    costs, counts = cost.tolist(), hops.tolist()
    heap: list[tuple[int, int, int]] = []
    for x, through in zip(first.tolist(), first_weight.tolist(), strict=True):
        if through < costs[x]:
            costs[x], counts[x] = through, 1
            heappush(heap, (through, 1, x))
    while heap:
        reached, count, v = heappop(heap)
        if reached > costs[v] or count > counts[v]:
            continue
        if v == until:
            break
        count += 1
        for edge in range(bounds[v], bounds[v + 1]):
            x, through = neighbours[edge], reached + steps[edge]
            if through < costs[x] or (through == costs[x] and count < counts[x]):
                costs[x], counts[x] = through, count
                heappush(heap, (through, count, x))
    cost[:], hops[:] = costs, counts


@kernel("int64(int32[::1], int64[::1], int32[::1], int64, int32, int64)")
def lower(heap: Numbers, key: Ints, place: Numbers, size: int, x: int, through: int) -> int:  # noqa: PLR0917 - a kernel
    """The new size of the heap, where `x` has the key `through` from now on, which is below one it has there."""
    i = place[x]
    if i < 0:
        i = size
        size += 1
    while i > 0:
        up = (i - 1) // CHILDREN
        if key[up] <= through:
            break
        above = heap[up]
        heap[i] = above
        key[i] = key[up]
        place[above] = i
        i = up
    heap[i] = x
    key[i] = through
    place[x] = i
    return size


@kernel("void(int32[::1], int64[::1], int32[::1], int64)")
def pop(heap: Numbers, key: Ints, place: Numbers, size: int) -> None:
    """Takes the first of a heap that has `size` vertices besides."""
    x = heap[size]
    through = key[size]
    i = 0
    while CHILDREN * i + 1 < size:
        child = CHILDREN * i + 1
        for other in range(child + 1, min(child + CHILDREN, size)):
            if key[other] < key[child]:
                child = other
        if through <= key[child]:
            break
        below = heap[child]
        heap[i] = below
        key[i] = key[child]
        place[below] = i
        i = child
    heap[i] = x
    key[i] = through
    place[x] = i


@kernel(f"void({PLACES}, {IDS}, {PLACES}, {PLACES}, {PLACES}, int64[::1], int64[::1], int64)")
def settle_kernel(  # noqa: PLR0917 - called by position
    at: Ints, neighbour: Numbers, weight: Ints, first: Ints, first_weight: Ints, cost: Ints, hops: Ints, until: int
) -> None:
    """As `settled` says, on a heap of vertices that knows the place of each and holds its cost beside it.

    Hops have no part in its order: with weights of 1 or more, vertices of one cost can't lower each other's hops.
    Paths dearer than the best that is known for `until` are not followed.
    """
    heap = np.empty(cost.size, np.int32)
    key = np.empty(cost.size, np.int64)
    place = np.full(cost.size, -1, np.int32)
    size = 0
    for edge in range(first.size):
        x, through = first[edge], first_weight[edge]
        if through < cost[x]:
            cost[x] = through
            hops[x] = 1
            size = lower(heap, key, place, size, x, through)
    dearest = cost[until] if until >= 0 else UNLIMITED
    while size > 0 and heap[0] != until:
        v = heap[0]
        reached = key[0]
        count = hops[v] + 1
        size -= 1
        pop(heap, key, place, size)
        for edge in range(at[v], at[v + 1]):
            x = neighbour[edge]
            through = reached + weight[edge]
            if through > cost[x] or (through == cost[x] and count >= hops[x]) or through > dearest:
                continue
            cost[x] = through
            hops[x] = count
            if x == until:
                dearest = through
            size = lower(heap, key, place, size, x, through)


@kernel(
    f"int64[::1]({PLACES}, {IDS}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, int64, int64)"
)
def route_kernel(  # noqa: PLR0917 - called by position
    at: Ints,
    source: Numbers,
    weight: Ints,
    goal_source: Ints,
    goal_weight: Ints,
    goals: Ints,
    outgoing_at: Ints,
    outgoing: Ints,
    target: Ints,
    start: int,
    unreached: int,
) -> Ints:
    """The edges of the canonical path from `start`, none without a path: `settle` until there, then `walk`.

    Edges are those of `Merged`; `goals` are its goals in any order.
    """
    cost = np.full(at.size - 1, unreached, np.int64)
    hops = np.zeros(at.size - 1, np.int64)
    for goal in goals:
        cost[goal] = 0
    settle_kernel(at, source, weight, goal_source, goal_weight, cost, hops, start)
    return walk_kernel(weight, goal_source, goal_weight, outgoing_at, outgoing, target, cost, hops, start)


@kernel(f"int64[::1]({PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, int64)")
def walk_kernel(  # noqa: PLR0917 - called by position
    weight: Ints,
    goal_source: Ints,
    goal_weight: Ints,
    outgoing_at: Ints,
    outgoing: Ints,
    target: Ints,
    cost: Ints,
    hops: Ints,
    start: int,
) -> Ints:
    """The edges of the canonical path from `start` along labels that are settled on it, none without a path."""
    length = hops[start]
    path = np.empty(length, np.int64)
    v = start
    for index in range(length - 1):
        place = outgoing_at[v]
        edge = outgoing[place]
        x = target[edge]
        while weight[edge] + cost[x] != cost[v] or hops[x] != length - index - 1:
            place += 1
            edge = outgoing[place]
            x = target[edge]
        path[index] = edge
        v = x
    if length > 0:
        edge = np.searchsorted(goal_source, v)
        while goal_weight[edge] != cost[v]:
            edge += 1
        path[length - 1] = weight.size + edge
    return path


@kernel(
    f"int64[::1]({PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, int64, int64, int64)"
)
def within_kernel(  # noqa: C901, PLR0912, PLR0917 - one search, for the compiler, called by position
    weight: Ints,
    goal_source: Ints,
    goal_weight: Ints,
    outgoing_at: Ints,
    outgoing: Ints,
    target: Ints,
    cost: Ints,
    hops: Ints,
    start: int,
    hops_max: int,
    unreached: int,
) -> Ints:
    """The edges of the canonical path from `start` of at most `hops_max` edges, none without one.

    Forward, by layers of equally many edges. A vertex is left out of a layer where fewer edges lead there as cheaply,
    or where even the best path from there, of whatever length, costs more than one that is short enough: `cost` and
    `hops` are settled from everywhere. Then backward over what is left, to what lies on a path of that cost and length.
    """
    size = outgoing_at.size - 1
    direct = np.full(size, unreached, np.int64)
    for edge in range(goal_source.size):
        v = goal_source[edge]
        direct[v] = min(direct[v], goal_weight[edge])
    reached = np.full((max(hops_max, 1), size), unreached, np.int64)
    known = np.full(size, unreached, np.int64)
    reached[0, start] = known[start] = 0
    least, dearest = unreached, unreached - 1
    length = 0
    for count in range(hops_max):
        for v in range(size):
            so_far = reached[count, v]
            if so_far + cost[v] > dearest:
                continue
            if so_far + direct[v] < least:
                least = so_far + direct[v]
                dearest = min(dearest, least)
                length = count + 1
            for place in range(outgoing_at[v], outgoing_at[v + 1] if count + 1 < hops_max else 0):
                edge = outgoing[place]
                x = target[edge]
                through = so_far + weight[edge]
                if through < known[x] and through + cost[x] <= dearest and cost[x] > 0:
                    known[x] = reached[count + 1, x] = through
                    if count + 1 + hops[x] <= hops_max:
                        dearest = through + cost[x]
    path = np.empty(length, np.int64)
    for count in range(length - 1, -1, -1):
        for v in range(size):
            so_far = reached[count, v]
            leads = count == length - 1 and so_far + direct[v] == least
            if count < length - 1 and so_far + cost[v] <= least:
                place = outgoing_at[v]
                while not leads and place < outgoing_at[v + 1]:
                    leads = so_far + weight[outgoing[place]] == reached[count + 1, target[outgoing[place]]]
                    place += 1
            if not leads:
                reached[count, v] = -1
    v = start
    for count in range(length - 1):
        place = outgoing_at[v]
        while reached[count, v] + weight[outgoing[place]] != reached[count + 1, target[outgoing[place]]]:
            place += 1
        path[count] = outgoing[place]
        v = target[outgoing[place]]
    if length > 0:
        edge = np.searchsorted(goal_source, v)
        while goal_weight[edge] != direct[v]:
            edge += 1
        path[length - 1] = weight.size + edge
    return path
