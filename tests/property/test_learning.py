"""Learning equals the definitions of DESIGN §5.3, computed independently, on any runs."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.oak.learning import (
    LearningParameters,
    Observation,
    effective_runs,
    facts,
    learned,
    observe,
    row_table,
    row_utility,
)
from somabrain.oak.learning.executions import outcome_of
from somabrain.oak.learning.retention import retention_s
from somabrain.oak.model import FAIL, Ending, ModelRow, Termination
from tests.factories import at, run, spec

PARAMETERS = LearningParameters(
    state_similarity=0.85,
    similarity_threshold=0.9,
    time_price=0.001,
    loss_price=0.01,
    reward_threshold=0.5,
    novelty_threshold=0.2,
    success_reward=1.0,
)

observations = st.builds(
    Observation,
    environment_reward=st.floats(-1e9, 1e9),
    feature_reward=st.floats(-1, 1),
    discount=st.floats(1e-200, 1),
    duration=st.integers(1, 1_000_000),
    met=st.booleans(),
)
histories = st.lists(st.tuples(st.integers(FAIL, 4), observations), min_size=1, max_size=40)
alphas = st.floats(0.001, 1.0)


def learn(history: list[tuple[int, Observation]], alpha: float) -> ModelRow:
    row = None
    for outcome, observed in history:
        row = learned(row, "o", 7, outcome=outcome, observed=observed, alpha=alpha)
    assert row is not None
    return row


def weights(count: int, alpha: float) -> list[float]:
    """What the bias-corrected average is by definition: α(1-α)^(n-t), divided by their sum."""
    raw = [alpha * (1 - alpha) ** (count - 1 - t) for t in range(count)]
    return [weight / math.fsum(raw) for weight in raw]


def rounding(seen: list[float], terms: list[float], alpha: float) -> float:
    """How far the running mean may be off: each step rounds in proportion to what it adds and to what it leaves.

    Later steps take from that as they take from the mean itself. Weights are known to some roundings a run.
    """
    unit = 4 * (len(seen) + 4) * sys.float_info.epsilon
    z = mean = off = 0.0
    for x in seen:
        z += alpha * (1 - z)
        step = alpha / z * (x - mean)
        mean += step
        off = (1 - alpha / z) * off + unit * (abs(step) + abs(mean))
    return off + unit * math.fsum(abs(term) for term in terms) + sys.float_info.min


@given(histories, alphas)
def test_a_row_is_the_explicitly_weighted_mean_of_its_runs(
    history: list[tuple[int, Observation]], alpha: float
) -> None:
    row, w = learn(history, alpha), weights(len(history), alpha)
    for y, p, reach in zip(row.outcomes, row.probability, row.reach, strict=True):
        came = [w_t for w_t, (outcome, _) in zip(w, history, strict=True) if outcome == y]
        paid = [w_t * o.discount for w_t, (outcome, o) in zip(w, history, strict=True) if outcome == y and y != FAIL]
        assert p == pytest.approx(math.fsum(came), rel=1e-9, abs=1e-12)
        assert reach == pytest.approx(math.fsum(paid), rel=1e-9, abs=1e-12)
    assert set(row.outcomes) == {outcome for outcome, _ in history}
    for value, name in (
        (row.reward, "environment_reward"),
        (row.feature, "feature_reward"),
        (row.duration, "duration"),
    ):
        seen = [getattr(o, name) for _, o in history]
        terms = [w_t * x for w_t, x in zip(w, seen, strict=True)]
        assert value == pytest.approx(math.fsum(terms), rel=0, abs=rounding(seen, terms, alpha))
    assert row.executions == len(history)


@given(histories, alphas)
def test_rows_sum_to_one_and_reach_never_exceeds_probability(
    history: list[tuple[int, Observation]], alpha: float
) -> None:
    row = learn(history, alpha)
    assert math.fsum(row.probability) == pytest.approx(1.0, abs=1e-9)
    assert all(0 <= reach <= p + 1e-12 for p, reach in zip(row.probability, row.reach, strict=True))
    assert row.outcomes == tuple(sorted(set(row.outcomes)))
    assert 0 < row.z <= 1


@given(st.integers(1, 60), alphas)
def test_effective_runs_are_kish(count: int, alpha: float) -> None:
    row = learn(
        [(0, Observation(environment_reward=0, feature_reward=0, discount=1, duration=1, met=True))] * count, alpha
    )
    w = weights(count, alpha)
    assert effective_runs(row.z, alpha) == pytest.approx(1 / math.fsum(x * x for x in w), rel=1e-6)


@given(histories, st.floats(0.01, 0.5), st.floats(0.001, 1.0))
def test_a_success_never_lowers_the_trusted_probability_of_its_outcome(
    history: list[tuple[int, Observation]], alpha: float, u: float
) -> None:
    def trusted(row: ModelRow, y: int) -> float:
        table = row_table([row], {"o": spec(alpha=alpha)})
        n = float(table.evidence[0])
        p = dict(zip(row.outcomes, row.probability, strict=True)).get(y, 0.0)
        return p * n / (n + u)

    row, (outcome, observed) = learn(history, alpha), history[-1]
    assert (
        trusted(learned(row, "o", 7, outcome=outcome, observed=observed, alpha=alpha), outcome)
        >= trusted(row, outcome) - 1e-12
    )


def test_hand_computed() -> None:
    """Two runs of 3 and 2 steps, α = ½: Z = ½, ¾; w = 1, ⅔."""
    option = spec(alpha=0.5, kappa=2.0, gamma=0.9)
    first = observe(run(at("road"), at("goal"), (-1.0, -1.0, 5.0)), option, PARAMETERS)
    second = observe(run(at("road"), at("lake"), (-1.0, -1.0)), option, PARAMETERS)
    assert first.environment_reward == pytest.approx(-1 - 0.9 + 0.81 * 5)
    assert first.discount == pytest.approx(math.exp(-0.003 - 0.02))
    assert (first.feature_reward, second.feature_reward) == (1.0, 0.0)
    row = learned(
        learned(None, "o", 0, outcome=1, observed=first, alpha=0.5), "o", 0, outcome=2, observed=second, alpha=0.5
    )
    assert row.z == 0.75
    assert row.probability == pytest.approx((1 / 3, 2 / 3))
    assert row.reach == pytest.approx((math.exp(-0.023) / 3, 2 * math.exp(-0.022) / 3))
    assert row.reward == pytest.approx(2.15 + 2 / 3 * (-1.9 - 2.15))
    assert row.duration == pytest.approx(3 - 2 / 3)
    assert row_utility(row, option.kappa) == pytest.approx(2 * (1 / 3) + row.reward)
    assert effective_runs(row.z, 0.5) == pytest.approx(1 / (1 / 9 + 4 / 9))


def test_a_run_in_sum_is_charged_as_one_loss() -> None:
    observed = observe(run(at("a"), at("b"), None, reward=-7.0, duration=1_000_000), spec(), PARAMETERS)
    assert (observed.environment_reward, observed.duration) == (-7.0, 1_000_000)
    assert observed.discount == 1e-200


@pytest.mark.parametrize(
    ("ending", "final", "expected"),
    [
        (Ending.TARGET, "goal", 3),
        (Ending.TARGET, "lake", 3),
        (Ending.FAILURE, "lake", 3),
        (Ending.TIMEOUT, "lake", 3),
        (Ending.FAILURE, "goal", FAIL),
        (Ending.TIMEOUT, "goal", FAIL),
    ],
)
def test_only_a_failure_that_its_state_cannot_show_is_FAIL(ending: Ending, final: str, expected: int) -> None:  # noqa: N802
    observed = observe(run(at("a"), at(final), ending=ending), spec(), PARAMETERS)
    assert outcome_of(ending, 3, observed) == expected


def test_a_partial_target_is_met_at_the_share_that_the_option_names() -> None:
    target, half = facts({"at": "x", "lit": True}), facts({"at": "x", "lit": False})
    strict = observe(run(half, half), spec(target), PARAMETERS)
    lenient = observe(run(half, half), spec(target, termination=Termination(similarity=0.5)), PARAMETERS)
    assert (strict.feature_reward, strict.met, lenient.met) == (0.5, False, True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=10))
def test_retention_grows_with_utility_within_its_bounds(utilities: list[float]) -> None:
    kept = [retention_s(u, 10.0, 100.0) for u in sorted(utilities)]
    assert all(10.0 <= a <= b <= 100.0 for a, b in pairwise(kept))
    assert retention_s(2.0, 10.0, 100.0) == 30.0


@settings(max_examples=50)
@given(st.permutations([(option, start) for option in ("b", "a", "B") for start in (2, 0, 1)]))
def test_the_table_does_not_depend_on_the_order_of_rows(keys: list[tuple[str, int]]) -> None:
    observed = Observation(environment_reward=1, feature_reward=1, discount=0.5, duration=2, met=True)
    rows = [learned(None, option, start, outcome=start + 1, observed=observed, alpha=0.05) for option, start in keys]
    table = row_table(rows, {name: spec() for name in ("a", "b", "B")})
    assert table.option_ids == ("B", "a", "b")
    assert table.option.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table.start.tolist() == [0, 1, 2] * 3
    assert table.outcome.tolist() == [1, 2, 3] * 3
