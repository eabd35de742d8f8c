"""The cheapest plan is the cheapest, and which of equals it is depends on nothing but the rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from somabrain.oak.model import Plan, PlanParameters, Route
from somabrain.oak.planner import Distances, compile_graph, plan, toward
from tests.reference import planner as book
from tests.reference.planner import GOAL, Row, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts


def distances(rows: list[Row], goals: list[int], parameters: PlanParameters = PARAMETERS) -> Distances:
    """All of the planner but the answer."""
    return toward(compile_graph(table(rows), parameters), goals)


def answer(found: Distances, start: int, max_options: int = 100, alternatives: int = 0) -> Plan:
    """The plan from a known start."""
    return plan(found, start=start, at_target=False, max_options=max_options, alternatives=alternatives)


def shape(route: Route, goals: list[int]) -> tuple[int, int, list[book.Edge]]:
    """A route as the book has it: (cost, hops, edges)."""
    edges = [(step.option_id, GOAL if step.end in goals else step.end) for step in route.steps]
    return route.cost, len(edges), edges


@pytest.mark.parametrize("block", range(20))
def test_distances_and_plans_are_those_of_the_book(block: int) -> None:
    """10,000 random graphs: D and hops from everywhere by Bellman and Ford, and the plan from one start."""
    planned = 0
    for seed in range(block * 500, block * 500 + 500):
        random = seeded(seed)
        rows = random_rows(random)
        goals = random_goals(random, rows)
        found = distances(rows, goals)
        graph = book.edges(rows, goals, PARAMETERS)
        best = book.distances(graph)
        everywhere = [x for x in starts(rows) if x not in goals]
        for x in everywhere:
            assert (found.cost(x), found.hops(x)) == best.get(x, (None, None)), (seed, x)
        reaching = [x for x in everywhere if x in best]
        if reaching:
            start = random.choice(reaching)
            route = answer(found, start).route
            path = book.canonical(graph, start)
            assert route is not None
            assert shape(route, goals) == (*best[start], path), seed
            assert [step.start for step in route.steps] == book.sources(start, path), seed
            planned += 1
    assert planned > 250


def test_distances_in_larger_worlds() -> None:
    """Up to 100 prototypes and 12 options, by Bellman and Ford."""
    reached = 0
    for seed in range(40):
        random = seeded(seed)
        rows = random_rows(random, prototypes=100, options=12, density=0.3)
        goals = random_goals(random, rows)
        found = distances(rows, goals)
        graph = book.edges(rows, goals, PARAMETERS)
        best = book.distances(graph)
        for x in set(starts(rows)).difference(goals):
            assert (found.cost(x), found.hops(x)) == best.get(x, (None, None)), (seed, x)
            route = answer(found, x).route
            if route is not None:
                assert shape(route, goals) == (*best[x], book.canonical(graph, x)), (seed, x)
                reached += 1
    assert reached > 1000


def test_within_a_horizon_the_plan_is_the_best_of_all_paths_so_short() -> None:
    """Against the enumeration of all paths, by (cost, hops, option ids and targets)."""
    cut = 0
    for seed in range(1500):
        random = seeded(seed)
        rows = random_rows(random, density=0.7)
        goals = random_goals(random, rows)
        found = distances(rows, goals)
        graph = book.edges(rows, goals, PARAMETERS)
        for start in starts(rows):
            if start in goals:
                continue
            hops = found.hops(start)
            for horizon in range(1, 6):
                best = min(book.paths(graph, start, horizon), default=None)
                route = answer(found, start, horizon).route
                assert (None if route is None else shape(route, goals)) == best, (seed, start, horizon)
                cut += best is not None and hops is not None and hops > horizon
    assert cut > 300


def test_insertion_order_does_not_matter() -> None:
    """Rows and outcomes in any order give the same answer to the last bit, alternatives included."""
    for seed in range(300):
        random = seeded(seed)
        rows = random_rows(random)
        goals = random_goals(random, rows)
        shuffled = [
            replace(row, outcomes=dict(random.sample(sorted(row.outcomes.items()), len(row.outcomes)))) for row in rows
        ]
        random.shuffle(shuffled)
        one, other = distances(rows, goals), distances(shuffled, goals[::-1])
        for start in starts(rows):
            assert answer(one, start, 20, 3) == answer(other, start, 20, 3), seed


def test_what_is_elsewhere_does_not_matter() -> None:
    """Rows of other options over other prototypes leave every answer as it is."""
    for seed in range(200):
        random = seeded(seed)
        rows = random_rows(random)
        goals = random_goals(random, rows)
        elsewhere = [
            replace(
                row,
                option_id=random.choice("az") + row.option_id,
                start=row.start + 200,
                outcomes={y if y < 0 else y + 200: cell for y, cell in row.outcomes.items()},
            )
            for row in random_rows(random)
        ]
        ids = {(row.option_id, row.start): row for row in elsewhere}
        one, other = distances(rows, goals), distances([*rows, *ids.values()], goals)
        for start in starts(rows):
            before, after = answer(one, start, 20, 2), answer(other, start, 20, 2)
            if rows:
                assert before == after, seed


def test_goals_are_one_vertex() -> None:
    """Many goals give the answer of the table in which they are a single prototype and nothing starts there.

    With one run of evidence for each row, so that doubt, which looks at the goals apart, is the same.
    """
    planned = 0
    for seed in range(1500):
        random = seeded(seed)
        rows = [replace(row, evidence=1.0) for row in random_rows(random, prototypes=6)]
        goals = random.sample(range(6), 3)
        single = [replace(row, outcomes=_together(row, goals)) for row in rows if row.start not in goals]
        many, one = distances(rows, goals), distances(single, [100])
        for start in set(range(6)).difference(goals):
            assert many.policy_value(start) == pytest.approx(one.policy_value(start), abs=1e-9)
            left, right = answer(many, start).route, answer(one, start).route
            assert (left is None) == (right is None), seed
            if left is not None and right is not None:
                assert shape(left, goals) == shape(right, [100]), seed
                assert left.success_probability == right.success_probability
                planned += 1
    assert planned > 500


def _together(row: Row, goals: list[int]) -> dict[int, tuple[float, float]]:
    outcomes: dict[int, tuple[float, float]] = {}
    for y, (p, reach) in sorted(row.outcomes.items()):
        vertex = 100 if y in goals else y
        before = outcomes.get(vertex, (0.0, 0.0))
        outcomes[vertex] = (before[0] + p, before[1] + reach)
    return outcomes
