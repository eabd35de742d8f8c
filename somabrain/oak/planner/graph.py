"""The compiled graph: everything about a namespace's rows that does not depend on goals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import PlanParameters, RowTable
from somabrain.oak.planner.costs import Leaving, leave, weigh
from somabrain.oak.planner.policy import PolicyRows, compile_policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Indices = NDArray[np.intp]

INT64_SAFE = 2**62
"""Products below it are exact in an int64, one added."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """Rows as a weighted graph over the prototypes 0 … `size` − 1, for any goals. Never changes.

    E edges in the order of (target, option id). A path's key is cost · `span` + hops, so that one integer
    orders by (cost, hops).
    """

    rows: RowTable
    parameters: PlanParameters
    size: int
    span: int
    row_of: Indices
    """(M,) the row of each outcome"""
    leaving: Leaving
    elsewhere: NDArray[np.bool_]
    """(M,) outcomes other than FAIL and the row's own start"""
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
    incoming: tuple[int, ...]
    """(size + 1,) edges `incoming[y]` … `incoming[y + 1]` lead to y"""
    source: tuple[int, ...]
    """(E,) where each edge starts"""
    edge_key: tuple[int, ...]
    """(E,) the key of each edge alone: w · span + 1"""
    outgoing: Indices
    """(E,) edges in the order of (source, option id, target)"""
    outgoing_at: Indices
    """(size + 1,) `outgoing[outgoing_at[x]` … `outgoing_at[x + 1]]` start in x"""
    policy: PolicyRows


def compile_graph(rows: RowTable, parameters: PlanParameters) -> Graph:
    """The graph of `rows` (DESIGN §6.2, §6.3), sorted as RowTable says."""
    size = int(max(rows.start.max(initial=-1), rows.outcome.max(initial=-1))) + 1
    row_of = np.repeat(np.arange(rows.start.size), np.diff(rows.offset))
    start_of = rows.start[row_of]
    own = rows.outcome == start_of
    leaving = leave(rows, row_of, own, parameters)
    elsewhere = (rows.outcome >= 0) & ~own
    best = np.zeros(rows.start.size)
    np.maximum.at(best, row_of[elsewhere], rows.probability[elsewhere])
    natural = np.flatnonzero(
        elsewhere
        & leaving.live[row_of]
        & (rows.probability > 0)
        & (rows.reach > 0)
        & ((rows.probability >= parameters.min_probability) | (rows.probability >= best[row_of]))
    )
    by_target = np.argsort(rows.outcome[natural], kind="stable")
    outcome = natural[by_target]
    place = np.empty_like(by_target)
    place[by_target] = np.arange(by_target.size)
    edge_of = np.full(rows.outcome.size, -1)
    edge_of[natural] = place
    edge_row = row_of[outcome]
    weight = weigh(rows.reach[outcome] / leaving.escape_reach[edge_row] * leaving.trust[edge_row])
    numbers = np.arange(size + 1)
    outgoing = place[np.argsort(start_of[natural], kind="stable")]
    source = start_of[outcome]
    span = size + 1
    return Graph(
        rows=rows,
        parameters=parameters,
        size=size,
        span=span,
        row_of=row_of,
        leaving=leaving,
        elsewhere=elsewhere,
        edge_of=edge_of,
        edge_row=edge_row,
        edge_target=rows.outcome[outcome].astype(np.intp),
        edge_outcome=outcome,
        weight=weight,
        incoming=tuple(np.searchsorted(rows.outcome[outcome], numbers).tolist()),
        source=tuple(source.tolist()),
        edge_key=edge_keys(weight, span),
        outgoing=outgoing,
        outgoing_at=np.searchsorted(source[outgoing], numbers),
        policy=compile_policy(rows, row_of, own, leaving),
    )


def edge_keys(weight: Ints, span: int) -> tuple[int, ...]:
    """The keys w · span + 1 of edges alone, as Python integers: they may pass 2⁶³."""
    if int(weight.max(initial=0)) < INT64_SAFE // span:
        return tuple((weight * span + 1).tolist())
    return tuple([value * span + 1 for value in weight.tolist()])
