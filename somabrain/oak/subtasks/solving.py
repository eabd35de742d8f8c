"""The option that best reaches a set of goals, and its multi-time model (DESIGN §5.5.2, §5.5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.subtasks.dynamics import Dynamics
from somabrain.oak.subtasks.sweeping import (
    COLUMNS,
    DURATION,
    GOAL,
    OUTSIDE,
    REACH,
    REWARD,
    Ids,
    P,
    Places,
    Reals,
    choose,
    evaluate,
    followed,
    gather,
    improve,
    local,
)

CONVERGED = 1e-9
"""Value iteration stops when no value changed by as much (DESIGN §5.5.2)."""

VALUE_SWEEPS_MAX = 20_000
"""Where V still changed by `CONVERGED` after as many sweeps, the policy found by then is taken."""

SETTLED = 1e-12
"""A policy's model is settled when no value changed by this share: within 1e-9 of the fixed point, see the cap."""

MODEL_SWEEPS_MAX = 1_000
"""A model that did not settle in as many sweeps is solved sparsely: one that did contracts by .973 a sweep or less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subtask:
    """A policy and its multi-time model over the B states from which it can reach the goals; never changes."""

    start: NDArray[np.int32]
    """(B,) ascending"""
    action: NDArray[np.int32]
    """(B,) the action number that the policy takes"""
    probability: NDArray[np.float64]
    """(B,) P of ending in a goal"""
    reach: NDArray[np.float64]
    """(B,) P~, the discounted reach, in (0, P]"""
    reward: NDArray[np.float64]
    """(B,) r̂, discounted by gamma"""
    duration: NDArray[np.float64]
    """(B,) k̂, mean steps until it ends, in a goal or elsewhere"""


def solve(dyn: Dynamics, goals: Sequence[int], *, radius: int, states_max: int, gamma: float) -> Subtask:
    """The option toward `goals` from the states that may need at most `radius` steps, the `states_max` nearest.

    V = 1 in all goals, also terminal ones; 0 in other terminal states and outside. Of equally good actions the
    lowest number. States that can't reach a goal are not in the answer; goals beyond the model's states are unknown.
    """
    scratch = _Scratch(dyn)
    return scratch.solved(goals, radius=radius, states_max=states_max, gamma=gamma, sweeps_max=MODEL_SWEEPS_MAX)


def solve_sparse(dyn: Dynamics, goals: Sequence[int], *, radius: int, states_max: int, gamma: float) -> Subtask:
    """As `solve`, with the policy's model from a sparse factorisation."""
    return _Scratch(dyn).solved(goals, radius=radius, states_max=states_max, gamma=gamma, sweeps_max=0)


def solve_many(
    dyn: Dynamics, targets: Iterable[int], *, radius: int, states_max: int, gamma: float
) -> Iterator[tuple[int, Subtask]]:
    """Each target with the option toward it, as `solve` gives it; the work is that of the balls."""
    scratch = _Scratch(dyn)
    for target in targets:
        yield (
            target,
            scratch.solved((target,), radius=radius, states_max=states_max, gamma=gamma, sweeps_max=MODEL_SWEEPS_MAX),
        )


class _Scratch:
    """Room as large as the model, cleared again behind each option."""

    def __init__(self, dyn: Dynamics) -> None:
        self._dyn = dyn
        self._place = np.full(dyn.states, OUTSIDE, dtype=np.int32)
        self._order = np.empty(dyn.states, dtype=np.int32)

    def solved(self, goals: Sequence[int], *, radius: int, states_max: int, gamma: float, sweeps_max: int) -> Subtask:
        dyn, place = self._dyn, self._place
        known = np.array(sorted({goal for goal in goals if 0 <= goal < dyn.states}), dtype=np.int32)
        ball = self._order[: gather(known, dyn.incoming_at, dyn.incoming, radius, states_max, place, self._order)]
        value, choice = _policy(dyn, ball, place)
        # a state of so long a way that its value underflows is outside
        able = choice >= 0
        order, choice = ball[able], choice[able]
        place[ball] = OUTSIDE
        place[order] = np.arange(order.size, dtype=np.int32)
        model = _swept(dyn, choice, place, value[able], gamma=gamma, sweeps_max=sweeps_max)
        if model is None:
            model = _factored(dyn, choice, place, gamma)
        place[order] = OUTSIDE
        place[known] = OUTSIDE
        return _answer(dyn, order, choice, model)


def _policy(dyn: Dynamics, ball: Ids, place: Ids) -> tuple[Reals, Places]:
    """V and the chosen pair of each state of the ball, -1 for none."""
    row_at, entry_at, pair_of, base, to, weight = local(
        ball,
        place,
        dyn.pair_at,
        dyn.offset,
        dyn.outcome,
        dyn.reach,
        int((dyn.pair_at[ball + 1] - dyn.pair_at[ball]).sum()),
        int((dyn.offset[dyn.pair_at[ball + 1]] - dyn.offset[dyn.pair_at[ball]]).sum()),
    )
    value = np.zeros(ball.size, dtype=np.float64)
    choice = np.empty(ball.size, dtype=np.int64)
    improve(row_at, entry_at, base, to, weight, CONVERGED, VALUE_SWEEPS_MAX, value)
    choose(row_at, entry_at, pair_of, base, to, weight, value, choice)
    return value, choice


def _swept(dyn: Dynamics, choice: Places, place: Ids, value: Reals, *, gamma: float, sweeps_max: int) -> Reals | None:
    """The model of a policy, from V up, which is below P~ and P; `None` where it did not settle."""
    entries_max = int((dyn.offset[choice + 1] - dyn.offset[choice]).sum())
    rows = followed(choice, place, dyn.offset, dyn.outcome, dyn.probability, dyn.reach, entries_max)
    model = np.zeros((choice.size, COLUMNS), dtype=np.float64)
    model[:, P] = model[:, REACH] = value
    return model if evaluate(*rows, dyn.reward[choice], gamma, SETTLED, sweeps_max, model) else None


def _factored(dyn: Dynamics, choice: Places, place: Ids, gamma: float) -> Reals:
    """The model of a policy, by linear algebra."""
    from scipy.sparse import csc_array, eye_array  # noqa: PLC0415 - rarely needed, and slow to import
    from scipy.sparse.linalg import splu  # noqa: PLC0415 - the same

    size = choice.size
    model = np.zeros((size, COLUMNS), dtype=np.float64)
    if not size:
        return model
    width = dyn.offset[choice + 1] - dyn.offset[choice]
    at = np.repeat(np.arange(size), width)
    entries = np.repeat(dyn.offset[choice] - np.cumsum(width) + width, width) + np.arange(at.size)
    where = place[dyn.outcome[entries]]

    def solved(weight: Reals, right: Reals) -> Reals:
        inside = where >= 0
        stays = csc_array((weight[entries[inside]], (at[inside], where[inside])), shape=(size, size))
        found: Reals = splu(csc_array(eye_array(size) - stays)).solve(right)
        return found

    def won(weight: Reals) -> Reals:
        return np.bincount(at[where == GOAL], weight[entries[where == GOAL]], size).astype(np.float64)

    model[:, P] = solved(dyn.probability, won(dyn.probability))
    model[:, REACH] = solved(dyn.reach, won(dyn.reach))
    model[:, REWARD] = solved(dyn.probability * gamma, dyn.reward[choice])
    model[:, DURATION] = solved(dyn.probability, np.ones(size))
    return model


def _answer(dyn: Dynamics, order: Ids, choice: Places, model: Reals) -> Subtask:
    rows = np.argsort(order)
    probability = np.minimum(model[rows, P], 1.0)
    answer = Subtask(
        start=order[rows],
        action=dyn.action[choice[rows]],
        probability=probability,
        reach=np.minimum(model[rows, REACH], probability),
        reward=model[rows, REWARD],
        duration=model[rows, DURATION],
    )
    for column in (answer.start, answer.action, probability, answer.reach, answer.reward, answer.duration):
        column.setflags(write=False)
    return answer
