"""Dijkstra's algorithm on labels (cost, hops): as a kernel, and on Python's own heap until kernels run compiled."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import PLACES, kernel

Ints = NDArray[np.int64]


def settled(  # noqa: PLR0917 - called as the kernel is
    at: Ints, neighbour: Ints, weight: Ints, first: Ints, first_weight: Ints, cost: Ints, hops: Ints, until: int
) -> None:
    """Lowers `cost` and `hops`, of shape (size,), in place to those of the best paths.

    The search begins with the edges to `first` at `first_weight`, each one hop, and goes on from vertex v along the
    edges `at[v]` … `at[v + 1]` to `neighbour` at `weight` ≥ 1. Labels compare by (cost, hops) and are the same
    whichever version runs, also where it stops early, at `until` ≥ 0, but then only those not above its label.
    """
    if settle_kernel.compiled:
        settle_kernel(at, neighbour, weight, first, first_weight, cost, hops, until)
    else:
        _settle_plain(at, neighbour, weight, first, first_weight, cost, hops, until)


def _settle_plain(  # noqa: PLR0917 - the same
    at: Ints, neighbour: Ints, weight: Ints, first: Ints, first_weight: Ints, cost: Ints, hops: Ints, until: int
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


@kernel(f"void({PLACES}, {PLACES}, {PLACES}, {PLACES}, {PLACES}, int64[::1], int64[::1], int64)")
def settle_kernel(  # noqa: C901, PLR0915, PLR0917 - one loop, for the compiler, called by position
    at: Ints, neighbour: Ints, weight: Ints, first: Ints, first_weight: Ints, cost: Ints, hops: Ints, until: int
) -> None:
    """As `settled` says, on a binary heap of vertices that knows the place of each."""
    heap = np.empty(cost.size, np.int64)
    place = np.full(cost.size, -1, np.int64)
    size = 0
    seeds = first.size
    v, reached, count = -1, 0, 1
    begin, end = 0, seeds
    while True:
        for edge in range(begin, end):
            x = first[edge] if v < 0 else neighbour[edge]
            through = reached + (first_weight[edge] if v < 0 else weight[edge])
            if through > cost[x] or (through == cost[x] and count >= hops[x]):
                continue
            cost[x] = through
            hops[x] = count
            i = place[x]
            if i < 0:
                i = size
                size += 1
            while i > 0:
                above = heap[(i - 1) >> 1]
                if cost[above] < through or (cost[above] == through and hops[above] <= count):
                    break
                heap[i] = above
                place[above] = i
                i = (i - 1) >> 1
            heap[i] = x
            place[x] = i
        if size == 0 or heap[0] == until:
            break
        v = heap[0]
        size -= 1
        x = heap[size]
        i = 0
        while 2 * i + 1 < size:
            child = 2 * i + 1
            below = heap[child]
            if child + 1 < size:
                other = heap[child + 1]
                if cost[other] < cost[below] or (cost[other] == cost[below] and hops[other] < hops[below]):
                    child += 1
                    below = other
            if cost[x] < cost[below] or (cost[x] == cost[below] and hops[x] <= hops[below]):
                break
            heap[i] = below
            place[below] = i
            i = child
        heap[i] = x
        place[x] = i
        reached = cost[v]
        count = hops[v] + 1
        begin, end = at[v], at[v + 1]
