"""Expected returns from the environment's own table: no ride is taken, so there is no luck in them.

Backward induction over the steps that an episode may have at most: value iteration, stopped where the episode is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from somabrain.demo.taxi import FloatArray, Taxi


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Of an episode, over the environment's starts: its mean return, and the share that is solved within the limit."""

    mean_return: float
    solved: float


def optimum(taxi: Taxi) -> float:
    """The mean over the starts of the best return that any policy can expect."""
    table = taxi.table
    going_on = ~table.final
    value = np.zeros(taxi.states)
    for _ in range(taxi.steps_max):
        value = (table.probability * (table.reward + going_on * value[table.following])).sum(axis=-1).max(axis=-1)
    return float(value[list(taxi.starts)].mean())


def expected(taxi: Taxi, chosen: Sequence[int | None]) -> Expected:
    """Of an agent that starts the option `chosen[state]` whenever none runs, and runs it to its end.

    Where there is none, None, it starts any of the applicable ones with equal probability.
    """
    weights = _weights(taxi, chosen)
    everywhere = np.arange(taxi.states)
    table = taxi.table
    probability = np.stack([table.probability[everywhere, option.actions] for option in taxi.options])
    following = np.stack([table.following[everywhere, option.actions] for option in taxi.options])
    reward = np.stack([table.reward[everywhere, option.actions] for option in taxi.options])
    final = np.stack([table.final[everywhere, option.actions] for option in taxi.options])
    ends = np.stack([option.ends for option in taxi.options])
    starts = list(taxi.starts)

    def mean(gain: FloatArray) -> float:
        running = np.zeros((len(taxi.options), taxi.states))
        choosing = np.zeros(taxi.states)
        for _ in range(taxi.steps_max):
            onward = np.where(ends, choosing, running)
            arrived = np.stack([of[to] for of, to in zip(onward, following, strict=True)])
            running = (probability * (gain + ~final * arrived)).sum(axis=-1)
            choosing = (weights * running).sum(axis=0)
        return float(choosing[starts].mean())

    return Expected(mean_return=mean(reward), solved=mean(final.astype(np.float64)))


def expected_of_policy(taxi: Taxi, actions: Sequence[int | None]) -> Expected:
    """Of an agent that takes `actions[state]`, and any action with equal probability where there is none, None."""
    table = taxi.table
    weights = np.full((taxi.states, table.reward.shape[1]), 1.0 / table.reward.shape[1])
    for state, action in enumerate(actions):
        if action is not None:
            weights[state] = 0.0
            weights[state, action] = 1.0

    def mean(gain: FloatArray) -> float:
        value = np.zeros(taxi.states)
        for _ in range(taxi.steps_max):
            onward = table.probability * (gain + ~table.final * value[table.following])
            value = (weights * onward.sum(axis=-1)).sum(axis=-1)
        return float(value[list(taxi.starts)].mean())

    return Expected(mean_return=mean(table.reward), solved=mean(table.final.astype(np.float64)))


def _weights(taxi: Taxi, chosen: Sequence[int | None]) -> FloatArray:
    """The probability of starting each option [option] in each raw state [state]."""
    applicable = np.stack([option.may_begin for option in taxi.options]).astype(np.float64)
    weights: FloatArray = applicable / applicable.sum(axis=0)
    for state, option in enumerate(chosen):
        if option is not None:
            weights[:, state] = 0.0
            weights[option, state] = 1.0
    return weights
