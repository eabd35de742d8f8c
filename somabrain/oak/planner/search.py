"""Backward search from the goals, and the walk forward along what it found.

Paths are compared by (cost, hops); a walk takes, of the edges that keep to the best, the smallest
(option id, target). So a plan doesn't depend on the order in which anything was inserted (DESIGN §6.4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from somabrain.oak.planner.graph import Graph, Ints
from somabrain.oak.planner.merging import UNREACHED, Merged, Prices
from somabrain.oak.planner.settling import route_kernel, settled, walk_kernel, within_kernel

Path = tuple[int, ...]
"""Edges in order, numbered as `Merged` says; the last one leads into the merged goal."""


class Labels(NamedTuple):
    """The cheapest path from (or to) each prototype, of fewest hops among equals; both of shape (size,)."""

    cost: Ints
    """micro-nats, UNREACHED without a path"""
    hops: Ints
    """0 without a path"""


def settle(merged: Merged, prices: Prices, until: int = -1) -> Labels:
    """Dijkstra's algorithm backward from the goals: the best path from each prototype.

    Where `until` is a prototype, only the labels below its own, and its own, are final.
    """
    graph = merged.graph
    labels = _nothing(graph.size)
    labels.cost[list(merged.goals)] = 0
    settled(graph.incoming, graph.source, prices.edges, merged.goal_source, prices.goal_edges, *labels, until)
    return labels


def settle_forward(graph: Graph, start: int) -> Labels:
    """The best path from `start` (below `graph.size`) to each prototype, no goal set apart."""
    labels = _nothing(graph.size)
    labels.cost[start] = 0
    edges = graph.outgoing[graph.outgoing_at[start] : graph.outgoing_at[start + 1]]
    settled(
        graph.outgoing_at.astype(np.int64),
        graph.edge_target[graph.outgoing].astype(np.int32),
        graph.weight[graph.outgoing],
        graph.edge_target[edges].astype(np.int64),
        graph.weight[edges],
        *labels,
        -1,
    )
    return labels


def walk(merged: Merged, prices: Prices, labels: Labels, start: int) -> Path:
    """The canonical path from `start`, which must reach the goal."""
    if walk_kernel.compiled:
        graph = merged.graph
        edges = walk_kernel(
            prices.edges,
            merged.goal_source,
            prices.goal_edges,
            graph.outgoing_at,
            graph.outgoing,
            graph.edge_target,
            *labels,
            start,
        )
        return tuple(edges.tolist())
    path: list[int] = []
    vertex = start
    for hops in range(int(labels.hops[start]), 0, -1):
        edge, vertex = step(merged, prices, labels, vertex, hops)
        path.append(edge)
    return tuple(path)


def shortest(merged: Merged, prices: Prices, start: int) -> Path:
    """The canonical path from `start` alone, which may not be a goal; empty where none leads to one.

    The path that `settle` and `walk` find, in one call, since the search of a small graph is over in microseconds.
    """
    if not route_kernel.compiled:
        return walk(merged, prices, settle(merged, prices, until=start), start)
    graph = merged.graph
    path = route_kernel(
        graph.incoming,
        graph.source,
        prices.edges,
        merged.goal_source,
        prices.goal_edges,
        np.array([*merged.goals], dtype=np.int64),
        graph.outgoing_at,
        graph.outgoing,
        graph.edge_target,
        start,
        UNREACHED,
    )
    return tuple(path.tolist())


def shortest_within(merged: Merged, prices: Prices, start: int, hops_max: int, labels: Labels | None = None) -> Path:
    """The canonical path from `start`, which may not be a goal, of at most `hops_max` edges; empty without one.

    The cheapest of these, of fewest hops among equals. `labels`: as `settle` gives them for all prototypes, where they
    are known. O(hops_max · E) at the most (DESIGN §6.5), and far less where the limit makes paths little dearer.
    """
    if not within_kernel.compiled:
        return _within_plain(merged, prices, start, hops_max)
    graph = merged.graph
    labels = labels or settle(merged, prices)
    path = within_kernel(
        prices.edges,
        merged.goal_source,
        prices.goal_edges,
        graph.outgoing_at,
        graph.outgoing,
        graph.edge_target,
        *labels,
        start,
        hops_max,
        UNREACHED,
    )
    return tuple(path.tolist())


def step(merged: Merged, prices: Prices, labels: Labels, vertex: int, hops: int) -> tuple[int, int]:
    """The first edge of the canonical path from `vertex`, `hops` edges from the goal, and where it leads; −1: goal."""
    if hops == 1:
        return _last(merged, prices, vertex, int(labels.cost[vertex])), -1
    edges = _leaving(merged.graph, vertex)
    targets = merged.graph.edge_target[edges]
    best = (prices.edges[edges] + labels.cost[targets] == labels.cost[vertex]) & (labels.hops[targets] == hops - 1)
    first = np.argmax(best)
    return int(edges[first]), int(targets[first])


def _within_plain(merged: Merged, prices: Prices, start: int, hops_max: int) -> Path:
    found = _layers(merged, prices, hops_max)
    least, hops = min((cost, hops) for hops, cost in enumerate(found[:, start].tolist()))
    if least >= UNREACHED:
        return ()
    path: list[int] = []
    vertex = start
    for left in range(hops, 1, -1):
        edges = _leaving(merged.graph, vertex)
        targets = merged.graph.edge_target[edges]
        first = np.argmax(prices.edges[edges] + found[left - 1][targets] == found[left][vertex])
        path.append(int(edges[first]))
        vertex = int(targets[first])
    return (*path, _last(merged, prices, vertex, int(found[1][vertex])))


def _layers(merged: Merged, prices: Prices, hops_max: int) -> Ints:
    """The least cost of a path of exactly h edges from each prototype: shape (`hops_max` + 1, size)."""
    graph, goals = merged.graph, [*merged.goals]
    bounds = graph.outgoing_at
    found = np.full((hops_max + 1, graph.size), UNREACHED, dtype=np.int64)
    found[0, goals] = 0
    if hops_max:
        np.minimum.at(found[1], merged.goal_source, prices.goal_edges)
    starts = np.flatnonzero(bounds[1:] > bounds[:-1])
    weight, target = prices.edges[graph.outgoing], graph.edge_target[graph.outgoing]
    for hops in range(2, hops_max + 1 if starts.size else 0):
        found[hops, starts] = np.minimum.reduceat(weight + found[hops - 1, target], bounds[starts])
        found[hops, goals] = UNREACHED
    return np.minimum(found, UNREACHED, out=found)


def _leaving(graph: Graph, vertex: int) -> Ints:
    return graph.outgoing[graph.outgoing_at[vertex] : graph.outgoing_at[vertex + 1]]


def _last(merged: Merged, prices: Prices, vertex: int, cost: int) -> int:
    """The edge of `cost` from `vertex` into the merged goal, of the smallest option id."""
    first, last = np.searchsorted(merged.goal_source, (vertex, vertex + 1))
    return merged.graph.weight.size + int(first + np.argmax(prices.goal_edges[first:last] == cost))


def _nothing(size: int) -> Labels:
    return Labels(np.full(size, UNREACHED, dtype=np.int64), np.zeros(size, dtype=np.int64))
