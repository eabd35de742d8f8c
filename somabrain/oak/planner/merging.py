"""A graph for one set of goals: all of them one vertex, and only the rows that lead there worked out anew."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from somabrain.oak.planner.costs import weigh
from somabrain.oak.planner.graph import Floats, Graph, Indices, Ints
from somabrain.oak.planner.local import LocalOption

UNREACHED = 2**61
"""The cost of what can't be reached or used, micro-nats; the sum of two fits int64."""


class Prices(NamedTuple):
    """What each of the E edges of the graph and each of the J edges into the merged goal costs: w in micro-nats.

    UNREACHED where an edge may not be used.
    """

    edges: Ints
    goal_edges: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merged:
    """`graph` with `goals` as one vertex. Never changes.

    Edges of the graph have the numbers 0 … E − 1. The edges into the merged goal, one for each row that
    leads there and for each start of the local goal option, have E … E + J − 1, in the order of
    (start, option id); edges to a single goal are not used.
    """

    graph: Graph
    goals: frozenset[int]
    """prototypes below `graph.size`"""
    local: LocalOption | None
    goal_row: Indices
    """(J,) −1 for the local goal option"""
    goal_local: Indices
    """(J,) index into the local goal option's model, −1 for rows"""
    goal_source: Ints
    """(J,) ascending"""
    goal_probability: Floats
    """(J,) P of the goals together, before the elimination of retries"""
    prices: Prices

    def row(self, edge: int) -> int:
        """The row of `edge`, −1 for the local goal option."""
        edges = self.graph.edge_row.size
        return int(self.graph.edge_row[edge] if edge < edges else self.goal_row[edge - edges])

    def option_id(self, edge: int) -> str:
        """The option of `edge`."""
        row = self.row(edge)
        if row < 0 and self.local is not None:
            return self.local.option_id
        option_id: str = self.graph.rows.option_ids[self.graph.rows.option[row]]
        return option_id

    def weight(self, edge: int) -> int:
        """The cost of `edge`, micro-nats."""
        edges = self.graph.weight.size
        return int(self.graph.weight[edge] if edge < edges else self.prices.goal_edges[edge - edges])

    def probability(self, edge: int) -> float:
        """P of `edge`, before the elimination of retries."""
        graph, edges = self.graph, self.graph.edge_row.size
        if edge < edges:
            return float(graph.rows.probability[graph.edge_outcome[edge]])
        return float(self.goal_probability[edge - edges])

    def end(self, edge: int) -> int:
        """Where `edge` leads: if into the merged goal, the row's most probable goal, lowest on ties."""
        edges = self.graph.edge_row.size
        if edge < edges:
            return int(self.graph.edge_target[edge])
        rows, row = self.graph.rows, self.row(edge)
        if row < 0 and self.local is not None:
            return self.local.end(int(self.goal_local[edge - edges]), self.goals)
        span = slice(int(rows.offset[row]), int(rows.offset[row + 1]))
        outcomes = zip(rows.outcome[span].tolist(), rows.probability[span].tolist(), strict=True)
        end: int = max((one for one in outcomes if one[0] in self.goals), key=itemgetter(1))[0]
        return end


class _Entries(NamedTuple):
    """Edges into the merged goal: as in Merged, `order` is that of their options."""

    row: Indices
    local: Indices
    source: Ints
    order: Indices
    probability: Floats
    weight: Ints


def merge(graph: Graph, goals: Sequence[int], local: LocalOption | None = None) -> Merged:
    """`graph` for `goals` below `graph.size`, distinct and ascending (DESIGN §6.1).

    Only rows with an outcome among the goals change: their outcomes there become one, and another
    outcome may so cease to be the most probable and be cut.
    """
    if len(goals) == 1 and local is None:
        return _single(graph, goals[0])
    entries, barred = _entries(graph, goals)
    if local is not None:
        added = _local_entries(graph, local)
        entries = _Entries(*(np.concatenate(both) for both in zip(entries, added, strict=True)))
    ordered = np.lexsort((entries.order, entries.source))
    weight = graph.weight
    if barred.size:
        weight = weight.copy()
        weight[barred] = UNREACHED
    return Merged(
        graph=graph,
        goals=frozenset(goals),
        local=local,
        goal_row=entries.row[ordered],
        goal_local=entries.local[ordered],
        goal_source=entries.source[ordered],
        goal_probability=entries.probability[ordered],
        prices=Prices(weight, entries.weight[ordered]),
    )


def raised(prices: Prices, path: Sequence[int], penalty: int) -> Prices:
    """`prices` with `penalty` micro-nats more on each edge of `path`."""
    weight, goal_weight = prices.edges.copy(), prices.goal_edges.copy()
    for edge in path:
        if edge < weight.size:
            weight[edge] += penalty
        else:
            goal_weight[edge - weight.size] += penalty
    return Prices(weight, goal_weight)


def _single(graph: Graph, goal: int) -> Merged:
    """What `merge` gives for one goal and no local option: nothing is summed, so no outcome is cut that was an edge."""
    edges = slice(int(graph.incoming[goal]), int(graph.incoming[goal + 1]))
    row = graph.edge_row[edges]
    return Merged(
        graph=graph,
        goals=frozenset((goal,)),
        local=None,
        goal_row=row,
        goal_local=np.full(row.size, -1),
        goal_source=graph.source[edges].astype(np.int64),
        goal_probability=graph.rows.probability[graph.edge_outcome[edges]],
        prices=Prices(graph.weight, graph.weight[edges]),
    )


def _entries(graph: Graph, goals: Sequence[int]) -> tuple[_Entries, Indices]:
    """The rows' edges into the merged goal, and the graph's edges that may not be used any more."""
    rows, leaving, least = graph.rows, graph.leaving, graph.parameters.min_probability
    is_goal = np.zeros(graph.size + 1, dtype=np.bool_)
    is_goal[list(goals)] = True
    spans = [graph.arriving[graph.arriving_at[goal] : graph.arriving_at[goal + 1]] for goal in goals]
    hit = np.sort(np.concatenate([np.zeros(0, dtype=np.intp), *spans]))
    row_of = graph.row_of[hit]
    hit = hit[leaving.live[row_of] & ~is_goal[rows.start[row_of]]]
    row_of = graph.row_of[hit]
    new = np.diff(row_of, prepend=-1) != 0
    row, place = row_of[new], np.cumsum(new) - 1
    probability = np.bincount(place, rows.probability[hit], minlength=row.size).astype(np.float64)
    reach = np.bincount(place, rows.reach[hit], minlength=row.size)

    other = _outcomes(graph, row)
    other = other[graph.elsewhere[other] & ~is_goal[rows.outcome[other]]]
    place = np.searchsorted(row, graph.row_of[other])
    best = np.zeros(row.size)
    np.maximum.at(best, place, rows.probability[other])
    beaten = (rows.probability[other] < least) & (rows.probability[other] < probability[place])
    barred = graph.edge_of[other[beaten]]

    kept = np.flatnonzero((probability > 0) & (reach > 0) & ((probability >= least) | (probability >= best)))
    row = row[kept]
    entries = _Entries(
        row=row,
        local=np.full(row.size, -1),
        source=rows.start[row].astype(np.int64),
        order=2 * rows.option[row].astype(np.intp) + 1,
        probability=probability[kept],
        weight=weigh(reach[kept] / leaving.escape_reach[row] * leaving.trust[row]),
    )
    return entries, barred[barred >= 0]


def _outcomes(graph: Graph, row: Indices) -> Indices:
    """All outcomes of the rows `row`, in their order."""
    first = graph.rows.offset[row]
    lengths = graph.rows.offset[row + 1] - first
    before = np.cumsum(lengths) - lengths
    return np.repeat(first - before, lengths) + np.arange(lengths.sum())


def _local_entries(graph: Graph, local: LocalOption) -> _Entries:
    model = local.model
    index = np.flatnonzero((model.start < graph.size) & (model.probability > 0) & (model.reach > 0))
    place = 2 * bisect_left(graph.rows.option_ids, local.option_id)
    return _Entries(
        row=np.full(index.size, -1),
        local=index,
        source=model.start[index].astype(np.int64),
        order=np.full(index.size, place),
        probability=model.probability[index],
        weight=weigh(model.reach[index]),
    )
