"""Alternatives: other options, at their true cost, found as the penalties say."""

from __future__ import annotations

from collections import Counter

from somabrain.oak.model import Route
from somabrain.oak.planner import compile_graph, plan, toward
from somabrain.oak.planner.plans import ALTERNATIVE_PENALTY, ATTEMPTS_PER_ALTERNATIVE
from tests.reference import planner as book
from tests.reference.planner import GOAL, Edge, Edges, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts


def test_alternatives_are_those_of_the_penalised_enumeration() -> None:
    """Each search minimises (cost with penalties, hops, edges) over all paths within the horizon."""
    found = 0
    for seed in range(400):
        random = seeded(seed)
        rows = random_rows(random, prototypes=6, density=0.6)
        goals = random_goals(random, rows)
        distances = toward(compile_graph(table(rows), PARAMETERS), goals)
        graph = book.edges(rows, goals, PARAMETERS)
        for start in starts(rows):
            count, horizon = random.randint(1, 4), random.randint(1, 6)
            answer = plan(distances, start=start, at_target=False, max_options=horizon, alternatives=count)
            if answer.route is None or not answer.route.steps:
                assert answer.alternatives == ()
                continue
            edges = [_edges(route, goals) for route in (answer.route, *answer.alternatives)]
            assert edges == _enumerated(graph, start, horizon, count), (seed, start)
            for route, taken in zip(answer.alternatives, edges[1:], strict=True):
                true = sum(graph[x][edge] for x, edge in zip(book.sources(start, taken), taken, strict=True))
                assert route.cost == true >= answer.route.cost
            found += len(answer.alternatives)
    assert found > 500


def _edges(route: Route, goals: list[int]) -> list[Edge]:
    return [(step.option_id, GOAL if step.end in goals else step.end) for step in route.steps]


def _enumerated(graph: Edges, start: int, horizon: int, count: int) -> list[list[Edge]]:
    """The plan and its alternatives."""
    everything = list(book.paths(graph, start, horizon))
    penalties: Counter[tuple[int, Edge]] = Counter()
    chosen = [min(everything)[2]]
    last = chosen[0]
    for _ in range(count * ATTEMPTS_PER_ALTERNATIVE):
        penalties.update(zip(book.sources(start, last), last, strict=True))
        last = min((_penalised(cost, start, path, penalties), hops, path) for cost, hops, path in everything)[2]
        if [edge[0] for edge in last] not in [[edge[0] for edge in path] for path in chosen]:
            chosen.append(last)
            if len(chosen) > count:
                break
    return chosen


def _penalised(cost: int, start: int, path: list[Edge], penalties: Counter[tuple[int, Edge]]) -> int:
    used = sum(penalties[key] for key in zip(book.sources(start, path), path, strict=True))
    return cost + ALTERNATIVE_PENALTY * used
