"""Acting step by step is worth at least what the plan costs, never goes round in circles, and leaves in time."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from somabrain.oak.model import FAIL, Reason
from somabrain.oak.planner import (
    Distances,
    LocalOption,
    act,
    candidates,
    compile_graph,
    frontier,
    nearest,
    plan,
    toward,
    untried,
)
from somabrain.oak.planner.acting import INTERRUPT_SLACK
from somabrain.oak.planner.costs import weigh, weigh_one
from somabrain.oak.subtasks import solve
from tests.reference import planner as book
from tests.reference.decision_worlds import GAMMA, DecisionWorld, random_decision_world
from tests.reference.planner import Row, table
from tests.reference.planner_worlds import PARAMETERS, random_goals, random_rows, seeded, starts

Chain = dict[tuple[int, str | None], dict[tuple[int, str | None], float]]
"""Discounted odds from (state, running option) to the next."""


def ready(world: DecisionWorld, goals: list[int], *, local: bool) -> Distances:
    """Distances in a world that was explored, with the local goal option or without."""
    model = solve(world.dynamics, goals, radius=3, states_max=8, gamma=GAMMA)
    option = LocalOption(option_id="goal:x", dynamics=world.dynamics, model=model, evidence=10.0, kappa=1.5)
    return toward(compile_graph(world.rows, PARAMETERS), goals, local=option if local else None)


@pytest.mark.parametrize("block", range(8))
def test_following_act_is_worth_what_the_distance_says(block: int) -> None:
    """2,400 random worlds: the discounted reach of the loop that interrupts, by linear algebra, is at least e^(−D)."""
    checked = 0
    for seed in range(block * 300, block * 300 + 300):
        random = Random(seed)
        world = random_decision_world(
            random, states=random.randint(4, 14), actions=3, options=random.randint(0, 4), radius=random.randint(1, 6)
        )
        goals = random.sample(range(world.table.states), random.choice((1, 1, 2)))
        found = ready(world, goals, local=random.random() < 0.5)
        chain = _chain(world, found)
        worth = _worth(chain, found.goals)
        for (state, running), value in worth.items():
            cost = found.cost(state)
            if running is None and cost is not None and state not in found.goals:
                assert value >= math.exp(-1e-6 * cost) - 1e-4, (seed, state)
                checked += 1
    assert checked > 500


def _chain(world: DecisionWorld, found: Distances) -> Chain:
    """Each state without a running option, and whatever follows from there."""
    policies = {
        model.option_id: dict(zip(model.start.tolist(), model.action.tolist(), strict=True)) for model in world.models
    }
    if found.merged.local is not None:
        local = found.merged.local.model
        policies["goal:x"] = dict(zip(local.start.tolist(), local.action.tolist(), strict=True))
    process = world.dynamics
    chain: Chain = {}
    left: list[tuple[int, str | None]] = [(state, None) for state in range(world.table.states)]
    while left:
        here = state, running = left.pop()
        if here in chain:
            continue
        chain[here] = {}
        decision = act(found, at=state, running=running)
        option_id = decision.option_id
        if option_id is None:
            continue
        action = policies[option_id][state] if option_id in policies else world.table.action_ids.index(option_id)
        begin, end = int(process.pair_at[state]), int(process.pair_at[state + 1])
        pair = begin + process.action[begin:end].tolist().index(action)
        for cell in range(int(process.offset[pair]), int(process.offset[pair + 1])):
            y = int(process.outcome[cell])
            after = option_id if y in policies.get(option_id, {}) else None
            chain[here][y, after] = float(process.reach[cell])
            left.append((y, after))
    return chain


def _worth(chain: Chain, goals: frozenset[int]) -> dict[tuple[int, str | None], float]:
    keys = list(chain)
    place = {key: number for number, key in enumerate(keys)}
    matrix, right = np.eye(len(keys)), np.zeros(len(keys))
    for key, after in chain.items():
        if key[0] in goals:
            right[place[key]] = 1
            continue
        for other, chance in after.items():
            matrix[place[key], place[other]] -= chance
    return dict(zip(keys, np.linalg.solve(matrix, right).tolist(), strict=True))


def test_a_fickle_world_needs_interruption() -> None:
    """The way to 9 begins toward 1; on it the agent may be put at 5, where a step leads to the goal.

    Going on with the option would lead back to 1. Only by leaving it there does the agent get as much as it may.
    """
    worth = math.exp(-0.001)
    rows = [
        Row(option_id="disc:one", start=0, outcomes=_sure(1, 2), prediction_share=1.0, duration=2.0),
        Row(option_id="disc:one", start=5, outcomes=_sure(1, 6), prediction_share=1.0, duration=6.0),
        Row(option_id="disc:two", start=1, outcomes=_sure(9, 3), prediction_share=1.0, duration=3.0),
        Row(option_id="act:go", start=5, outcomes={9: (1.0, worth)}, prediction_share=1.0, primitive=True),
        Row(option_id="act:go", start=0, outcomes={5: (0.5, worth / 2)}, prediction_share=1.0, primitive=True),
    ]
    found = toward(compile_graph(table(rows), PARAMETERS), [9])
    begun = act(found, at=0)
    assert (begun.option_id, begun.switched, begun.expected_duration) == ("disc:one", False, 5.0)
    left = act(found, at=5, running="disc:one")
    assert (left.option_id, left.switched, left.expected_duration) == ("act:go", True, 1.0)
    assert act(found, at=0, running="disc:one").option_id == "disc:one"
    arrived = act(found, at=9, running="act:go")
    assert arrived.done
    assert (arrived.option_id, arrived.success_probability) == (None, 1.0)


def _sure(end: int, steps: int) -> dict[int, tuple[float, float]]:
    return {end: (1.0, math.exp(-0.001 * steps))}


def test_the_slack_is_what_it_is_said_to_be() -> None:
    """An option that is dearer by the slack is kept, by one more it is left."""
    for more, kept in ((INTERRUPT_SLACK, True), (INTERRUPT_SLACK + 1, False)):
        rows = [
            Row(option_id="a", start=0, outcomes={1: (1.0, math.exp(-0.002))}, prediction_share=1.0),
            Row(option_id="b", start=0, outcomes={1: (1.0, math.exp(-0.002 - more * 1e-6))}, prediction_share=1.0),
        ]
        decision = act(toward(compile_graph(table(rows), PARAMETERS), [1]), at=0, running="b")
        assert (decision.option_id == "b") is kept
        assert decision.switched is not kept


def test_running_options_without_a_row() -> None:
    """Undeclared ones are left; declared ones go on exactly until the target is no nearer than here."""
    rows = [Row(option_id=f"s{x}", start=x, outcomes=_sure(x + 1, 1), prediction_share=1.0) for x in range(4)]
    found = toward(compile_graph(table(rows), PARAMETERS), [4])
    assert act(found, at=1, running="disc:x").option_id == "s1"
    assert act(found, at=1, running="mine", targets=[3]).option_id == "mine"
    assert act(found, at=1, running="mine", targets=[3, 0]).option_id == "mine"
    assert act(found, at=1, running="mine", targets=[3]).expected_duration == 1.0
    assert act(found, at=3, running="mine", targets=[3]).option_id == "s3"
    assert act(found, at=3, running="mine", targets=[2]).option_id == "s3"
    assert act(found, at=3, running="mine", targets=[]).option_id == "s3"
    assert act(found, at=None, running="mine", targets=[3]).option_id == "mine"
    assert act(found, at=77, running="mine", targets=[3]).option_id == "mine"
    assert act(found, at=4, running="mine", targets=[3]).done
    assert act(found, at=None, running="mine", targets=[77]).reason is Reason.UNKNOWN_START
    assert act(found, at=77, running="mine", targets=[77]).reason is Reason.UNREACHABLE
    assert act(found, at=None, running="disc:x").reason is Reason.UNKNOWN_START
    assert act(found, at=None, at_target=True).done


def test_acting_begins_as_the_plan_does_and_knows_what_runs() -> None:
    """First option, reasons and duration as planned; Q of whatever runs by the book, improbable outcomes included."""
    kept = left = 0
    for seed in range(1200):
        random = seeded(seed)
        rows = random_rows(random)
        goals = random_goals(random, rows)
        found = toward(compile_graph(table(rows), PARAMETERS), goals)
        best = book.distances(book.edges(rows, goals, PARAMETERS))
        for start in starts(rows):
            planned = plan(found, start=start, at_target=False, max_options=100, alternatives=0)
            begun = act(found, at=start)
            assert begun.reason == planned.reason
            assert begun.success_probability == found.policy_value(start)
            if planned.route is not None and planned.route.steps:
                assert begun.option_id == planned.route.steps[0].option_id
                assert begun.executions == planned.route.steps[0].executions
                assert begun.expected_duration == pytest.approx(planned.route.duration)
            if start in goals:
                assert candidates(found, start, 10) == ()
                continue
            here = best.get(start, (math.inf, 0))[0]
            listed = candidates(found, start, 100)
            costs = {row.option_id: _cost(rows, row, goals, best) for row in rows if row.start == start}
            assert {one.option_id: one.cost for one in listed} == costs
            order = [(math.inf if one.cost is None else one.cost, one.option_id) for one in listed]
            assert order == sorted(order)
            assert candidates(found, start, 2) == listed[:2]
            for option_id, cost in costs.items():
                keep = cost is not None and cost <= here + INTERRUPT_SLACK
                assert (act(found, at=start, running=option_id).option_id == option_id) == (
                    keep or begun.option_id == option_id
                ), (seed, start, option_id)
                kept, left = kept + keep, left + (not keep)
            values = [one.success_probability for one in listed]
            usable = {
                row.option_id for row in rows if row.start == start and (row.primitive or row.prediction_share < 1)
            }
            tops = [value for one, value in zip(listed, values, strict=True) if one.option_id in usable]
            assert max(tops, default=0.0) == pytest.approx(found.policy_value(start), abs=1e-8)
    assert min(kept, left) > 1000


def _cost(rows: list[Row], row: Row, goals: list[int], best: dict[int, tuple[int, int]]) -> int | None:
    """Q of a row: DESIGN §6.9."""
    if not row.live:
        return None
    held = book.doubt(rows, row.option_id, PARAMETERS.time_price) * (1 - row.prediction_share)
    through = [
        book.micro_nats(reach / (1 - row.again(1)) * (row.weight / (row.weight + held))) + best[y][0]
        for y, (_, reach) in book.merged(row, goals).items()
        if reach > 0 and y in best
    ]
    return min(through, default=None)


def test_one_chance_weighs_as_many_do() -> None:
    """The scalar and the array version give the same micro-nats."""
    random = Random(3)
    chances = [0.0, 1.0, 1 + 1e-15, 1e-200, *(random.random() ** random.choice((1, 30)) for _ in range(2000))]
    assert [weigh_one(chance) for chance in chances] == weigh(np.array(chances)).tolist()


def test_the_local_goal_option_is_an_edge_like_any_other() -> None:
    """D, hops and the plan are those of the table in which it is a predicted row into a single goal."""
    used = 0
    for seed in range(100):
        random = Random(seed)
        world = random_decision_world(random, states=10, actions=3, options=2, radius=3)
        goals = random.sample(range(10), random.choice((1, 2)))
        found, without = ready(world, goals, local=True), ready(world, goals, local=False)
        local = found.merged.local
        assert local is not None
        edges = {x: dict(leaving) for x, leaving in _edges(without).items()}
        for start, reach in zip(local.model.start.tolist(), local.model.reach.tolist(), strict=True):
            edges.setdefault(start, {})["goal:x", book.GOAL] = book.micro_nats(reach)
        best = book.distances(edges)
        for x in set(range(10)).difference(goals):
            assert (found.cost(x), found.hops(x)) == best.get(x, (None, None)), (seed, x)
            assert found.policy_value(x) == without.policy_value(x)
            for horizon in (1, 2, 20):
                route = plan(found, start=x, at_target=False, max_options=horizon, alternatives=2).route
                shortest = min(book.paths(edges, x, horizon), default=None) if horizon < 20 else None
                if horizon < 20:
                    assert (route is None) == (shortest is None), (seed, x)
                if route is None:
                    continue
                taken = [(one.option_id, book.GOAL if one.end in goals else one.end) for one in route.steps]
                if shortest is not None:
                    assert (route.cost, len(taken), taken) == shortest
                else:
                    assert taken == book.canonical(edges, x)
                last = route.steps[-1]
                if last.option_id == "goal:x":
                    index = local.model.start.tolist().index(last.start)
                    assert (last.probability, last.executions) == (float(local.model.probability[index]), 0)
                    assert last.utility == 1.5 * last.probability + last.reward
                    assert last.end in goals
                    assert 0 < route.success_probability_lower <= route.success_probability
                    going_on = act(found, at=last.start, running="goal:x")
                    if horizon == 20:
                        assert (going_on.option_id, going_on.expected_duration) == ("goal:x", last.duration)
                        used += 1
    assert used > 100


def _edges(found: Distances) -> book.Edges:
    rows = found.graph.rows
    cells: list[Row] = []
    for index, start in enumerate(rows.start.tolist()):
        span = slice(int(rows.offset[index]), int(rows.offset[index + 1]))
        outcomes = {
            y: (p, reach)
            for y, p, reach in zip(
                rows.outcome[span].tolist(), rows.probability[span].tolist(), rows.reach[span].tolist(), strict=True
            )
        }
        cells.append(
            Row(
                option_id=rows.option_ids[rows.option[index]],
                start=start,
                outcomes=outcomes,
                evidence=float(rows.evidence[index]),
                prediction_share=1.0,
                primitive=bool(rows.primitive[index]),
            )
        )
    return book.edges(cells, found.goals, PARAMETERS)


def test_the_frontier_is_where_something_is_untried() -> None:
    """And what is untried there is ordered by how often its first tries led to something new."""
    for seed in range(300):
        world = random_decision_world(Random(seed), states=9, actions=4, options=1, radius=3)
        known, actions = world.table, range(4)
        tried = set(zip(known.start.tolist(), known.action.tolist(), strict=True))
        open_states = [
            state
            for state in range(9)
            if not known.terminal[state] and any((state, action) not in tried for action in actions)
        ]
        assert frontier(known) == tuple(open_states)
        fresh = known.fresh.tolist()
        firsts = {a: [fresh[i] for i, b in enumerate(known.action.tolist()) if a == b] for a in actions}
        for state in open_states:
            left = [action for action in actions if (state, action) not in tried]
            left.sort(key=lambda a: (-(sum(firsts[a]) + 1) / (len(firsts[a]) + 2), known.action_ids[a]))
            assert untried(known, state) == tuple(left)
        graph = compile_graph(world.rows, replace(PARAMETERS, min_probability=0.0))
        away = {y: toward(graph, [y]) for y in open_states}
        for start in range(9):
            far = {y: away[y].cost(start) for y in open_states}
            reached = sorted((cost, y) for y, cost in far.items() if cost is not None)
            found = nearest(graph, open_states, start, len(reached))
            assert found == tuple(y for _, y in reached)
        assert nearest(graph, open_states, None, 2) == tuple(open_states[:2])
        assert set(nearest(graph, open_states, 0, 9)) == set(open_states)


def test_fail_is_nowhere() -> None:
    """A row that only fails is a candidate without a cost, and running it is given up."""
    rows = [
        Row(option_id="a", start=0, outcomes={FAIL: (1.0, 0.0)}),
        Row(option_id="b", start=0, outcomes=_sure(1, 1)),
    ]
    found = toward(compile_graph(table(rows), PARAMETERS), [1])
    assert [(one.option_id, one.cost is None) for one in candidates(found, 0, 5)] == [("b", False), ("a", True)]
    assert act(found, at=0, running="a").option_id == "b"
