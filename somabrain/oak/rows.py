"""What is known of an option from a state, whatever it is known from: runs, steps of episodes, or prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from somabrain.oak.learning import effective_runs, row_utility
from somabrain.oak.model import FAIL, ModelRow, Option, OptionModel
from somabrain.oak.subtasks import Dynamics
from somabrain.oak.world import World
from somabrain.ports import ReadTransaction
from somabrain.tenancy import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRow:
    """A row with the weight of its evidence and where it is from; `utility` is U(i, o)."""

    row: ModelRow
    evidence: float
    utility: float
    source: Literal["executed", "predicted"]


def rows_of_option(
    tx: ReadTransaction, namespace: Namespace, world: World, option: Option, *, after: int, limit: int
) -> list[KnownRow]:
    """Rows of starts above `after`, ascending, executed before predicted ones; of at most `limit` starts."""
    executed = tx.rows(namespace, option_id=option.option_id, after=after, limit=limit)
    found = [_executed(row, option) for row in executed]
    if option.option_id in world.models:
        model = world.models[option.option_id]
        first = int(np.searchsorted(model.start, after + 1))
        last = min(first + limit, model.start.size)
        found += [_predicted(world, model, place, option) for place in range(first, last)]
    if option.option_id in world.table.action_ids:
        action, pairs = world.table.action_ids.index(option.option_id), world.dynamics
        places = np.flatnonzero((pairs.action == action) & (pairs.start > after))[:limit]
        found += [_stepped(pairs, int(place), option.option_id) for place in places]
    found.sort(key=lambda known: (known.row.start, known.source))
    starts = sorted({known.row.start for known in found})[:limit]
    return [known for known in found if known.row.start in set(starts)]


def rows_of_state(tx: ReadTransaction, namespace: Namespace, world: World, number: int) -> list[KnownRow]:
    """Rows that start in a prototype, by option id, executed before predicted ones; of active options."""
    found = [
        _executed(row, world.options[row.option_id])
        for row in tx.rows(namespace, start=number)
        if row.option_id in world.options
    ]
    pairs = world.dynamics
    found += [
        _stepped(pairs, place, world.table.action_ids[int(pairs.action[place])])
        for place in range(int(pairs.pair_at[number]), int(pairs.pair_at[number + 1]))
    ]
    for option_id, model in world.models.items():
        place = int(np.searchsorted(model.start, number))
        if place < model.start.size and model.start[place] == number:
            found.append(_predicted(world, model, place, world.options[option_id]))
    return sorted(found, key=lambda known: (known.row.option_id, known.source))


def _executed(row: ModelRow, option: Option) -> KnownRow:
    return KnownRow(
        row=row,
        evidence=effective_runs(row.z, option.spec.alpha),
        utility=row_utility(row, option.spec.kappa),
        source="executed",
    )


def _predicted(world: World, model: OptionModel, place: int, option: Option) -> KnownRow:
    probability = float(model.probability[place])
    row = ModelRow(
        option_id=model.option_id,
        start=int(model.start[place]),
        z=0.0,
        executions=0,
        duration=float(model.duration[place]),
        reward=float(model.reward[place]),
        feature=probability,
        outcomes=(FAIL, model.target),
        probability=(1 - probability, probability),
        reach=(0.0, float(model.reach[place])),
    )
    weight = world.local.prediction_weight
    return KnownRow(row=row, evidence=weight, utility=row_utility(row, option.spec.kappa), source="predicted")


def _stepped(pairs: Dynamics, place: int, option_id: str) -> KnownRow:
    span = slice(int(pairs.offset[place]), int(pairs.offset[place + 1]))
    probability = tuple(pairs.probability[span].tolist())
    reward, count = float(pairs.reward[place]), int(pairs.count[place])
    row = ModelRow(
        option_id=option_id,
        start=int(pairs.start[place]),
        z=1.0,
        executions=count,
        duration=1.0,
        reward=reward,
        feature=0.0,
        outcomes=(FAIL, *pairs.outcome[span].tolist()),
        probability=(max(0.0, 1 - sum(probability)), *probability),
        reach=(0.0, *pairs.reach[span].tolist()),
    )
    return KnownRow(row=row, evidence=float(count), utility=reward, source="executed")


def named_prototypes(rows: list[KnownRow]) -> Iterator[int]:
    """The prototypes that rows name."""
    for known in rows:
        yield known.row.start
        yield from (number for number in known.row.outcomes if number != FAIL)
