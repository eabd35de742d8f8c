"""Model rows from executions (DESIGN §5.3).

The row holds the multi-time model of Sutton, Precup and Singh 1999, "Between MDPs and semi-MDPs", eq. 16, learned as
their eqs. 15 and 16 learn it, with a discount that also charges for losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from somabrain.oak.learning.states import similarity
from somabrain.oak.model import FAIL, Ending, Execution, Facts, ModelRow, OptionSpec

REACH_FLOOR = 1e-200
"""Least discount of a run (DESIGN §5.3): its logarithm stays finite."""

FACTS_MET = 1.0
"""A facts target is met when all its entries hold (DESIGN §5.3)."""


EVIDENCE_MAX = 1e15
"""Greatest n_eff: one run more or less of so many is lost in rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningParameters:
    """The settings that learning depends on, recorded with the namespace so that a replay uses the same."""

    state_similarity: float
    similarity_threshold: float
    time_price: float
    loss_price: float
    reward_threshold: float
    novelty_threshold: float
    success_reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one run says: its return R_env, R_feat, its discount D, its duration k, and whether it met the target."""

    environment_reward: float
    feature_reward: float
    discount: float
    duration: int
    met: bool


def meets(similarity_to_target: float | None, option: OptionSpec, parameters: LearningParameters) -> bool:
    """Whether a state of this similarity meets the option's target."""
    if similarity_to_target is None:
        return False
    default = FACTS_MET if isinstance(option.target, Facts) else parameters.similarity_threshold
    least = option.termination.similarity
    return similarity_to_target >= (default if least is None else least)


def observe(run: Execution, option: OptionSpec, parameters: LearningParameters) -> Observation:
    """The run's rewards, discount and duration: R_env = Σ γ^(t-1) r_t, D = exp(-price·k - price·Σ max(0, -r_t))."""
    if run.rewards is None:
        reward, loss = run.reward, max(0.0, -run.reward)
    else:
        discount, terms = 1.0, []
        for step in run.rewards:
            terms.append(discount * step)
            discount *= option.gamma
        reward, loss = math.fsum(terms), math.fsum(max(0.0, -step) for step in run.rewards)
    likeness = similarity(run.final, option.target)
    return Observation(
        environment_reward=reward,
        feature_reward=0.0 if likeness is None else likeness,
        discount=max(REACH_FLOOR, math.exp(-parameters.time_price * run.duration - parameters.loss_price * loss)),
        duration=run.duration,
        met=meets(likeness, option, parameters),
    )


def outcome_of(ending: Ending, final: int, observed: Observation) -> int:
    """The run's outcome: its final prototype, or FAIL where only the reporter can tell that it failed."""
    return FAIL if ending is not Ending.TARGET and observed.met else final


def learned(
    row: ModelRow | None, option_id: str, start: int, *, outcome: int, observed: Observation, alpha: float
) -> ModelRow:
    """The row after one more run: averages with step α/Z, Z → 1, so that the first run is copied.

    The unbiased constant-step-size trick of Sutton and Barto 2018, "Reinforcement Learning", exercise 2.7.
    """
    before = row or _empty(option_id, start)
    z = before.z + alpha * (1.0 - before.z)
    w = alpha / z
    moments = dict(zip(before.outcomes, zip(before.probability, before.reach, strict=True), strict=True))
    moments.setdefault(outcome, (0.0, 0.0))
    outcomes = tuple(sorted(moments))
    probability, reach = [], []
    for y in outcomes:
        p, r = moments[y]
        came = y == outcome
        probability.append(p + w * ((1.0 if came else 0.0) - p))
        reach.append(0.0 if y == FAIL else r + w * ((observed.discount if came else 0.0) - r))
    return ModelRow(
        option_id=option_id,
        start=start,
        z=z,
        executions=before.executions + 1,
        duration=before.duration + w * (observed.duration - before.duration),
        reward=before.reward + w * (observed.environment_reward - before.reward),
        feature=before.feature + w * (observed.feature_reward - before.feature),
        outcomes=outcomes,
        probability=tuple(probability),
        reach=tuple(reach),
    )


def effective_runs(z: float, alpha: float) -> float:
    """n_eff: how many equally weighted runs the row's averages are worth (Kish 1965, effective sample size).

    Finite, also where α was replaced by one near zero.
    """
    return min(EVIDENCE_MAX, (2.0 - alpha) * (z / alpha) / (2.0 - z))


def row_utility(row: ModelRow, kappa: float) -> float:
    """U(i, o) = κ f̂ + r̂."""
    return kappa * row.feature + row.reward


def _empty(option_id: str, start: int) -> ModelRow:
    return ModelRow(
        option_id=option_id,
        start=start,
        z=0.0,
        executions=0,
        duration=0.0,
        reward=0.0,
        feature=0.0,
        outcomes=(),
        probability=(),
        reach=(),
    )
