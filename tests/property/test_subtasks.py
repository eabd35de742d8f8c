"""Options toward sets of goals: the best policy, exactly its model, from exactly the ball."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.oak.model import PrimitiveTable
from somabrain.oak.subtasks import Dynamics, Subtask, dynamics, solve, solve_many, solve_sparse
from tests.reference.processes import (
    GAMMA,
    LOSS_PRICE,
    TIME_PRICE,
    ball,
    best,
    branching,
    neighbours,
    of_policy,
    random_table,
    simulated,
    table,
)

EVERYTHING = 10_000


def process(known: PrimitiveTable) -> Dynamics:
    return dynamics(known, time_price=TIME_PRICE, loss_price=LOSS_PRICE)


def toward(known: PrimitiveTable, goals: list[int], *, radius: int = 12, states_max: int = EVERYTHING) -> Subtask:
    return solve(process(known), goals, radius=radius, states_max=states_max, gamma=GAMMA)


def policy_of(subtask: Subtask) -> dict[int, int]:
    return dict(zip(subtask.start.tolist(), subtask.action.tolist(), strict=True))


def assert_same(one: Subtask, other: Subtask) -> None:
    for field in fields(Subtask):
        assert getattr(one, field.name).tobytes() == getattr(other, field.name).tobytes(), field.name


@st.composite
def questions(draw: st.DrawFn) -> tuple[PrimitiveTable, list[int]]:
    states = draw(st.integers(5, 40))
    known = random_table(Random(draw(st.integers(0, 2**32))), states=states, actions=draw(st.integers(1, 4)))
    return known, draw(st.lists(st.integers(0, states - 1), min_size=1, max_size=3, unique=True))


@given(questions())
@settings(max_examples=60, deadline=None)
def test_the_process_is_what_was_counted(question: tuple[PrimitiveTable, list[int]]) -> None:
    known, _ = question
    dyn = process(known)
    odds, discounted = branching(known, discounted=False), branching(known, discounted=True)
    assert list(zip(dyn.start.tolist(), dyn.action.tolist(), strict=True)) == sorted(odds)
    for pair, key in enumerate(sorted(odds)):
        span = slice(dyn.offset[pair], dyn.offset[pair + 1])
        assert dyn.pair_at[key[0]] <= pair < dyn.pair_at[key[0] + 1]
        np.testing.assert_allclose(dyn.probability[span], odds[key][dyn.outcome[span]], rtol=1e-14)
        np.testing.assert_allclose(dyn.reach[span], discounted[key][dyn.outcome[span]], rtol=1e-13)
        fails = 1 - dyn.probability[span].sum()
        assert fails == pytest.approx(TIME_PRICE / (dyn.count[pair] + TIME_PRICE), rel=1e-6)
    ahead = neighbours(known)
    ended = neighbours(
        PrimitiveTable(
            **{f.name: getattr(known, f.name) for f in fields(PrimitiveTable)} | {"terminal": ~known.terminal}
        )
    )
    for state in range(known.states):
        after = dyn.successor[dyn.successor_at[state] : dyn.successor_at[state + 1]].tolist()
        before = dyn.incoming[dyn.incoming_at[state] : dyn.incoming_at[state + 1]].tolist()
        assert after == sorted(ahead[state])
        assert before == [other for other in range(known.states) if state in ahead[other]]
        assert dyn.ended[dyn.ended_at[state] : dyn.ended_at[state + 1]].tolist() == sorted(ended[state])


@given(questions(), st.integers(0, 6), st.integers(0, 45))
@settings(max_examples=150, deadline=None)
def test_the_ball_is_what_breadth_first_search_finds(
    question: tuple[PrimitiveTable, list[int]], radius: int, states_max: int
) -> None:
    known, goals = question
    inside = ball(known, goals, radius=radius, states_max=states_max)
    assert toward(known, goals, radius=radius, states_max=states_max).start.tolist() == sorted(inside)


@given(questions(), st.integers(1, 12), st.integers(1, 45))
@settings(max_examples=150, deadline=None)
def test_no_policy_reaches_more(question: tuple[PrimitiveTable, list[int]], radius: int, states_max: int) -> None:
    """Against Howard's policy iteration in the same ball."""
    known, goals = question
    subtask = toward(known, goals, radius=radius, states_max=states_max)
    inside = ball(known, goals, radius=radius, states_max=states_max)
    exact = best(branching(known, discounted=True), inside, set(goals))
    assert dict(zip(subtask.start.tolist(), subtask.reach.tolist(), strict=True)) == pytest.approx(exact, abs=1e-6)


def test_no_policy_reaches_more_among_all_of_them() -> None:
    """Against every deterministic policy of worlds so small that they can be listed."""
    compared = 0
    for seed in range(150):
        random = Random(seed)
        known = random_table(random, states=5, actions=2)
        goals = {random.randrange(5)}
        subtask = toward(known, list(goals))
        odds = branching(known, discounted=True)
        choices = {state: [a for s, a in odds if s == state] for state, _ in odds if state not in goals}
        most: dict[int, float] = {}
        for actions in product(*choices.values()):
            for state, value in of_policy(odds, dict(zip(choices, actions, strict=True)), goals).items():
                most[state] = max(value, most.get(state, 0.0))
        found = dict(zip(subtask.start.tolist(), subtask.reach.tolist(), strict=True))
        assert found == pytest.approx({state: value for state, value in most.items() if value > 1e-12}, abs=1e-6)
        compared += len(found)
    assert compared > 200


@given(questions(), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_the_model_is_that_of_exactly_the_policy(question: tuple[PrimitiveTable, list[int]], radius: int) -> None:
    """P, P~, r̂, k̂ against dense linear algebra; and from a sparse factorisation, to 1e-6."""
    known, goals = question
    dyn = process(known)
    subtask = solve(dyn, goals, radius=radius, states_max=EVERYTHING, gamma=GAMMA)
    policy = policy_of(subtask)
    odds, discounted = branching(known, discounted=False), branching(known, discounted=True)
    starts = subtask.start.tolist()
    assert subtask.probability.tolist() == pytest.approx(list(of_policy(odds, policy, set(goals)).values()), abs=1e-9)
    assert subtask.reach.tolist() == pytest.approx(list(of_policy(discounted, policy, set(goals)).values()), abs=1e-9)
    if starts:
        rows = np.array([odds[state, policy[state]] for state in starts])[:, starts]
        mean = {
            (int(start), int(action)): float(reward)
            for start, action, reward in zip(dyn.start, dyn.action, dyn.reward, strict=True)
        }
        once = [mean[state, policy[state]] for state in starts]
        np.testing.assert_allclose(
            subtask.reward, np.linalg.solve(np.eye(len(starts)) - GAMMA * rows, once), rtol=1e-8, atol=1e-8
        )
        np.testing.assert_allclose(
            subtask.duration, np.linalg.solve(np.eye(len(starts)) - rows, np.ones(len(starts))), rtol=1e-8
        )
    assert (subtask.reach > 0).all()
    assert (subtask.reach <= subtask.probability).all()
    assert (subtask.probability <= 1).all()
    sparse = solve_sparse(dyn, goals, radius=radius, states_max=EVERYTHING, gamma=GAMMA)
    assert sparse.action.tolist() == subtask.action.tolist()
    for name in ("probability", "reach", "reward", "duration"):
        np.testing.assert_allclose(getattr(sparse, name), getattr(subtask, name), rtol=1e-6, atol=1e-6)


def test_what_sweeps_cannot_settle_is_factored() -> None:
    """A loop that leads on to the goal once in 10,000 rounds: P settles only after some 300,000 sweeps."""
    counts = {(0, 0): {1: 999_900, 2: 100}, (1, 0): {0: 1_000_000}}
    subtask = toward(table(counts, states=3), [2])
    unseen = TIME_PRICE / (1_000_000 + TIME_PRICE)
    stays, leaves = 0.9999 * (1 - unseen), 0.0001 * (1 - unseen)
    assert subtask.probability[0] == pytest.approx(leaves / (1 - stays * (1 - unseen)), rel=1e-9)
    assert subtask.duration[0] == pytest.approx((1 + stays) / (1 - stays * (1 - unseen)), rel=1e-9)


@pytest.mark.parametrize("better", [None, 0, 1, 2])
def test_the_lowest_of_equally_good_actions_is_taken(better: int | None) -> None:
    counts = {(0, action): {1: 4, 0: 3 if action == better else 4} for action in range(3)}
    assert toward(table(counts, states=2), [1]).action.tolist() == [better or 0]


def test_ways_that_are_equal_but_for_rounding_go_by_the_lowest_action() -> None:
    """Two ways of the same three steps in another order: their values differ in the last bit."""
    sink, goal = 5, 6
    differing = 0
    for seed in range(40):
        random = Random(seed)
        first, second, third = ((random.randint(1, 20), random.randint(1, 20)) for _ in range(3))
        ways = {
            (0, 0): (1, first),
            (1, 0): (2, second),
            (2, 0): (goal, third),
            (0, 1): (3, second),
            (3, 0): (4, third),
            (4, 0): (goal, first),
        }
        counts = {pair: {on: odds[0], sink: odds[1]} for pair, (on, odds) in ways.items()}
        alone = [
            toward(table({key: counts[key] for key in counts if key != (0, other)}, states=7), [goal]).reach[0]
            for other in (1, 0)
        ]
        assert alone[0] == pytest.approx(alone[1], rel=1e-14)
        differing += bool(alone[1] > alone[0])
        assert toward(table(counts, states=7), [goal]).action[0] == 0
    assert differing


@given(questions())
@settings(max_examples=50, deadline=None)
def test_more_goals_are_never_worse(question: tuple[PrimitiveTable, list[int]]) -> None:
    known, goals = question
    together = toward(known, goals)
    assert not set(together.start.tolist()) & set(goals)
    reach = dict(zip(together.start.tolist(), together.reach.tolist(), strict=True))
    for goal in goals:
        alone = toward(known, [goal])
        for start, value in zip(alone.start.tolist(), alone.reach.tolist(), strict=True):
            assert start in goals or reach[start] >= value - 1e-6
    assert_same(together, toward(known, [*reversed(goals), goals[0], known.states, known.states + 7]))


@given(questions())
@settings(max_examples=12, deadline=None)
def test_many_are_the_same_as_one_by_one(question: tuple[PrimitiveTable, list[int]]) -> None:
    known, _ = question
    dyn = process(known)
    many = dict(solve_many(dyn, range(known.states), radius=4, states_max=20, gamma=GAMMA))
    assert list(many) == list(range(known.states))
    for target, subtask in many.items():
        assert_same(subtask, solve(dyn, [target], radius=4, states_max=20, gamma=GAMMA))


def test_nothing_leads_out_of_a_terminal_state_but_into_it() -> None:
    counts = {(0, 0): {1: 1}, (1, 0): {2: 1}, (0, 1): {0: 9, 2: 1}}
    known = table(counts, states=3, terminal=[1])
    assert policy_of(toward(known, [1])) == {0: 0}
    assert policy_of(toward(known, [2])) == {0: 1}


def test_the_ways_of_a_worthless_state_end_there() -> None:
    """Two steps of a price that floors the discount: the product is no number, and neither is the option's value."""
    counts = {(0, 0): {1: 1}, (1, 0): {2: 1}}
    known = table(counts, states=3, rewards={(0, 0): -1e6, (1, 0): -1e6})
    subtask = toward(known, [2])
    assert subtask.start.tolist() == [1]
    assert subtask.reach[0] == pytest.approx(1e-200 / (1 + TIME_PRICE))


@pytest.mark.parametrize(
    ("counts", "states", "goals", "radius", "states_max"),
    [
        ({}, 0, [0], 12, 10),
        ({}, 1, [0], 12, 10),
        ({(0, 0): {0: 5}}, 1, [0], 12, 10),
        ({(0, 0): {1: 1}}, 3, [2], 12, 10),
        ({(0, 0): {1: 1}}, 2, [1], 0, 10),
        ({(0, 0): {1: 1}}, 2, [1], 12, 0),
        ({(0, 0): {1: 1}}, 2, [], 12, 10),
        ({(0, 0): {1: 1}}, 2, [0, 1], 12, 10),
    ],
)
def test_there_may_be_no_way(
    counts: dict[tuple[int, int], dict[int, int]], states: int, goals: list[int], radius: int, states_max: int
) -> None:
    dyn = process(table(counts, states=states))
    for method in (solve, solve_sparse):
        subtask = method(dyn, goals, radius=radius, states_max=states_max, gamma=GAMMA)
        assert [len(getattr(subtask, field.name)) for field in fields(Subtask)] == [0] * 6


def test_nothing_of_it_can_be_written() -> None:
    dyn = process(table({(0, 0): {1: 1}}, states=2))
    subtask = solve(dyn, [1], radius=1, states_max=1, gamma=GAMMA)
    arrays = [getattr(one, field.name) for one in (dyn, subtask) for field in fields(one)]
    assert not any(array.flags.writeable for array in arrays if isinstance(array, np.ndarray))


def test_executions_end_as_the_model_says() -> None:
    """10,000 runs of each of 20 options in the learned model: P within three standard errors, k̂ within five percent."""
    options = 0
    seed = 0
    while options < 20:
        seed += 1
        random = Random(seed)
        known = random_table(random, states=30, actions=3)
        goals = random.sample(range(known.states), 2)
        subtask = toward(known, goals, radius=6)
        policy = policy_of(subtask)
        middling = [row for row in range(len(policy)) if 0.1 < subtask.probability[row] < 0.95]
        if not middling:
            continue
        row = random.choice(middling)
        successes, steps = simulated(known, policy, set(goals), int(subtask.start[row]), runs=10_000, seed=seed)
        odds = float(subtask.probability[row])
        assert abs(successes / 10_000 - odds) <= 3 * math.sqrt(odds * (1 - odds) / 10_000), seed
        assert steps == pytest.approx(subtask.duration[row], rel=0.05), seed
        options += 1


def test_a_sure_way_is_preferred_to_a_dear_one() -> None:
    """Losses are charged: ten units of loss outweigh nine steps more."""
    counts = {(0, 0): Counter({10: 1000}), (0, 1): Counter({1: 1000})}
    counts |= {(state, 0): Counter({state + 1: 1000}) for state in range(1, 10)}
    assert toward(table(counts, states=11), [10]).action[0] == 0
    assert toward(table(counts, states=11, rewards={(0, 0): -10.0}), [10]).action[0] == 1
