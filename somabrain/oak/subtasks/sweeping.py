"""The loops of `solve`: the ball around the goals, its best policy, and that policy's model.

A state of the ball is known by its place in `order`; `place` holds it for every state, `OUTSIDE` where it has none and
`GOAL` on goals. What an action does to the state it was taken in is solved for, not iterated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import IDS, PLACES, REALS, kernel

Ids = NDArray[np.int32]
Places = NDArray[np.int64]
Reals = NDArray[np.float64]

OUTSIDE = -1
GOAL = -2

P, REACH, REWARD, DURATION, COLUMNS = range(5)
"""The columns of a model: P, P~, r̂, k̂."""

TIE = 1e-12
"""An action is better than another only by more than this share: what rounding alone can make of equal values."""


@kernel(f"int64({IDS}, {PLACES}, {IDS}, int32[::1], int32[::1], int64)")
def wave(  # noqa: PLR0917 - kernels are called by position
    states: Ids, incoming_at: Places, incoming: Ids, place: Ids, order: Ids, found: int
) -> int:
    """How many states `order` holds once the predecessors of `states` that had no place follow its first `found`."""
    last = found
    for state in states:
        for entry in range(incoming_at[state], incoming_at[state + 1]):
            if place[incoming[entry]] == OUTSIDE:
                place[incoming[entry]] = 0
                order[last] = incoming[entry]
                last += 1
    order[found:last].sort()
    return last


@kernel(f"int64({IDS}, {PLACES}, {IDS}, int64, int64, int32[::1], int32[::1])")
def gather(  # noqa: PLR0917 - kernels are called by position
    goals: Ids, incoming_at: Places, incoming: Ids, radius: int, states_max: int, place: Ids, order: Ids
) -> int:
    """The number of states of the ball, which it puts in `order` by (steps to a goal, id) and marks in `place`.

    `place` and `order` are as long as there are states; `place` is `OUTSIDE` everywhere when it is called.
    """
    for goal in goals:
        place[goal] = GOAL
    first = 0
    found = wave(goals, incoming_at, incoming, place, order, 0) if radius > 0 else 0
    for _ in range(1, radius):
        if first == found or found >= states_max:
            break
        last = wave(order[first:found], incoming_at, incoming, place, order, found)
        first = found
        found = last
    size = min(found, states_max)
    for index in range(found):
        place[order[index]] = index if index < size else OUTSIDE
    return size


@kernel(
    f"Tuple((int64[::1], int64[::1], int64[::1], float64[::1], int32[::1], float64[::1]))"
    f"({IDS}, {IDS}, {PLACES}, {PLACES}, {IDS}, {REALS}, int64, int64)"
)
def local(  # noqa: PLR0917 - kernels are called by position
    order: Ids,
    place: Ids,
    pair_at: Places,
    offset: Places,
    outcome: Ids,
    reach: Reals,
    pairs_max: int,
    entries_max: int,
) -> tuple[Places, Places, Places, Reals, Ids, Reals]:
    """The pairs that can lead to a goal, by the places of their states.

    `row_at`, `entry_at`, `pair_of`, `base`, `to` and `weight`; of any row of a place,
    V(place) ≥ base(row) + Σ weight(entry) V(to(entry)).
    """
    row_at = np.zeros(order.size + 1, dtype=np.int64)
    entry_at = np.zeros(pairs_max + 1, dtype=np.int64)
    pair_of = np.zeros(pairs_max, dtype=np.int64)
    base = np.zeros(pairs_max, dtype=np.float64)
    to = np.zeros(entries_max, dtype=np.int32)
    weight = np.zeros(entries_max, dtype=np.float64)
    rows = 0
    entries = 0
    for index in range(order.size):
        for pair in range(pair_at[order[index]], pair_at[order[index] + 1]):
            won = 0.0
            stay = 0.0
            for entry in range(offset[pair], offset[pair + 1]):
                where = place[outcome[entry]]
                if where == GOAL:
                    won += reach[entry]
                elif where == index:
                    stay = reach[entry]
                elif where != OUTSIDE:
                    to[entries] = where
                    weight[entries] = reach[entry]
                    entries += 1
            if stay < 1 and (won > 0 or entries > entry_at[rows]):
                for entry in range(entry_at[rows], entries):
                    weight[entry] /= 1 - stay
                base[rows] = won / (1 - stay)
                pair_of[rows] = pair
                rows += 1
                entry_at[rows] = entries
        row_at[index + 1] = rows
    return row_at, entry_at, pair_of, base, to, weight


@kernel(f"int64({PLACES}, {PLACES}, {REALS}, {IDS}, {REALS}, float64, int64, float64[::1])")
def improve(  # noqa: PLR0917 - kernels are called by position
    row_at: Places,
    entry_at: Places,
    base: Reals,
    to: Ids,
    weight: Reals,
    tolerance: float,
    sweeps_max: int,
    value: Reals,
) -> int:
    """The sweeps of value iteration until no `value` changed by `tolerance`; near to far, each using the newest.

    From 0, values only rise, so a policy that is greedy for them is worth no less in any state.
    """
    change = tolerance
    sweeps = 0
    while change >= tolerance and sweeps < sweeps_max:
        change = 0.0
        sweeps += 1
        for index in range(value.size):
            best = 0.0
            for row in range(row_at[index], row_at[index + 1]):
                worth = base[row]
                for entry in range(entry_at[row], entry_at[row + 1]):
                    worth += weight[entry] * value[to[entry]]
                best = max(best, worth)
            change = max(change, abs(best - value[index]))
            value[index] = best
    return sweeps


@kernel(f"void({PLACES}, {PLACES}, {PLACES}, {REALS}, {IDS}, {REALS}, {REALS}, int64[::1])")
def choose(  # noqa: PLR0917 - kernels are called by position
    row_at: Places,
    entry_at: Places,
    pair_of: Places,
    base: Reals,
    to: Ids,
    weight: Reals,
    value: Reals,
    choice: Places,
) -> None:
    """Fills `choice` with the first of each state's best pairs; -1 where none is worth anything."""
    for index in range(value.size):
        best = 0.0
        choice[index] = -1
        for row in range(row_at[index], row_at[index + 1]):
            worth = base[row]
            for entry in range(entry_at[row], entry_at[row + 1]):
                worth += weight[entry] * value[to[entry]]
            if worth > best + TIE * best:
                best = worth
                choice[index] = pair_of[row]


@kernel(
    f"Tuple((int64[::1], int32[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1]))"
    f"({PLACES}, {IDS}, {PLACES}, {IDS}, {REALS}, {REALS}, int64)"
)
def followed(  # noqa: PLR0917 - kernels are called by position
    choice: Places,
    place: Ids,
    offset: Places,
    outcome: Ids,
    probability: Reals,
    reach: Reals,
    entries_max: int,
) -> tuple[Places, Ids, Reals, Reals, Reals]:
    """A policy by the places of its states: `entry_at`, `to`, and of P and P~ `weight`, `won`, `stay`."""
    entry_at = np.zeros(choice.size + 1, dtype=np.int64)
    to = np.zeros(entries_max, dtype=np.int32)
    weight = np.zeros((entries_max, 2), dtype=np.float64)
    won = np.zeros((choice.size, 2), dtype=np.float64)
    stay = np.zeros((choice.size, 2), dtype=np.float64)
    entries = 0
    for index in range(choice.size):
        for entry in range(offset[choice[index]], offset[choice[index] + 1]):
            where = place[outcome[entry]]
            if where == GOAL:
                won[index, P] += probability[entry]
                won[index, REACH] += reach[entry]
            elif where == index:
                stay[index, P] = probability[entry]
                stay[index, REACH] = reach[entry]
            elif where != OUTSIDE:
                to[entries] = where
                weight[entries, P] = probability[entry]
                weight[entries, REACH] = reach[entry]
                entries += 1
        entry_at[index + 1] = entries
    return entry_at, to, weight, won, stay


@kernel(
    "boolean(int64[::1], int32[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1],"
    f" {REALS}, float64, float64, int64, float64[:, ::1])"
)
def evaluate(  # noqa: PLR0917 - kernels are called by position
    entry_at: Places,
    to: Ids,
    weight: Reals,
    won: Reals,
    stay: Reals,
    reward: Reals,
    gamma: float,
    tolerance: float,
    sweeps_max: int,
    model: Reals,
) -> bool:
    """Whether the columns of `model` settled within `sweeps_max` sweeps on from what it holds.

    Settled: in a sweep no value changed by the share `tolerance`, of 1 where it is less than 1. `reward` is of each
    place.
    """
    for _ in range(sweeps_max):
        settled = True
        for index in range(reward.size):
            probability = won[index, P]
            reach = won[index, REACH]
            earned = 0.0
            taken = 1.0
            for entry in range(entry_at[index], entry_at[index + 1]):
                where = to[entry]
                probability += weight[entry, P] * model[where, P]
                reach += weight[entry, REACH] * model[where, REACH]
                earned += weight[entry, P] * model[where, REWARD]
                taken += weight[entry, P] * model[where, DURATION]
            probability /= 1 - stay[index, P]
            reach /= 1 - stay[index, REACH]
            earned = (reward[index] + gamma * earned) / (1 - gamma * stay[index, P])
            taken /= 1 - stay[index, P]
            settled = (
                settled
                and abs(probability - model[index, P]) <= tolerance
                and abs(reach - model[index, REACH]) <= tolerance
                and abs(earned - model[index, REWARD]) <= tolerance * max(1.0, abs(earned))
                and abs(taken - model[index, DURATION]) <= tolerance * taken
            )
            model[index, P] = probability
            model[index, REACH] = reach
            model[index, REWARD] = earned
            model[index, DURATION] = taken
        if settled:
            return True
    return False
