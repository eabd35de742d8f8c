"""Compiled or plain, the planner gives the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from random import Random

import numpy as np
import pytest

from somabrain.oak.kernels import Kernel
from somabrain.oak.planner import Distances, Graph, compile_graph, plan, toward
from somabrain.oak.planner.halving import NEITHER, halve
from somabrain.oak.planner.merging import merge, raised
from somabrain.oak.planner.policy import iterate_kernel
from somabrain.oak.planner.search import Labels, settle, walk
from somabrain.oak.planner.settling import settle_kernel
from tests.reference.decision_worlds import random_decision_world
from tests.reference.planner import Row, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts

KERNELS: tuple[Kernel[..., None], ...] = (settle_kernel, halve, iterate_kernel)


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


def early(found: Distances) -> list[tuple[int, ...]]:
    """Canonical paths from labels of a search that stopped at its start, over prices raised along the best path."""
    paths: list[tuple[int, ...]] = []
    merged = found.merged
    for start in range(min(found.graph.size, 40)):
        if start in found.goals or found.cost(start) is None:
            continue
        prices = raised(merged.prices, walk(merged, merged.prices, found.labels, start), 693_147)
        paths.append(walk(merged, prices, settle(merged, prices, until=start), start))
    return paths


@pytest.mark.usefixtures("restored")
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
def restored() -> Iterator[None]:
    """Kernels as they were, so that other tests run the version they ran before."""
    before = [dict(vars(one)) for one in KERNELS]
    yield
    for one, state in zip(KERNELS, before, strict=True):
        vars(one).update(state)


def _bits(labels: Labels) -> tuple[bytes, bytes]:
    assert labels.cost.dtype == labels.hops.dtype == np.int64
    return labels.cost.tobytes(), labels.hops.tobytes()


def _policy_bits(graph: Graph) -> tuple[int, bytes, bytes]:
    return graph.policy.half, graph.policy.starts.tobytes(), graph.policy.probability.tobytes()


def _plans(found: Distances) -> list[object]:
    known = starts([])[:1] + list(range(min(found.graph.size, 12)))
    return [plan(found, start=start, at_target=False, max_options=20, alternatives=2) for start in known]
