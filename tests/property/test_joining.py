"""The planner's table is what executions, predictions and steps say together, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from somabrain.oak.learning import effective_runs, patched, primitive_table, rewarded, row_table, stepped, updated
from somabrain.oak.model import (
    FAIL,
    Arrivals,
    Mark,
    ModelRow,
    OptionModel,
    OptionSpec,
    PrimitiveRow,
    PrimitiveTable,
    RowTable,
)
from somabrain.oak.planner import compile_graph
from somabrain.oak.planner.graph import NARROW
from somabrain.oak.subtasks import Dynamics, dynamics
from tests.bits import differences
from tests.reference.decision_worlds import (
    LOSS_PRICE,
    SPEC,
    TIME_PRICE,
    DecisionWorld,
    random_decision_world,
    random_steps,
)
from tests.reference.planner_worlds import PARAMETERS

WEIGHT = 10.0

Slow = dict[tuple[str, int], dict[str, object]]
"""Rows by (option id, start)."""


@pytest.mark.parametrize("block", range(4))
def test_the_table_is_that_of_the_formulas(block: int) -> None:
    """Against one row after the other, in dictionaries; whatever the order in which things come."""
    joined = alone = 0
    for seed in range(block * 100, block * 100 + 100):
        random = Random(seed)
        world = random_decision_world(random, states=8, actions=3, options=3, radius=4)
        models = [*world.models]
        executed = _executed(random, [model.option_id for model in models] + ["declared"])
        names = [*(model.option_id for model in models), "declared", *world.table.action_ids]
        active = dict.fromkeys(random.sample(names, random.randint(1, len(names))), SPEC)
        random.shuffle(models)
        table = row_table(
            executed,
            active,
            predicted=models,
            primitives=world.dynamics,
            action_ids=world.table.action_ids,
            prediction_weight=WEIGHT,
        )
        wanted = _by_the_book(executed, set(active), models, world.dynamics, world.table.action_ids)
        _compare(table, wanted)
        joined += sum(0 < float(share) < 1 for share in table.prediction_share)
        alone += int(((table.prediction_share == 1) & ~table.primitive).sum())
    assert joined > 50
    assert alone > 300


def test_a_patched_table_and_its_graph_are_as_if_built_afresh() -> None:
    """New rows, rows with other outcomes, and rows that differ in numbers only, of predicted options and others."""
    shared = kept = 0
    for seed in range(300):
        random = Random(seed)
        world = random_decision_world(random, states=8, actions=3, options=3, radius=4)
        names = [*(model.option_id for model in world.models), "declared", "other"]
        active = dict.fromkeys([*names, *world.table.action_ids], SPEC)

        executed = {(row.option_id, row.start): row for row in _executed(random, names)}
        before = _built(world, executed, active)
        changed = [
            replace(row, z=min(1.0, row.z + 0.01), executions=row.executions + 1, reward=row.reward / 2)
            for row in executed.values()
            if random.random() < 0.1
        ]
        if random.random() < 0.5:
            changed += [row for row in _executed(random, names) if random.random() < 0.1]
        executed.update(latest := {(row.option_id, row.start): row for row in changed})
        found = patched(before, list(latest.values()), active, predicted=world.models, prediction_weight=WEIGHT)
        shared += found.outcome is before.outcome
        kept += _as_afresh(before, found, _built(world, executed, active))
    assert 100 < shared < 250
    assert 80 < kept <= shared


def test_a_table_patched_with_steps_and_its_graph_are_as_if_built_afresh() -> None:
    """Steps taken before, new outcomes, pairs, actions and states, ends that take all pairs of an action; and runs."""
    shared = kept = gone = 0
    for seed in range(400):
        random = Random(seed)
        world = random_decision_world(random, states=8, actions=3, options=3, radius=4)
        names = [*(model.option_id for model in world.models), "declared"]
        executed = {(row.option_id, row.start): row for row in _executed(random, names)}
        active = dict.fromkeys([*names, *world.table.action_ids], SPEC)
        if random.random() < 0.2:
            del active[world.table.action_ids[0]]
        before = _built(world, executed, active)
        lived = _lived(random, world)
        active.update(dict.fromkeys(lived.table.action_ids[3:], SPEC))
        changed = [replace(row, reward=row.reward / 2) for row in executed.values() if random.random() < 0.05]
        executed.update({(row.option_id, row.start): row for row in changed})
        found = patched(
            before,
            changed,
            active,
            predicted=world.models,
            primitives=lived.dynamics,
            action_ids=lived.table.action_ids,
            prediction_weight=WEIGHT,
        )
        shared += found.outcome is before.outcome
        kept += _as_afresh(before, found, _built(lived, executed, active))
        gone += not set(found.option_ids).issuperset(before.option_ids)
    assert 50 < shared < 350
    assert 40 < kept <= shared
    assert gone > 20


def _as_afresh(before: RowTable, found: RowTable, after: RowTable) -> bool:
    """Compares a patched table and its graph with those built afresh; whether the graph kept its edges."""
    assert differences(found, after) == []
    graph = compile_graph(before, PARAMETERS)
    updated_graph = compile_graph(found, PARAMETERS, graph)
    assert differences(updated_graph, compile_graph(after, PARAMETERS)) == []
    return updated_graph.edge_outcome is graph.edge_outcome


def test_edges_have_one_order_whatever_the_numbers_of_states() -> None:
    """Numbers of more than 16 bits are sorted in another way."""
    for seed in range(50):
        rows = random_decision_world(Random(seed), states=8, actions=3, options=3, radius=4).rows
        far = replace(
            rows,
            start=rows.start * np.int32(NARROW),
            outcome=np.where(rows.outcome == FAIL, FAIL, rows.outcome * NARROW).astype(np.int32),
        )
        near, wide = compile_graph(rows, PARAMETERS), compile_graph(far, PARAMETERS)
        assert wide.size > NARROW > near.size
        for name in ("arriving", "leaving_rows", "edge_of", "edge_row", "edge_outcome", "weight", "outgoing"):
            assert np.array_equal(getattr(near, name), getattr(wide, name)), (seed, name)


def _lived(random: Random, world: DecisionWorld) -> DecisionWorld:
    """The world after more steps; its options were not worked out anew."""
    table, ids, states = world.table, world.table.action_ids, world.table.states
    rows, ends = random_steps(random, states=states, actions=len(ids))
    kind = random.choice(("again", "anew", "grown", "ended"))
    if kind == "again":
        rows = [_again(random, table, pair) for pair in random.sample(range(table.start.size), 5)]
        ends = []
    elif kind == "anew":
        rows, ends = random.sample(rows, 2), []
    elif kind == "grown":
        ids, states = (*ids, "act:3"), states + 2
        rows, ends = random_steps(random, states=states, actions=len(ids))
    else:
        rows, ends = [], [Arrivals(number=number, arrivals=3, endings=2, marks=Mark(0)) for number in range(states)]
        ends = random.sample(ends, random.choice((1, states)))
    lived = updated(table, rows, ends, ids, states)
    process = dynamics(lived, time_price=TIME_PRICE, loss_price=LOSS_PRICE)
    return replace(world, table=lived, dynamics=process)


def _again(random: Random, table: PrimitiveTable, pair: int) -> PrimitiveRow:
    """A known outcome of a pair, once more."""
    span = slice(int(table.offset[pair]), int(table.offset[pair + 1]))
    known = PrimitiveRow(
        start=int(table.start[pair]),
        action=int(table.action[pair]),
        reward=float(table.reward[pair]),
        loss=float(table.loss[pair]),
        refused=0,
        fresh=bool(table.fresh[pair]),
        outcomes=tuple(table.outcome[span].tolist()),
        counts=tuple(table.outcome_count[span].tolist()),
    )
    return stepped(
        known, known.start, known.action, outcome=random.choice(known.outcomes), reward=0.0, ok=True, fresh=False
    )


def _built(world: DecisionWorld, rows: Mapping[object, ModelRow], active: Mapping[str, OptionSpec]) -> RowTable:
    return row_table(
        list(rows.values()),
        active,
        predicted=world.models,
        primitives=world.dynamics,
        action_ids=world.table.action_ids,
        prediction_weight=WEIGHT,
    )


def _executed(random: Random, option_ids: list[str]) -> list[ModelRow]:
    rows: list[ModelRow] = []
    for option_id in option_ids:
        for start in range(8):
            if random.random() < 0.3:
                outcomes = tuple(sorted(random.sample([FAIL, *range(8)], random.randint(1, 4))))
                shares = [random.randint(1, 5) for _ in outcomes]
                probability = tuple(share / sum(shares) for share in shares)
                rows.append(
                    ModelRow(
                        option_id=option_id,
                        start=start,
                        z=random.choice((0.05, 0.4, 0.99, 1.0)),
                        executions=random.randint(1, 50),
                        duration=random.uniform(1, 9),
                        reward=random.uniform(-5, 5),
                        feature=random.random(),
                        outcomes=outcomes,
                        probability=probability,
                        reach=tuple(0.0 if y == FAIL else 0.9 * p for y, p in zip(outcomes, probability, strict=True)),
                    )
                )
    random.shuffle(rows)
    return rows


def _by_the_book(
    executed: list[ModelRow],
    active: set[str],
    models: list[OptionModel],
    process: Dynamics,
    action_ids: tuple[str, ...],
) -> Slow:
    predicted: Slow = {}
    for model in models:
        for index, start in enumerate(model.start.tolist()):
            p, reward = float(model.probability[index]), float(model.reward[index])
            cells = {model.target: (p, float(model.reach[index]))}
            if p < 1:
                cells[FAIL] = (1 - p, 0.0)
            duration = float(model.duration[index])
            predicted[model.option_id, start] = _row(cells, WEIGHT, 1.0, 0, duration, reward, SPEC.kappa * p + reward)
            predicted[model.option_id, start]["feature"] = p
    found = dict(predicted)
    for row in executed:
        cells = dict(zip(row.outcomes, zip(row.probability, row.reach, strict=True), strict=True))
        n = effective_runs(row.z, SPEC.alpha)
        forecast = predicted.get((row.option_id, row.start))
        m = WEIGHT * (1 - row.z) if forecast else 0.0
        if forecast is None or m == 0:
            utility = SPEC.kappa * row.feature + row.reward
            entry = _row(cells, n, 0.0, row.executions, row.duration, row.reward, utility)
        else:
            share = m / (m + n)
            other = forecast["cells"]
            assert isinstance(other, dict)
            cells = {
                y: tuple(
                    share * other.get(y, (0.0, 0.0))[which] + (1 - share) * cells.get(y, (0.0, 0.0))[which]
                    for which in (0, 1)
                )
                for y in {*cells, *other}
            }
            mixed = {
                name: share * float(str(forecast[name])) + (1 - share) * float(getattr(row, name))
                for name in ("duration", "reward", "feature")
            }
            utility = SPEC.kappa * mixed["feature"] + mixed["reward"]
            entry = _row(cells, m + n, share, row.executions, mixed["duration"], mixed["reward"], utility)
        found[row.option_id, row.start] = entry
    for pair in range(process.start.size):
        span = slice(int(process.offset[pair]), int(process.offset[pair + 1]))
        cells = {
            y: (p, reach)
            for y, p, reach in zip(
                process.outcome[span].tolist(),
                process.probability[span].tolist(),
                process.reach[span].tolist(),
                strict=True,
            )
        }
        count, reward = int(process.count[pair]), float(process.reward[pair])
        cells[FAIL] = (0.001 / (count + 0.001), 0.0)
        key = (action_ids[process.action[pair]], int(process.start[pair]))
        found[key] = _row(cells, float(count), 1.0, count, 1.0, reward, reward)
        found[key]["primitive"] = True
    return {key: row for key, row in found.items() if key[0] in active}


def _row(
    cells: object, evidence: float, share: float, executions: int, duration: float, reward: float, utility: float
) -> dict[str, object]:
    return {
        "cells": cells,
        "evidence": evidence,
        "prediction_share": share,
        "primitive": False,
        "executions": executions,
        "duration": duration,
        "reward": reward,
        "utility": utility,
    }


def _compare(table: RowTable, wanted: Slow) -> None:
    keys = [
        (table.option_ids[option], start)
        for option, start in zip(table.option.tolist(), table.start.tolist(), strict=True)
    ]
    assert keys == sorted(wanted)
    assert list(table.option_ids) == sorted({option_id for option_id, _ in wanted})
    for index, key in enumerate(keys):
        row = wanted[key]
        for name in ("evidence", "prediction_share", "primitive", "executions", "duration", "reward", "utility"):
            assert getattr(table, name)[index] == pytest.approx(row[name], rel=1e-12, abs=1e-15), (key, name)
        cells = row["cells"]
        assert isinstance(cells, dict)
        span = slice(int(table.offset[index]), int(table.offset[index + 1]))
        assert table.outcome[span].tolist() == sorted(cells)
        for which, values in enumerate((table.probability[span], table.reach[span])):
            assert values.tolist() == pytest.approx([cells[y][which] for y in sorted(cells)], rel=1e-12, abs=1e-15)


def test_contrary_experience_wins_in_the_end() -> None:
    """A prediction of certain success against runs that all fail: P falls to what they say."""
    model = OptionModel(
        option_id="o",
        target=1,
        start=np.array([0], dtype=np.int32),
        action=np.array([0], dtype=np.int32),
        probability=np.array([1], dtype=np.float32),
        reach=np.array([0.999], dtype=np.float32),
        reward=np.array([0], dtype=np.float32),
        duration=np.array([1], dtype=np.float32),
    )
    values = []
    for runs in (0, 1, 5, 20, 100, 1000):
        z = 1 - (1 - SPEC.alpha) ** runs
        rows = [
            ModelRow(
                option_id="o",
                start=0,
                z=z,
                executions=runs,
                duration=3.0,
                reward=0.0,
                feature=0.0,
                outcomes=(2,),
                probability=(1.0,),
                reach=(0.9,),
            )
        ]
        table = row_table(rows if runs else [], {"o": SPEC}, predicted=[model], prediction_weight=WEIGHT)
        values.append(float(table.probability[table.outcome == 1].sum()))
        assert math.fsum(table.probability.tolist()) == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert values[-1] < 1e-12


def test_a_table_brought_up_to_date_is_the_table_built_afresh() -> None:
    """After changed pairs, new pairs, new actions, new states and states that turned out to be ends, or not."""
    for seed in range(200):
        random = Random(seed)
        states, actions = random.randint(1, 12), random.randint(1, 4)
        before, ended = random_steps(random, states=states, actions=actions)
        grown, grown_actions = states + random.randint(0, 3), actions + random.randint(0, 2)
        after, changed_ends = random_steps(random, states=grown, actions=grown_actions)
        after = random.sample(after, random.randint(0, len(after)))
        ids = tuple(f"act:{number}" for number in range(grown_actions))
        table = updated(primitive_table(before, ended, ids[:actions], states), after, changed_ends, ids, grown)
        rows = {(row.start, row.action): row for row in (*before, *after)}
        arrivals = {one.number: one for one in (*ended, *changed_ends)}
        _same(table, primitive_table(list(rows.values()), list(arrivals.values()), ids, grown))


def _same(one: PrimitiveTable, other: PrimitiveTable) -> None:
    for name in PrimitiveTable.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        assert np.array_equal(left, right), name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype


def test_steps_are_counted() -> None:
    """Rows after random steps hold the sums of those steps; a late reward counts as if it had been there."""
    for seed in range(100):
        random = Random(seed)
        row: PrimitiveRow | None = None
        steps = [
            (random.randint(0, 3), random.uniform(-2, 2), random.choice((None, True, False)))
            for _ in range(random.randint(1, 20))
        ]
        for number, (outcome, reward, ok) in enumerate(steps):
            row = stepped(row, 4, 1, outcome=outcome, reward=reward, ok=ok, fresh=number == 0)
        assert row is not None
        extra = random.uniform(-3, 3)
        late = rewarded(row, before=steps[-1][1], extra=extra)
        rewards = [reward for _, reward, _ in steps[:-1]] + [steps[-1][1] + extra]
        assert (row.start, row.action, row.fresh) == (4, 1, True)
        assert row.refused == sum(ok is False for _, _, ok in steps)
        assert dict(zip(row.outcomes, row.counts, strict=True)) == {
            y: sum(outcome == y for outcome, _, _ in steps) for y in sorted({outcome for outcome, _, _ in steps})
        }
        assert late.reward == pytest.approx(sum(rewards))
        assert late.loss == pytest.approx(sum(max(0.0, -reward) for reward in rewards), abs=1e-12)
        assert late.loss >= 0
        assert rewarded(late, before=rewards[-1], extra=-extra).loss == pytest.approx(row.loss, abs=1e-12)


def test_many_rows_join_in_well_under_a_second() -> None:
    """400,000 predicted rows and 60,000 pairs, as at 10,000 prototypes with 500 options."""
    rng = np.random.default_rng(1)
    rows = 800
    models = [
        OptionModel(
            option_id=f"disc:{number:04d}",
            target=number,
            start=np.sort(rng.choice(15_000, rows, replace=False)).astype(np.int32),
            action=np.zeros(rows, dtype=np.int32),
            probability=rng.random(rows, dtype=np.float32),
            reach=rng.random(rows, dtype=np.float32),
            reward=rng.random(rows, dtype=np.float32),
            duration=rng.random(rows, dtype=np.float32),
        )
        for number in range(500)
    ]
    world = random_decision_world(Random(1), states=15_000, actions=4, options=0, radius=1)
    active = dict.fromkeys([*(model.option_id for model in models), *world.table.action_ids], SPEC)
    started = time.perf_counter()
    table = row_table(
        [],
        active,
        predicted=models,
        primitives=world.dynamics,
        action_ids=world.table.action_ids,
        prediction_weight=WEIGHT,
    )
    assert time.perf_counter() - started < 2
    assert table.start.size == 400_000 + world.dynamics.start.size
