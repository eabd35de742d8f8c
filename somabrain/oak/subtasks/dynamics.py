"""The primitive model as a decision process over prototypes (DESIGN §5.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import PrimitiveTable

T = TypeVar("T", bound=np.generic)

DISCOUNT_MIN = 1e-200
"""No step is worth less (DESIGN §5.3)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dynamics:
    """What each action does in each state: R pairs in the order of (start, action) with M outcomes; never changes.

    Pairs whose start is terminal are left out. The probability missing in a pair's outcomes is that of failing.
    Graphs are rows of distinct neighbours, ascending, without the state itself.
    """

    states: int
    """S"""
    start: NDArray[np.int32]
    """(R,)"""
    action: NDArray[np.int32]
    """(R,) action numbers"""
    pair_at: NDArray[np.int64]
    """(S + 1,) the pairs of state s are `pair_at[s] … pair_at[s + 1]`"""
    count: NDArray[np.int64]
    """(R,) N"""
    reward: NDArray[np.float64]
    """(R,) the mean of an attempt"""
    offset: NDArray[np.int64]
    """(R + 1,) the outcomes of pair i are `offset[i] … offset[i + 1]`"""
    outcome: NDArray[np.int32]
    """(M,)"""
    probability: NDArray[np.float64]
    """(M,) P = n / (N + u)"""
    reach: NDArray[np.float64]
    """(M,) P~ = D P"""
    terminal: NDArray[np.bool_]
    """(S,)"""
    incoming_at: NDArray[np.int64]
    """(S + 1,) the predecessors of state s are `incoming[incoming_at[s] … incoming_at[s + 1]]`"""
    incoming: NDArray[np.int32]
    successor_at: NDArray[np.int64]
    """(S + 1,)"""
    successor: NDArray[np.int32]
    ended_at: NDArray[np.int64]
    """(S + 1,) where steps from a terminal state once led: what the pairs left out would add to the graph"""
    ended: NDArray[np.int32]


def dynamics(table: PrimitiveTable, *, time_price: float, loss_price: float) -> Dynamics:
    """The decision process of a table: `time_price` is u, the mass of the unseen, and the price of a step in nats.

    `loss_price` is that of one unit of loss. `time_price` > 0, `loss_price` ≥ 0.
    """
    kept = ~table.terminal[table.start]
    width = np.diff(table.offset)
    kept_outcome = np.repeat(kept, width)
    start, count = table.start[kept], table.count[kept]
    outcome, outcome_count = table.outcome[kept_outcome], table.outcome_count[kept_outcome]
    width_kept = width[kept]
    seen = np.repeat(count + time_price, width_kept)
    probability = outcome_count / seen
    discount = _discount(table.loss[kept] / count, time_price, loss_price)
    live = _edges(np.repeat(start, width_kept), outcome, table.states)
    ended = _edges(np.repeat(table.start, width)[~kept_outcome], table.outcome[~kept_outcome], table.states)
    successor_at, successor = _rows(live, table.states)
    incoming_at, incoming = _rows(_turned(live, table.states), table.states)
    ended_at, ended_outcome = _rows(ended, table.states)
    return Dynamics(
        states=table.states,
        start=_fixed(start, np.int32),
        action=_fixed(table.action[kept], np.int32),
        pair_at=_fixed(np.searchsorted(start, np.arange(table.states + 1)), np.int64),
        count=_fixed(count, np.int64),
        reward=_fixed(table.reward[kept] / count, np.float64),
        offset=_fixed(np.concatenate(([0], np.cumsum(width_kept))), np.int64),
        outcome=_fixed(outcome, np.int32),
        probability=_fixed(probability, np.float64),
        reach=_fixed(probability * np.repeat(discount, width_kept), np.float64),
        terminal=_fixed(table.terminal.copy(), np.bool_),
        incoming_at=incoming_at,
        incoming=incoming,
        successor_at=successor_at,
        successor=successor,
        ended_at=ended_at,
        ended=ended_outcome,
    )


def _discount(loss: NDArray[np.float64], time_price: float, loss_price: float) -> NDArray[np.float64]:
    """D of each mean loss; `math.exp` value by value, because the last bit of numpy's depends on the processor."""
    distinct, place = np.unique(loss, return_inverse=True)
    worth = [max(DISCOUNT_MIN, math.exp(-time_price - loss_price * one)) for one in distinct.tolist()]
    return np.array(worth, dtype=np.float64)[place]


def _edges(start: NDArray[np.int32], outcome: NDArray[np.int32], states: int) -> NDArray[np.int64]:
    """The distinct start · S + outcome, ascending, without loops."""
    away = start != outcome
    return np.unique(start[away].astype(np.int64) * states + outcome[away])


def _turned(edges: NDArray[np.int64], states: int) -> NDArray[np.int64]:
    start, outcome = np.divmod(edges, max(1, states))
    return np.sort(outcome * states + start)


def _rows(edges: NDArray[np.int64], states: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sorted edges as rows: where each state's begin, and the other ends."""
    at = np.searchsorted(edges, np.arange(states + 1, dtype=np.int64) * states)
    return _fixed(at, np.int64), _fixed(edges % max(1, states), np.int32)


def _fixed(values: NDArray[Any], kind: type[T]) -> NDArray[T]:
    fixed = np.ascontiguousarray(values, dtype=kind)
    fixed.setflags(write=False)
    return fixed
