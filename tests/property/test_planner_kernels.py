"""Compiled or plain, the planner gives the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from somabrain.oak.kernels import Kernel
from somabrain.oak.model import FAIL, Plan
from somabrain.oak.planner import Distances, Graph, compile_graph, plan, toward
from somabrain.oak.planner.halving import NEITHER, halve
from somabrain.oak.planner.merging import merge, raised
from somabrain.oak.planner.policy import iterate_kernel
from somabrain.oak.planner.search import Labels, settle, settle_forward, shortest, walk
from somabrain.oak.planner.settling import route_kernel, settle_kernel, walk_kernel, within_kernel
from tests.kernels import restored
from tests.reference.decision_worlds import random_decision_world
from tests.reference.planner import Row, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts

KERNELS: tuple[Kernel[..., object], ...] = (
    settle_kernel,
    route_kernel,
    walk_kernel,
    within_kernel,
    halve,
    iterate_kernel,
)
APART = 10
"""Between the numbers of one small graph's prototypes and the next one's."""


def worlds() -> Iterator[tuple[Graph, list[int]]]:
    """Small ones full of ties, larger ones that were explored, and none at all."""
    for seed in range(160):
        random = seeded(seed)
        rows = random_rows(random, prototypes=30 if seed % 4 == 0 else 7)
        yield compile_graph(table(rows), PARAMETERS), random_goals(random, rows)
    for seed in range(3):
        world = random_decision_world(Random(seed), states=60, actions=4, options=8, radius=6)
        yield compile_graph(world.rows, PARAMETERS), [seed, 59 - seed]
    for seed in range(12):
        yield compile_graph(table(wide_rows(seeded(seed))), PARAMETERS), [seed % 3]
    yield compile_graph(table([]), PARAMETERS), [0]


def side_by_side(seed: int, count: int = 40) -> tuple[Graph, list[int]]:
    """As many small graphs that share no prototype, in one table, and the goals of all of them."""
    random = seeded(seed)
    rows: list[Row] = []
    goals: set[int] = set()
    for first in range(0, count * APART, APART):
        some = random_rows(random)
        goals.update(first + goal for goal in random_goals(random, some) if goal < APART)
        rows += [
            replace(
                row,
                option_id=f"{row.option_id}:{first}" if first % 4 else row.option_id,
                start=first + row.start,
                outcomes={y if y < 0 else first + y: cell for y, cell in row.outcomes.items()},
            )
            for row in some
        ]
    return compile_graph(table(rows), PARAMETERS), sorted(goals)


def wide_rows(random: Random) -> list[Row]:
    """Moves and options with few outcomes and with many, some of which fail."""
    rows = []
    for start in range(20):
        for number in range(3):
            reached = random.sample([y for y in range(24) if y != start], random.choice((1, 2, 4, 5, 9)))
            share = random.choice((0.9, 1.0)) / len(reached)
            outcomes = dict.fromkeys(reached, (share, 0.999 * share))
            rows.append(Row(option_id=f"o{number}", start=start, outcomes=outcomes, primitive=number > 0))
    return rows


def shortcuts(random: Random, length: int = 30) -> list[Row]:
    """A long row of prototypes, safe step by step, with ways of all lengths that are the less safe the longer."""
    rows = []
    for start in range(length):
        for number, span in enumerate((1, *random.sample(range(1, 9), 3))):
            share = 0.99 if number == 0 else random.choice((0.98, 0.96, 0.9, 0.7)) ** span
            end = min(start + span, length) if number < 3 else max(start - span, 0)
            if end != start:
                rows.append(
                    Row(option_id=f"o{number}", start=start, outcomes={end: (share, share), FAIL: (1 - share, 0)})
                )
    return rows


def early(found: Distances) -> list[tuple[int, ...]]:
    """Canonical paths from labels of a search that stopped at its start, over prices raised along the best path."""
    paths: list[tuple[int, ...]] = []
    merged = found.merged
    for start in range(min(found.graph.size, 40)):
        if start in found.goals or found.cost(start) is None:
            continue
        prices = raised(merged.prices, walk(merged, merged.prices, found.labels, start), 693_147)
        paths.append(walk(merged, prices, settle(merged, prices, until=start), start))
        assert shortest(merged, prices, start) == paths[-1]
    return paths


@pytest.mark.usefixtures("as_before")
def test_compiled_and_plain_searches_give_the_same_bits() -> None:
    """D, hops, policy values, plans and their alternatives; also where searches stop early."""
    pytest.importorskip("numba")
    known = list(worlds())
    before = [toward(graph, goals) for graph, goals in known]
    paths = [early(found) for found in before]
    plans = [_plans(found) for found in before]
    for one in KERNELS:
        one.compile()
    halves = {graph.policy.half < graph.policy.starts.size for graph, _ in known}
    assert halves == {False, True}
    for found, (graph, goals), path, planned in zip(before, known, paths, plans, strict=True):
        assert _policy_bits(compile_graph(graph.rows, PARAMETERS)) == _policy_bits(graph)
        again = toward(graph, goals)
        assert _bits(found.labels) == _bits(again.labels)
        assert found.policy.tobytes() == again.policy.tobytes()
        assert early(again) == path
        assert _plans(again) == planned
    assert sum(map(len, paths)) > 300


@pytest.mark.usefixtures("as_before")
def test_ten_thousand_graphs_give_the_same_bits() -> None:
    """Labels backward and forward, policy values, and of each graph a plan, its alternatives, and a shorter one."""
    pytest.importorskip("numba")
    known = [side_by_side(seed) for seed in range(250)]
    before = [_everything(graph, goals) for graph, goals in known]
    for one in KERNELS:
        one.compile()
    planned = others = shortened = 0
    for (graph, goals), seen in zip(known, before, strict=True):
        assert _everything(graph, goals) == seen
        planned += sum(one.route is not None for one, _ in seen.plans)
        others += sum(len(one.alternatives) for one, _ in seen.plans)
        shortened += sum(one.route != short.route for one, short in seen.plans)
    assert planned > 4000
    assert others > 2000
    assert shortened > 400


@pytest.mark.usefixtures("as_before")
def test_graphs_of_many_equal_costs_give_the_same_bits() -> None:
    """Hundreds of prototypes, whose edges cost one of a few weights: heaps are deep and ties are many."""
    pytest.importorskip("numba")
    known = []
    for seed in range(12):
        random = seeded(seed)
        rows = random_rows(random, prototypes=600, options=8, density=0.8)
        known.append((compile_graph(table(rows), PARAMETERS), random_goals(random, rows)))
    before = [_everything(graph, goals) for graph, goals in known]
    for one in KERNELS:
        one.compile()
    assert [_everything(graph, goals) for graph, goals in known] == before


@pytest.mark.usefixtures("as_before")
def test_plans_of_every_length_have_the_same_bits() -> None:
    """Where the cheapest plan is long and each shorter one costs more; also their alternatives."""
    pytest.importorskip("numba")
    known = [
        (compile_graph(table(shortcuts(seeded(seed))), PARAMETERS), [30] if seed % 2 else [28, 30])
        for seed in range(30)
    ]
    before = [_of_every_length(toward(graph, goals)) for graph, goals in known]
    for one in KERNELS:
        one.compile()
    assert [_of_every_length(toward(graph, goals)) for graph, goals in known] == before
    dearer = sum(len({one.route.cost for one in plans if one.route}) for plans in before)
    assert dearer > 600


def test_a_search_for_no_goal_settles_nothing() -> None:
    """And one in a graph without rows neither."""
    for rows in ([], random_rows(seeded(1))):
        merged = merge(compile_graph(table(rows), PARAMETERS), [])
        assert not settle(merged, merged.prices).hops.any()


@pytest.mark.parametrize("density", [0.02, 0.1, 0.4])
def test_moves_that_have_a_way_back_cross_between_the_halves(density: float) -> None:
    """Wherever they can: in worlds made of two halves, also such that fall apart; others are halved somehow."""
    for seed in range(100):
        random = seeded(seed)
        side = [random.randrange(2) for _ in range(30)]
        leads: list[set[int]] = [set() for _ in side]
        for x, y in combinations(range(30), 2):
            if side[x] != side[y] and random.random() < density:
                leads[x].add(y)
                leads[y].add(x)
        half = _halved(leads)
        assert all(half[x] != half[y] for x, reached in enumerate(leads) for y in reached)
        for reached in leads:
            reached.update(random.sample(range(30), 2))
        assert set(_halved(leads)) <= {0, 1}


def _halved(leads: list[set[int]]) -> list[int]:
    half = np.full(len(leads), NEITHER)
    at = np.cumsum([0, *map(len, leads)])
    halve(at, np.array([y for reached in leads for y in sorted(reached)], dtype=np.int64), half)
    found: list[int] = half.tolist()
    return found


@pytest.fixture
def as_before() -> Iterator[None]:
    with restored(KERNELS):
        yield


def _bits(labels: Labels) -> tuple[bytes, bytes]:
    assert labels.cost.dtype == labels.hops.dtype == np.int64
    return labels.cost.tobytes(), labels.hops.tobytes()


def _policy_bits(graph: Graph) -> tuple[int, bytes, bytes]:
    return graph.policy.half, graph.policy.starts.tobytes(), graph.policy.probability.tobytes()


def _plans(found: Distances) -> list[object]:
    known = starts([])[:1] + list(range(min(found.graph.size, 12)))
    return [plan(found, start=start, at_target=False, max_options=20, alternatives=2) for start in known]


def _of_every_length(found: Distances) -> list[Plan]:
    return [
        plan(found, start=start, at_target=False, max_options=limit, alternatives=2)
        for start in (0, 11)
        for limit in range((found.hops(start) or 0) + 2)
    ]


class _Seen(NamedTuple):
    backward: tuple[bytes, bytes]
    forward: list[tuple[bytes, bytes]]
    policy: bytes
    plans: list[tuple[Plan, Plan]]


def _everything(graph: Graph, goals: list[int]) -> _Seen:
    found = toward(graph, goals)
    known = range(goals[0] % 3, graph.size, APART)
    return _Seen(
        backward=_bits(found.labels),
        forward=[_bits(settle_forward(graph, start)) for start in known[:3]],
        policy=found.policy.tobytes(),
        plans=[
            (
                plan(found, start=start, at_target=False, max_options=20, alternatives=2),
                plan(found, start=start, at_target=False, max_options=start % 3, alternatives=0),
            )
            for start in known
        ],
    )
