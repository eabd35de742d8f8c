"""The compiled graph: everything about a namespace's rows that does not depend on goals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import PlanParameters, RowTable
from somabrain.oak.planner.costs import Leaving, leave, weigh
from somabrain.oak.planner.policy import PolicyRows, compile_policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Indices = NDArray[np.intp]

NARROW = 2**16
"""Numbers below it have 16 bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """Rows as a weighted graph over the prototypes 0 … `size` − 1, for any goals. Never changes.

    E edges in the order of (target, source, option id), as those into a single goal are wanted.
    """

    rows: RowTable
    parameters: PlanParameters
    size: int
    row_of: Indices
    """(M,) the row of each outcome"""
    leaving: Leaving
    elsewhere: NDArray[np.bool_]
    """(M,) outcomes other than FAIL and the row's own start"""
    arriving: Indices
    """outcomes as `elsewhere`, in the order of (target, option id, start)"""
    arriving_at: Indices
    """(size + 1,) the outcomes `arriving[arriving_at[y]` … `arriving_at[y + 1]]` are y"""
    leaving_rows: Indices
    """(R,) rows in the order of (start, option id)"""
    leaving_rows_at: Indices
    """(size + 1,) the rows `leaving_rows[leaving_rows_at[x]` … `leaving_rows_at[x + 1]]` start in x"""
    edge_of: Indices
    """(M,) the edge of each outcome, −1 where it has none"""
    edge_row: Indices
    """(E,)"""
    edge_target: Indices
    """(E,)"""
    edge_outcome: Indices
    """(E,) index into the table's M outcomes"""
    weight: Ints
    """(E,) w, micro-nats"""
    incoming: Ints
    """(size + 1,) edges `incoming[y]` … `incoming[y + 1]` lead to y"""
    source: NDArray[np.int32]
    """(E,) where each edge starts"""
    outgoing: Indices
    """(E,) edges in the order of (source, option id, target)"""
    outgoing_at: Indices
    """(size + 1,) `outgoing[outgoing_at[x]` … `outgoing_at[x + 1]]` start in x"""
    policy: PolicyRows


def compile_graph(rows: RowTable, parameters: PlanParameters, before: Graph | None = None) -> Graph:
    """The graph of `rows` (DESIGN §6.2, §6.3), sorted as RowTable says.

    `before` is a graph with the same parameters, of which is kept what `rows` has not changed: the result is the same
    without it, and later.
    """
    if before is not None and _alike(rows, before.rows):
        kept = _reweighed(before, rows)
        if kept is not None:
            return kept
    size = int(max(rows.start.max(initial=-1), rows.outcome.max(initial=-1))) + 1
    numbers = np.arange(size + 1)
    row_of = np.repeat(np.arange(rows.start.size), np.diff(rows.offset))
    start_of = rows.start[row_of]
    own = rows.outcome == start_of
    leaving = leave(rows, row_of, own, parameters)
    elsewhere = (rows.outcome >= 0) & ~own
    arriving = np.flatnonzero(elsewhere)
    arriving = arriving[_order(rows.outcome[arriving], size)]
    edges = np.flatnonzero(_natural(rows, row_of, leaving, elsewhere, parameters.min_probability))
    by_start = edges[_order(start_of[edges], size)]
    outcome = by_start[_order(rows.outcome[by_start], size)]
    edge_of = np.full(rows.outcome.size, -1)
    edge_of[outcome] = np.arange(outcome.size)
    edge_row = row_of[outcome]
    outgoing = edge_of[by_start]
    source = start_of[outcome]
    leaving_rows = _order(rows.start, size)
    chance = _chance(rows, leaving, outcome, edge_row)
    return Graph(
        rows=rows,
        parameters=parameters,
        size=size,
        row_of=row_of,
        leaving=leaving,
        elsewhere=elsewhere,
        arriving=arriving,
        arriving_at=np.searchsorted(rows.outcome[arriving], numbers),
        leaving_rows=leaving_rows,
        leaving_rows_at=np.searchsorted(rows.start[leaving_rows], numbers),
        edge_of=edge_of,
        edge_row=edge_row,
        edge_target=rows.outcome[outcome].astype(np.intp),
        edge_outcome=outcome,
        weight=weigh(chance) if before is None else _weights(before, rows, chance, outcome, edge_row),
        incoming=np.searchsorted(rows.outcome[outcome], numbers).astype(np.int64),
        source=source,
        outgoing=outgoing,
        outgoing_at=np.searchsorted(source[outgoing], numbers),
        policy=compile_policy(rows, row_of, own, leaving),
    )


def _alike(rows: RowTable, others: RowTable) -> bool:
    """Whether two tables share the arrays that say which outcomes there are, and so differ in numbers only."""
    return rows.outcome is others.outcome and rows.offset is others.offset and rows.start is others.start


def _reweighed(before: Graph, rows: RowTable) -> Graph | None:
    """`before` with the numbers of `rows`; `None` where an outcome becomes an edge or ceases to be one."""
    row_of, parameters = before.row_of, before.parameters
    own = rows.outcome == rows.start[row_of]
    leaving = leave(rows, row_of, own, parameters)
    natural = _natural(rows, row_of, leaving, before.elsewhere, parameters.min_probability)
    if not np.array_equal(natural, before.edge_of >= 0):
        return None
    outcome, edge_row = before.edge_outcome, before.edge_row
    chance = _chance(rows, leaving, outcome, edge_row)
    other = np.flatnonzero(chance != _chance(before.rows, before.leaving, outcome, edge_row))
    weight = before.weight.copy()
    weight[other] = weigh(chance[other])
    policy = compile_policy(rows, row_of, own, leaving)
    return replace(before, rows=rows, leaving=leaving, weight=weight, policy=policy)


def _weights(before: Graph, rows: RowTable, chance: Floats, outcome: Indices, row: Indices) -> Ints:
    """`weigh` of `chance`, taken from `before` where it had the edge with the same chance; arguments as `_chance`'s.

    Which edge that was is guessed by its row and its place among the row's outcomes: equal chances weigh the same.
    """
    numbers = {option_id: number for number, option_id in enumerate(rows.option_ids)}
    lasting = np.array([numbers.get(option_id, -1) for option_id in before.rows.option_ids], dtype=np.int64)
    number = lasting[before.rows.option]
    kept = np.flatnonzero(number >= 0)
    if not kept.size or not before.weight.size:
        return weigh(chance)
    span = 1 + max(int(before.rows.start.max()), int(rows.start.max(initial=0)))
    known = number[kept] * span + before.rows.start[kept]
    likely = np.searchsorted(known, rows.option.astype(np.int64) * span + rows.start)
    likely = kept[np.minimum(likely, kept.size - 1)]
    cell = before.rows.offset[likely[row]] + outcome - rows.offset[row]
    edge = before.edge_of[np.minimum(cell, before.edge_of.size - 1)]
    same = (edge >= 0) & (_chance(before.rows, before.leaving, before.edge_outcome, before.edge_row)[edge] == chance)
    weight: Ints = before.weight[edge]
    weight[~same] = weigh(chance[~same])
    return weight


def _order(numbers: NDArray[np.int32], size: int) -> Indices:
    """The order that sorts prototype numbers below `size`, equal ones as they come.

    In 16 bits numpy does it by their digits, which takes a third of the time.
    """
    return np.argsort(numbers.astype(np.uint16) if size <= NARROW else numbers, kind="stable")


def _chance(rows: RowTable, leaving: Leaving, outcome: Indices, row: Indices) -> Floats:
    """What the costs of edges are the logarithms of; `outcome` and `row` are the edges'."""
    return rows.reach[outcome] / leaving.escape_reach[row] * leaving.trust[row]


def _natural(
    rows: RowTable,
    row_of: Indices,
    leaving: Leaving,
    elsewhere: NDArray[np.bool_],
    least: float,
) -> NDArray[np.bool_]:
    """Which outcomes are edges where none of them is a goal, shape (M,)."""
    best = np.zeros(rows.start.size)
    np.maximum.at(best, row_of[elsewhere], rows.probability[elsewhere])
    return (
        elsewhere
        & leaving.live[row_of]
        & (rows.probability > 0)
        & (rows.reach > 0)
        & ((rows.probability >= least) | (rows.probability >= best[row_of]))
    )
