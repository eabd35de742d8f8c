"""Where something is still to be tried, and what (DESIGN §6.8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from somabrain.oak.model import PrimitiveTable
from somabrain.oak.planner.graph import Graph
from somabrain.oak.planner.merging import UNREACHED
from somabrain.oak.planner.search import settle_forward


def frontier(table: PrimitiveTable) -> tuple[int, ...]:
    """The states, not terminal, in which an action known in the namespace is untried, ascending."""
    tried = np.bincount(table.start, minlength=table.states)
    return tuple(np.flatnonzero((tried < len(table.action_ids)) & ~table.terminal).tolist())


def untried(table: PrimitiveTable, state: int) -> tuple[int, ...]:
    """The actions not tried in `state`, those whose first tries have most often led to a state never seen first.

    By (new + 1)/(first tries + 2), ties by option id.
    """
    actions = len(table.action_ids)
    tries = np.bincount(table.action, minlength=actions)
    news = np.bincount(table.action[table.fresh], minlength=actions)
    first, last = np.searchsorted(table.start, (state, state + 1))
    left = set(range(actions)).difference(table.action[first:last].tolist())
    promise = ((news + 1) / (tries + 2)).tolist()
    return tuple(sorted(left, key=lambda action: (-promise[action], table.action_ids[action])))


def nearest(graph: Graph, numbers: Sequence[int], start: int | None, count: int) -> tuple[int, ...]:
    """The `count` of the prototypes `numbers` that are cheapest to reach from `start`, then those of lowest number.

    Those that can't be reached come last; from an unknown start, `None`, that is all of them.
    """
    ordered = np.unique(np.array(numbers, dtype=np.int64))
    if start is not None and start < graph.size and ordered.size:
        cost = settle_forward(graph, start).cost
        far = np.where(ordered < graph.size, cost[np.minimum(ordered, graph.size - 1)], UNREACHED)
        ordered = ordered[np.argsort(far, kind="stable")]
    return tuple(ordered[:count].tolist())
