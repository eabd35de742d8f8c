"""The planner's answers on worlds small enough to work out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from somabrain.oak.model import FAIL, Advice, Plan, Reason, Route
from somabrain.oak.planner import Distances, compile_graph, plan, toward
from somabrain.oak.planner.costs import WEIGHT_MAX
from somabrain.oak.planner.routes import wilson_lower
from tests.reference.planner import Row, table
from tests.reference.planner_worlds import PARAMETERS


def sure(option_id: str, start: int, end: int, **facts: float) -> Row:
    """A row that always leads to `end`, in one step."""
    return Row(option_id=option_id, start=start, outcomes={end: (1.0, math.exp(-0.001))}, **facts)  # type: ignore[arg-type]


def distances(rows: list[Row], *goals: int) -> Distances:
    """Of `rows` to `goals` under the usual parameters."""
    return toward(compile_graph(table(rows), PARAMETERS), goals)


def ask(found: Distances, start: int | None, *, at_target: bool = False, max_options: int = 20) -> Plan:
    """A plan without alternatives."""
    return plan(found, start=start, at_target=at_target, max_options=max_options, alternatives=0)


def found_route(found: Distances, start: int, max_options: int = 20) -> Route:
    """The route of a plan that there must be."""
    route = ask(found, start, max_options=max_options).route
    assert route is not None
    return route


CHAIN = [sure("a", 0, 1), sure("b", 1, 2), sure("c", 2, 3)]


@pytest.mark.parametrize(
    ("rows", "goals", "start", "max_options", "reason"),
    [
        ([], [], None, 5, Reason.UNKNOWN_START),
        ([], [], 0, 5, Reason.NO_GOAL_STATE),
        (CHAIN, [], 0, 5, Reason.NO_GOAL_STATE),
        ([], [3], 0, 5, Reason.NO_OPTIONS),
        (CHAIN, [0], 3, 2, Reason.UNREACHABLE),
        (CHAIN, [77], 0, 2, Reason.UNREACHABLE),
        (CHAIN, [3], 77, 2, Reason.UNREACHABLE),
        (CHAIN, [3], 0, 2, Reason.UNREACHABLE_WITHIN_MAX_OPTIONS),
        (CHAIN, [3], 0, 0, Reason.UNREACHABLE_WITHIN_MAX_OPTIONS),
    ],
)
def test_the_first_reason_that_holds_is_given(
    rows: list[Row], goals: list[int], start: int | None, max_options: int, reason: Reason
) -> None:
    """And then there is no route, and the advice is to explore."""
    answer = ask(distances(rows, *goals), start, max_options=max_options)
    assert answer.reason is reason
    assert answer.route is None
    assert answer.alternatives == ()
    assert answer.advice is Advice.EXPLORE
    within = reason is Reason.UNREACHABLE_WITHIN_MAX_OPTIONS
    assert answer.policy_probability == (1.0 if within else 0.0)


@pytest.mark.parametrize(
    ("rows", "goals", "start"),
    [(CHAIN, [0, 3], 0), ([], [9], 9), (CHAIN, [3], None), ([], [], None), (CHAIN, [], 1)],
)
def test_at_the_target_there_is_nothing_to_do(rows: list[Row], goals: list[int], start: int | None) -> None:
    """Whether the start is a goal or a state, known or not, meets the target; before any other reason."""
    answer = ask(distances(rows, *goals), start, at_target=start not in goals)
    assert answer.reason is Reason.ALREADY_AT_TARGET
    assert answer.advice is Advice.FOLLOW
    assert answer.policy_probability == 1.0
    assert answer.route == Route(
        steps=(),
        success_probability=1.0,
        success_probability_lower=1.0,
        duration=0.0,
        reward=0.0,
        utility=0.0,
        cost=0,
    )


def test_nothing_found_still_says_what_the_policy_can_do() -> None:
    """An outcome too improbable to plan on counts for the policy."""
    rare = Row(option_id="a", start=0, outcomes={0: (0.0, 0.0), 1: (0.97, 0.97), 2: (0.03, 0.03)})
    answer = ask(distances([rare], 2), 0)
    assert answer.reason is Reason.UNREACHABLE
    assert answer.policy_probability == pytest.approx(0.03)


def test_a_retried_option_is_told_as_it_will_be_run() -> None:
    """Q = ½: twice as long, twice the reward, half the evidence; failure keeps its odds against success."""
    row = Row(
        option_id="a",
        start=0,
        outcomes={FAIL: (0.1, 0.0), 0: (0.5, 0.49), 1: (0.4, 0.38)},
        evidence=8.0,
        executions=11,
        duration=3.0,
        reward=-2.0,
        utility=0.7,
    )
    route = found_route(distances([row], 1), 0)
    step = route.steps[0]
    assert (step.option_id, step.start, step.end, step.executions) == ("a", 0, 1, 11)
    assert step.probability == pytest.approx(0.8)
    assert (step.duration, step.reward, step.utility) == (6.0, -4.0, 0.7)
    assert step.probability_lower == pytest.approx(wilson_lower(0.8, 4.0, 1.0))
    spread = (1 - 0.8**2 - 0.2**2) * 4 / 3
    mean = (0.1 + 4 * spread) / 5
    doubt = mean / (1 - mean)
    assert route.cost == math.ceil(1e6 * -math.log(0.38 / 0.51 * 4 / (4 + doubt)) - 1e-3)
    trusted = 0.8 * 4 / (4 + doubt)
    lower = math.exp(math.log(trusted) - math.sqrt((1 - trusted) / (trusted * (4 + doubt))))
    assert route.success_probability_lower == pytest.approx(lower)
    assert (route.duration, route.reward, route.utility) == (6.0, -4.0, 0.7)
    assert route.success_probability == pytest.approx(0.8)


def test_a_primitive_is_not_retried_but_the_policy_tries_again() -> None:
    """Its own start is dropped from the plan's odds; who replans stays and acts again."""
    row = Row(
        option_id="act:x",
        start=0,
        outcomes={0: (0.5, 0.5), 1: (0.5, 0.5)},
        primitive=True,
        prediction_share=1.0,
    )
    answer = ask(distances([row], 1), 0)
    assert answer.route is not None
    assert answer.route.success_probability == 0.5
    assert answer.route.cost == math.ceil(1e6 * math.log(2) - 1e-3)
    assert answer.policy_probability == pytest.approx(1.0)
    assert answer.advice is Advice.REPLAN


def test_an_option_that_never_leaves_is_not_used() -> None:
    """1 − q below 1e-9 gives no edge."""
    stuck = Row(option_id="a", start=0, outcomes={0: (1 - 1e-10, 0.9), 1: (1e-10, 1e-11)}, evidence=1e12)
    answer = ask(distances([stuck], 1), 0)
    assert answer.reason is Reason.UNREACHABLE
    assert answer.policy_probability == 0.0


def test_a_purely_predicted_row_is_planned_on_without_doubt() -> None:
    """And even where its evidence weighs nothing; the policy's odds are then at least the plan's."""
    row = Row(option_id="a", start=0, outcomes={1: (0.9, 0.9), FAIL: (0.1, 0.0)}, prediction_share=1.0, evidence=0.0)
    answer = ask(distances([row], 1), 0)
    assert answer.route is not None
    assert answer.route.cost == math.ceil(1e6 * -math.log(0.9) - 1e-3)
    assert answer.route.success_probability_lower == 0.0
    assert answer.policy_probability == answer.route.success_probability == 0.9
    assert answer.advice is Advice.FOLLOW


def test_goals_together_make_an_edge_that_none_of_them_would() -> None:
    """Two goals of .03 each are one of .06; its most probable member, the lowest of equals, is where it ends."""
    spread = {1: (0.94, 0.94), 5: (0.03, 0.03), 7: (0.03, 0.03)}
    rows = [Row(option_id="a", start=0, outcomes=spread)]
    assert ask(distances(rows, 5), 0).reason is Reason.UNREACHABLE
    route = found_route(distances(rows, 5, 7), 0)
    assert route.steps[0].end == 5
    assert route.success_probability == pytest.approx(0.06)
    uneven = {1: (0.9, 0.9), 5: (0.04, 0.04), 7: (0.06, 0.06)}
    assert found_route(distances([replace(rows[0], outcomes=uneven)], 7, 5), 0).steps[0].end == 7


def test_goals_together_may_cut_what_was_most_probable() -> None:
    """An outcome below the minimum stays only while nothing is more probable, the goals together included."""
    thin = {FAIL: (0.88, 0.0), 1: (0.04, 0.04), 2: (0.04, 0.04), 3: (0.04, 0.04)}
    rows = [Row(option_id="a", start=0, outcomes=thin), *(sure("b", 1, end) for end in (2,))]
    apart, together = distances(rows, 9), distances(rows, 2, 3)
    assert apart.graph.weight.size == 4
    assert together.merged.prices.edges[int(apart.graph.edge_of[1])] > WEIGHT_MAX
    assert found_route(together, 0).steps[0].end == 2


def test_equals_go_to_fewer_options_then_to_the_first_id() -> None:
    """1,000 + 1,000 against 2,000 micro-nats, and two options alike."""
    step, leap = {1: (1.0, math.exp(-0.001))}, {2: (1.0, math.exp(-0.002))}
    rows = [
        Row(option_id="a", start=0, outcomes=step, prediction_share=1.0),
        replace(sure("b", 1, 2), prediction_share=1.0),
        Row(option_id="y", start=0, outcomes=leap, prediction_share=1.0),
        Row(option_id="x", start=0, outcomes=leap, prediction_share=1.0),
    ]
    route = found_route(distances(rows, 2), 0)
    assert [one.option_id for one in route.steps] == ["x"]
    assert route.cost == 2000


def test_the_horizon_takes_the_dearer_way_that_is_short_enough() -> None:
    """Three sure steps, or one of a coin's odds."""
    coin = Row(option_id="z", start=0, outcomes={3: (0.5, 0.5), 9: (0.5, 0.5)})
    found = distances([*CHAIN, coin], 3)
    assert [step.option_id for step in found_route(found, 0, 3).steps] == ["a", "b", "c"]
    assert [step.option_id for step in found_route(found, 0, 2).steps] == ["z"]
    assert ask(found, 0, max_options=2).policy_probability == pytest.approx(1.0)


def test_distances_of_what_is_unknown() -> None:
    """Goals are at 0, others nowhere, also beyond the prototypes of the rows."""
    found = distances(CHAIN, 3, 40)
    assert (found.cost(3), found.cost(40), found.hops(40), found.policy_value(40)) == (0, 0, 0, 1.0)
    assert (found.cost(41), found.hops(41), found.policy_value(41)) == (None, None, 0.0)


def test_reach_that_underflows_is_the_dearest_edge() -> None:
    """Not an error: 2⁴⁰ micro-nats."""
    row = Row(option_id="a", start=0, outcomes={1: (1.0, 5e-324)}, evidence=1e-3)
    assert found_route(distances([row], 1), 0).cost == WEIGHT_MAX


def test_wilson_bound() -> None:
    """Values of the score interval; certainty and nothing seen as limits."""
    assert wilson_lower(1.0, 1.0, 1.0) == pytest.approx(0.5)
    assert wilson_lower(1.0, 20.0, 1.0) == pytest.approx(20 / 21)
    assert wilson_lower(0.5, 100.0, 1.959964) == pytest.approx(0.40383, abs=1e-5)
    assert wilson_lower(0.0, 5.0, 1.0) == 0.0
    assert wilson_lower(0.7, 0.0, 1.0) == 0.0
    assert wilson_lower(0.7, 0.0, 0.0) == 0.7


def test_an_alternative_is_told_when_there_is_one() -> None:
    """Two ways to a goal are a plan and an alternative; a third is not made up."""
    rows = [*CHAIN, Row(option_id="z", start=0, outcomes={3: (0.5, 0.5), 9: (0.5, 0.5)})]
    answer = plan(distances(rows, 3), start=0, at_target=False, max_options=20, alternatives=5)
    assert [[step.option_id for step in route.steps] for route in answer.alternatives] == [["z"]]
    lone = plan(distances(CHAIN, 3), start=0, at_target=False, max_options=20, alternatives=5)
    assert lone.alternatives == ()
