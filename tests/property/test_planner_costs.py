"""What an edge costs: never nothing, never more after a success, and never more for one option than for its steps."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from somabrain.oak.model import FAIL
from somabrain.oak.planner import compile_graph, plan, toward
from somabrain.oak.planner.costs import WEIGHT_MAX, weigh
from tests.reference.planner import LearnedRow, Row, doubt, micro_nats, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts

CHANCES = st.floats(min_value=0, max_value=1, exclude_min=True, allow_subnormal=True)


@given(st.lists(CHANCES, min_size=1))
def test_every_weight_is_that_of_the_formula(chances: list[float]) -> None:
    """Down to the smallest double, and at least 1."""
    weights = weigh(np.array(chances)).tolist()
    assert weights == [micro_nats(chance) for chance in chances]
    assert min(weights) >= 1


@given(CHANCES, CHANCES)
def test_the_less_probable_never_costs_less(one: float, other: float) -> None:
    """Weights fall as chances rise."""
    low, high = weigh(np.array(sorted((one, other)))).tolist()
    assert low >= high


def test_no_edge_is_free_and_no_sum_overflows() -> None:
    """1 ≤ w ≤ 2⁴⁰, also where rounding lifts a chance above 1 or sinks it to 0."""
    assert weigh(np.array([1.0, 1 + 1e-15, 0.0])).tolist() == [1, 1, WEIGHT_MAX]
    for seed in range(300):
        random = seeded(seed)
        rows = random_rows(random)
        goals = random_goals(random, rows)
        found = toward(compile_graph(table(rows), PARAMETERS), goals)
        assert (found.graph.weight >= 1).all()
        for start in starts(rows):
            cost, hops = found.cost(start), found.hops(start)
            assert (cost is None) == (hops is None)
            if cost is not None and hops is not None:
                assert cost >= hops >= 0


@given(
    alpha=st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.5, 1.0]),
    history=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([FAIL, 0, 1, 2, 5, 6, 7])), min_size=1, max_size=40),
    outcome=st.sampled_from([5, 6, 7, 8]),
)
def test_a_success_never_makes_its_outcome_less_trusted(
    alpha: float, history: list[tuple[int, int]], outcome: int
) -> None:
    """P' n'/(n' + u) of an outcome never falls by a run that ends in it, though that run may change u."""
    learned = [LearnedRow(option_id="o", start=start, alpha=alpha) for start in range(3)]
    for start, y in history:
        learned[start].run(y, math.exp(-PARAMETERS.time_price))
    subject = learned[history[-1][0]]
    before = _trust(learned, subject, outcome)
    subject.run(outcome, math.exp(-PARAMETERS.time_price))
    assert _trust(learned, subject, outcome) >= before - 1e-12


def _trust(learned: list[LearnedRow], subject: LearnedRow, outcome: int) -> float:
    rows = [row.row() for row in learned if row.runs]
    row = subject.row()
    graph = compile_graph(table(rows), PARAMETERS)
    index = [each.start for each in rows].index(row.start)
    if not row.live:
        return 0.0
    held = doubt(rows, "o", PARAMETERS.time_price)
    trust = row.weight / (row.weight + held)
    assert math.isclose(trust, float(graph.leaving.trust[index]), rel_tol=1e-12)
    return row.leaving().get(outcome, 0.0) * trust


def test_one_option_is_never_dearer_than_its_steps() -> None:
    """A predicted option that is worth the product of its primitive steps wins, by cost or by fewer hops."""
    for seed in range(3000):
        random = seeded(seed)
        rows: list[Row] = []
        reach, probability = 1.0, 1.0
        length = random.randint(2, 8)
        for x in range(length):
            tries = random.choice((1, 2, 3, 7, 50, 1000))
            known = tries / (tries + PARAMETERS.time_price)
            worth = math.exp(-PARAMETERS.time_price - 0.01 * random.choice((0, 0, 1, 2)))
            outcomes = {x + 1: (known, known * worth), FAIL: (1 - known, 0.0)}
            rows.append(_predicted("act", x, outcomes, primitive=True))
            reach *= known * worth
            probability *= known
        rows.append(_predicted("skill", 0, {length: (probability, reach), FAIL: (1 - probability, 0.0)}))
        found = toward(compile_graph(table(rows), PARAMETERS), [length])
        route = plan(found, start=0, at_target=False, max_options=20, alternatives=0).route
        assert route is not None
        assert [step.option_id for step in route.steps] == ["skill"], seed


def test_steps_cost_the_price_of_time_exactly() -> None:
    """A certain option of k steps costs 1,000 k micro-nats at the price of .001, however k is divided."""
    chances = np.exp(-PARAMETERS.time_price * np.arange(1, 100_000))
    assert weigh(chances).tolist() == list(range(1000, 100_000_000, 1000))


def _predicted(option_id: str, start: int, outcomes: dict[int, tuple[float, float]], *, primitive: bool = False) -> Row:
    return Row(option_id=option_id, start=start, outcomes=outcomes, prediction_share=1.0, primitive=primitive)
