"""A graph for one set of goals: all of them one vertex, and only the rows that lead there worked out anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from somabrain.oak.planner.costs import weigh
from somabrain.oak.planner.graph import Floats, Graph, Indices, Ints, edge_keys

UNREACHED = 2**61
"""The cost of what can't be reached or used, micro-nats; the sum of two fits int64."""


class Toll(NamedTuple):
    """A number for each of the E edges of the graph and each of the J edges into the merged goal."""

    edges: Sequence[int] | Ints
    goal_edges: Sequence[int] | Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """What edges cost, UNREACHED where they may not be used."""

    weight: Toll
    """w in micro-nats, int64"""
    key: Toll
    """w · span + 1, Python integers"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merged:
    """`graph` with `goals` as one vertex. Never changes.

    Edges of the graph have the numbers 0 … E − 1. The edges into the merged goal, one for each row that
    leads there, have E … E + J − 1, in the order of (option id, start); edges to a single goal are not used.
    """

    graph: Graph
    goals: tuple[int, ...]
    """prototypes below `graph.size`, ascending"""
    goal_row: Indices
    """(J,)"""
    goal_source: tuple[int, ...]
    """(J,)"""
    goal_probability: Floats
    """(J,) P of the goals together, before the elimination of retries"""
    prices: Prices

    def row(self, edge: int) -> int:
        """The row of `edge`."""
        edges = self.graph.edge_row.size
        return int(self.graph.edge_row[edge] if edge < edges else self.goal_row[edge - edges])

    def weight(self, edge: int) -> int:
        """The cost of `edge`, micro-nats."""
        edges = self.graph.weight.size
        return int(self.graph.weight[edge] if edge < edges else self.prices.weight.goal_edges[edge - edges])

    def probability(self, edge: int) -> float:
        """P of `edge`, before the elimination of retries."""
        graph, edges = self.graph, self.graph.edge_row.size
        if edge < edges:
            return float(graph.rows.probability[graph.edge_outcome[edge]])
        return float(self.goal_probability[edge - edges])

    def end(self, edge: int) -> int:
        """Where `edge` leads: if into the merged goal, the row's most probable goal, lowest on ties."""
        if edge < self.graph.edge_row.size:
            return int(self.graph.edge_target[edge])
        rows, row = self.graph.rows, self.row(edge)
        span = slice(int(rows.offset[row]), int(rows.offset[row + 1]))
        outcome = rows.outcome[span]
        chance = np.where(np.isin(outcome, self.goals), rows.probability[span], -1)
        return int(outcome[np.argmax(chance)])


def merge(graph: Graph, goals: Sequence[int]) -> Merged:
    """`graph` for `goals` below `graph.size`, distinct and ascending (DESIGN §6.1).

    Only rows with an outcome among the goals change: their outcomes there become one, and another
    outcome may so cease to be the most probable and be cut.
    """
    rows, leaving, least = graph.rows, graph.leaving, graph.parameters.min_probability
    is_goal = np.zeros(graph.size + 1, dtype=np.bool_)
    is_goal[list(goals)] = True
    hits = is_goal[rows.outcome]
    touched = np.zeros(rows.start.size, dtype=np.bool_)
    touched[graph.row_of[hits]] = True
    touched &= leaving.live & ~is_goal[rows.start]
    row = np.flatnonzero(touched)
    rank = np.zeros(rows.start.size, dtype=np.intp)
    rank[row] = np.arange(row.size)

    hit = np.flatnonzero(hits & touched[graph.row_of])
    place = rank[graph.row_of[hit]]
    probability = np.zeros(row.size)
    np.add.at(probability, place, rows.probability[hit])
    reach = np.zeros(row.size)
    np.add.at(reach, place, rows.reach[hit])

    other = np.flatnonzero(touched[graph.row_of] & ~hits & graph.elsewhere)
    place = rank[graph.row_of[other]]
    best = np.zeros(row.size)
    np.maximum.at(best, place, rows.probability[other])
    beaten = (rows.probability[other] < least) & (rows.probability[other] < probability[place])
    barred = graph.edge_of[other[beaten]]

    kept = np.flatnonzero((probability > 0) & (reach > 0) & ((probability >= least) | (probability >= best)))
    row = row[kept]
    return Merged(
        graph=graph,
        goals=tuple(goals),
        goal_row=row,
        goal_source=tuple(rows.start[row].tolist()),
        goal_probability=probability[kept],
        prices=_prices(
            graph,
            barred[barred >= 0],
            weigh(reach[kept] / leaving.escape_reach[row] * leaving.trust[row]),
        ),
    )


def raised(merged: Merged, prices: Prices, path: Sequence[int], penalty: int) -> Prices:
    """`prices` with `penalty` micro-nats more on each edge of `path`."""
    weight, goal_weight = np.array(prices.weight.edges), np.array(prices.weight.goal_edges)
    edges = weight.size
    for edge in path:
        if edge < edges:
            weight[edge] += penalty
        else:
            goal_weight[edge - edges] += penalty
    span = merged.graph.span
    return Prices(
        weight=Toll(weight, goal_weight),
        key=Toll(edge_keys(weight, span), edge_keys(goal_weight, span)),
    )


def _prices(graph: Graph, barred: Indices, goal_weight: Ints) -> Prices:
    """The graph's own prices, its arrays shared unless edges are `barred`."""
    weight, key = graph.weight, graph.edge_key
    if barred.size:
        weight = weight.copy()
        weight[barred] = UNREACHED
        key = edge_keys(weight, graph.span)
    return Prices(weight=Toll(weight, goal_weight), key=Toll(key, edge_keys(goal_weight, graph.span)))
