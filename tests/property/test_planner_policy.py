"""The best policy's probability: exact in the model, never below the plan's, and what replanning achieves."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from somabrain.oak.model import FAIL
from somabrain.oak.planner import Distances, compile_graph, plan, toward
from tests.reference.planner import Row, best_policy, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts

STATES, OPTIONS, WORLDS, EPISODES = 60, 5, 25, 10

World = dict[tuple[int, str], dict[int, float]]
"""The true odds of where each (start, option) leads; FAIL stands for the end of it."""


def test_policy_values_are_the_best_of_all_policies() -> None:
    """Against every deterministic policy, each solved by linear algebra; also where plans may not go."""
    above = 0
    for seed in range(600):
        random = seeded(seed)
        rows = random_rows(random, prototypes=5, options=3)
        goals = random_goals(random, rows)
        found = toward(compile_graph(table(rows), PARAMETERS), goals)
        exact = best_policy(rows, goals)
        for start in starts(rows):
            value = 1.0 if start in goals else exact.get(start, 0.0)
            assert found.policy_value(start) == pytest.approx(value, abs=1e-8), (seed, start)
            answer = plan(found, start=start, at_target=False, max_options=10, alternatives=2)
            success = answer.route.success_probability if answer.route else 0.0
            assert answer.policy_probability == max(found.policy_value(start), success)
            assert answer.policy_probability <= 1
            above += answer.policy_probability > success + 0.05
            if any(row.prediction_share == 1 and not row.primitive for row in rows):
                continue  # purely predicted rows are in plans, but not in the policy
            assert success <= value + 1e-8, (seed, start)
            assert all(route.success_probability <= value + 1e-8 for route in answer.alternatives)
    assert above > 100


def test_sweeps_only_raise_the_values() -> None:
    """Stopping early by the cap gives a lower bound, so the cap can't promise too much."""
    for seed in range(100):
        random = seeded(seed)
        rows = random_rows(random)
        goals = random_goals(random, rows)
        before = np.zeros(0)
        for sweeps in (1, 2, 3, 5, 10_000):
            parameters = replace(PARAMETERS, policy_sweeps_max=sweeps)
            after = toward(compile_graph(table(rows), parameters), goals).policy
            if before.size:
                assert (after >= before - 1e-15).all()
            before = after


@pytest.mark.parametrize(("slip", "failing"), [(0.02, 0.3), (0.05, 1.0)])
def test_replanning_achieves_what_the_policy_promises(slip: float, failing: float) -> None:
    """Within .03 on the mean of 25 worlds learned from 200 runs a row, followed from every start.

    A share `failing` of all rows fails for good in a tenth of their runs. The bound is a property of such
    worlds: over eight sets of 25 the gap was .003 to .018. Where slips are many and some options fail much
    more than others, replanning along the cheapest path is not the best policy (slip .1, failing .3: .06 to .12).
    """
    promised: list[float] = []
    achieved: list[float] = []
    blind: list[float] = []
    for seed in range(WORLDS):
        random = seeded(seed)
        world = _world(random, slip, failing)
        found = toward(compile_graph(table(_learn(random, world)), PARAMETERS), [0])
        first: dict[int, str | None] = {0: None, FAIL: None}
        for start in range(1, STATES):
            answer = plan(found, start=start, at_target=False, max_options=20, alternatives=0)
            if answer.route is not None:
                promised.append(answer.policy_probability)
                blind.append(answer.route.success_probability)
                arrived = sum(_follow(random, world, found, first, start) for _ in range(EPISODES))
                achieved.append(arrived / EPISODES)
    assert len(promised) > WORLDS * STATES * 0.8
    assert abs(float(np.mean(achieved)) - float(np.mean(promised))) < 0.03
    assert float(np.mean(achieved)) > float(np.mean(blind)) + 0.01


def _world(random: Random, slip: float, failing: float) -> World:
    """Each option leads to one state of all, and by `slip` to three others; a tenth of the states are dead ends."""
    dead = random.sample(range(1, STATES), STATES // 10)
    world: World = {}
    for x in range(STATES):
        for number in range(OPTIONS):
            odds = dict.fromkeys(random.sample(range(STATES), 3), slip / 3)
            main = random.randrange(STATES)
            odds[main] = odds.get(main, 0.0) + 1 - slip
            if x not in dead:
                world[x, f"o{number}"] = odds
    for outcomes in world.values():
        if random.random() < failing:
            outcomes.update({y: p * 0.9 for y, p in outcomes.items()})
            outcomes[FAIL] = 0.1
    return world


def _learn(random: Random, world: World) -> list[Row]:
    """Rows with the frequencies of 200 runs, each of one step."""
    rows: list[Row] = []
    for (start, option_id), odds in world.items():
        seen = Counter(random.choices(list(odds), list(odds.values()), k=200))
        worth = math.exp(-PARAMETERS.time_price)
        cells = {y: (count / 200, 0.0 if y == FAIL else worth * count / 200) for y, count in seen.items()}
        rows.append(Row(option_id=option_id, start=start, outcomes=cells, evidence=39.0))
    return rows


def _follow(random: Random, world: World, found: Distances, first: dict[int, str | None], start: int) -> bool:
    """Whether replanning after each option arrives at 0 within 300 options. `first` remembers what plans begin with."""
    x = start
    for _ in range(300):
        if x not in first:
            route = plan(found, start=x, at_target=False, max_options=20, alternatives=0).route
            first[x] = route.steps[0].option_id if route else None
        option_id = first[x]
        if option_id is None:
            break
        odds = world[x, option_id]
        x = random.choices(list(odds), list(odds.values()))[0]
    return x == 0
