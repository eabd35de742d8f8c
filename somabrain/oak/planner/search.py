"""Backward search from the goals, and the walk forward along what it found.

Paths are compared by (cost, hops); a walk takes, of the edges that keep to the best, the smallest
(option id, target). So a plan doesn't depend on the order in which anything was inserted (DESIGN §6.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

from somabrain.oak.planner.graph import Ints
from somabrain.oak.planner.merging import UNREACHED, Merged, Prices, Toll

Path = tuple[int, ...]
"""Edges in order, numbered as `Merged` says; the last one leads into the merged goal."""


def settle(merged: Merged, prices: Prices, until: int = -1) -> list[int]:
    """Dijkstra's algorithm backward from the goals: the least key of a path from each prototype, shape (size,).

    A key is cost · span + hops, UNREACHED · span without a path. Where `until` is a prototype, only the
    keys up to its own are final.
    """
    graph, steps = merged.graph, prices.key.edges
    key = [UNREACHED * graph.span] * graph.size
    for goal in merged.goals:
        key[goal] = 0
    heap: list[tuple[int, int]] = []
    for start, through in zip(merged.goal_source, prices.key.goal_edges, strict=True):
        if through < key[start]:
            key[start] = through
            heappush(heap, (through, start))
    incoming, source = graph.incoming, graph.source
    while heap:
        reached, vertex = heappop(heap)
        if reached > key[vertex]:
            continue
        if vertex == until:
            break
        for edge in range(incoming[vertex], incoming[vertex + 1]):
            start = source[edge]
            through = reached + steps[edge]
            if through < key[start]:
                key[start] = through
                heappush(heap, (through, start))
    return key


def layers(merged: Merged, prices: Prices, hops_max: int) -> list[Ints]:
    """The least cost of a path of exactly h edges from each prototype, for h = 0 … `hops_max`: shapes (size,).

    UNREACHED where there is none. O(hops_max · E) (DESIGN §6.5).
    """
    graph, goals = merged.graph, list(merged.goals)
    nowhere = np.full(graph.size, UNREACHED, dtype=np.int64)
    found = [nowhere.copy()]
    found[0][goals] = 0
    bounds = graph.outgoing_at
    starts = np.flatnonzero(bounds[1:] > bounds[:-1])
    weight, target = np.asarray(prices.weight.edges)[graph.outgoing], graph.edge_target[graph.outgoing]
    for hops in range(1, hops_max + 1):
        layer = nowhere.copy()
        if hops == 1:
            np.minimum.at(layer, np.array(merged.goal_source, dtype=np.intp), prices.weight.goal_edges)
        elif starts.size:
            layer[starts] = np.minimum.reduceat(weight + found[-1][target], bounds[starts])
            np.minimum(layer, UNREACHED, out=layer)
            layer[goals] = UNREACHED
        found.append(layer)
    return found


def best_hops(found: Sequence[Ints], start: int) -> int | None:
    """The number of edges of the cheapest path among `layers`, the smallest of equals; `None` without a path."""
    cost, hops = min((int(layer[start]), hops) for hops, layer in enumerate(found))
    return hops if cost < UNREACHED else None


def walk(merged: Merged, start: int, labels: Sequence[Sequence[int] | Ints], toll: Toll) -> Path:
    """The canonical path of `len(labels)` - 1 edges from `start`.

    `labels[h][x]` is the best that h edges from x can do, summed in `toll`.
    """
    graph = merged.graph
    path: list[int] = []
    vertex = start
    for hops in range(len(labels) - 1, 1, -1):
        here, there = labels[hops][vertex], labels[hops - 1]
        edges = graph.outgoing[graph.outgoing_at[vertex] : graph.outgoing_at[vertex + 1]]
        targets = graph.edge_target[edges].tolist()
        edge, vertex = next(
            (edge, target)
            for edge, target in zip(edges.tolist(), targets, strict=True)
            if toll.edges[edge] + there[target] == here
        )
        path.append(edge)
    last = next(
        index
        for index, source in enumerate(merged.goal_source)
        if source == vertex and toll.goal_edges[index] == labels[1][vertex]
    )
    return (*path, graph.weight.size + last)
