"""The one place where model rows of all origins become the planner's table (DESIGN §5.5.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.learning.executions import effective_runs, row_utility
from somabrain.oak.model import FAIL, ModelRow, OptionModel, OptionSpec, RowTable
from somabrain.oak.subtasks import Dynamics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START_BITS = 32
"""A prototype number's share of a row's key."""


ROW_COLUMNS = ("evidence", "prediction_share", "primitive", "executions", "duration", "reward", "utility")
OUTCOME_COLUMNS = ("probability", "reach")
"""What is known of rows and of their outcomes; tables and blocks call it by the same names."""


class _Block(NamedTuple):
    """Rows of one origin as arrays, in any order; all but the last three of one length."""

    key: Ints
    """option number and start"""
    evidence: Floats
    prediction_share: Floats
    primitive: NDArray[np.bool_]
    executions: Ints
    duration: Floats
    reward: Floats
    utility: Floats
    width: Ints
    """how many outcomes"""
    outcome: NDArray[np.int32]
    probability: Floats
    reach: Floats


class _Predicted(NamedTuple):
    """Rows of all predicted options: (B,) arrays by ascending `key`."""

    key: Ints
    target: NDArray[np.int32]
    kappa: Floats
    probability: Floats
    reach: Floats
    reward: Floats
    duration: Floats

    def at(self, rows: NDArray[np.bool_]) -> _Predicted:
        columns: Sequence[Any] = self
        return _Predicted(*(column[rows] for column in columns))


class _Line(NamedTuple):
    """An executed row, prediction joined."""

    evidence: float
    prediction_share: float
    duration: float
    reward: float
    utility: float
    outcomes: tuple[int, ...]
    probability: tuple[float, ...]
    reach: tuple[float, ...]


def row_table(
    rows: Sequence[ModelRow],
    options: Mapping[str, OptionSpec],
    *,
    predicted: Sequence[OptionModel] = (),
    primitives: Dynamics | None = None,
    action_ids: Sequence[str] = (),
    prediction_weight: float = 0.0,
) -> RowTable:
    """The table of what is known of `options`, whatever the order in which it is given; others are left out.

    `rows` are executed; `predicted` holds at most one model for an option; `primitives` has the pairs of the actions
    `action_ids`, by action number. A prediction weighs as much as `prediction_weight` runs, and less the more
    an option was run from that start.
    """
    executed = sorted((row for row in rows if row.option_id in options), key=lambda row: (row.option_id, row.start))
    models = sorted(
        (model for model in predicted if model.option_id in options and model.start.size),
        key=lambda model: model.option_id,
    )
    acting = _actions(primitives, action_ids, options)
    ids = sorted({row.option_id for row in executed}.union((model.option_id for model in models), acting.values()))
    place = {option_id: number for number, option_id in enumerate(ids)}
    forecast = _predictions(models, place, options)
    lived = _executed_block(executed, options, place, forecast, prediction_weight)
    alone = np.isin(forecast.key, lived.key, invert=True)
    blocks = [lived, _predicted_block(forecast, alone, prediction_weight)]
    if primitives is not None:
        blocks.append(_primitive_block(primitives, {action: place[name] for action, name in acting.items()}))
    every = _together(blocks)
    return _table(ids, every, np.arange(every.key.size))


def patched(
    table: RowTable,
    rows: Sequence[ModelRow],
    options: Mapping[str, OptionSpec],
    *,
    predicted: Sequence[OptionModel] = (),
    primitives: Dynamics | None = None,
    action_ids: Sequence[str] = (),
    prediction_weight: float = 0.0,
) -> RowTable:
    """`table` with executed `rows` in place of those of the same options and starts: as if built afresh.

    `rows` are of `options`; `predicted` are the models that the table was made of, at least those of the rows' options.
    With `primitives` the table has their pairs in place of those that it had; `options` then holds all their actions.
    """
    own = {row.option_id for row in rows}
    acting = _actions(primitives, action_ids, options)
    left = np.zeros(table.start.size, dtype=np.bool_) if primitives is None else table.primitive
    lasting = np.flatnonzero(np.bincount(table.option[~left], minlength=len(table.option_ids))).tolist()
    ids = sorted({table.option_ids[number] for number in lasting}.union(own, acting.values()))
    place = {option_id: number for number, option_id in enumerate(ids)}
    models = sorted((model for model in predicted if model.option_id in own), key=lambda model: model.option_id)
    after = _executed_block(rows, options, place, _predictions(models, place, options), prediction_weight)
    if primitives is not None:
        moves = _primitive_block(primitives, {action: place[name] for action, name in acting.items()})
        after = _together([after, moves])
    if tuple(ids) == table.option_ids and np.count_nonzero(after.primitive) == np.count_nonzero(left):
        same = _overwritten(table, after)
        if same is not None:
            return same
    before, kept = _block(table, place), np.flatnonzero(~left)
    at, there = _found(before.key[kept], after.key)
    kept = np.delete(kept, at[there])
    added = np.arange(before.key.size, before.key.size + after.key.size)
    return _table(ids, _together([before, after]), np.concatenate([kept, added]))


def _overwritten(table: RowTable, rows: _Block) -> RowTable | None:
    """`table` with `rows` in place of rows of the same outcomes; `None` where some have none such.

    It shares with `table` the arrays that say which rows and outcomes there are.
    """
    at, there = _found((table.option.astype(np.int64) << START_BITS) + table.start, rows.key)
    if not there.all() or (np.diff(table.offset)[at] != rows.width).any():
        return None
    cells = np.repeat(table.offset[at] - (np.cumsum(rows.width) - rows.width), rows.width) + np.arange(
        rows.outcome.size
    )
    if (table.outcome[cells] != rows.outcome).any():
        return None

    columns: dict[str, Any] = {}
    for places, names in ((at, ROW_COLUMNS), (cells, OUTCOME_COLUMNS)):
        for name in names:
            columns[name] = getattr(table, name).copy()
            columns[name][places] = getattr(rows, name)
    return replace(table, **columns)


def _block(table: RowTable, place: Mapping[str, int]) -> _Block:
    """The rows of `table`, with options numbered as `place` says, and −1 where it does not."""
    number = np.array([place.get(option_id, -1) for option_id in table.option_ids], dtype=np.int64)
    return _Block(
        key=(number[table.option] << START_BITS) + table.start,
        evidence=table.evidence,
        prediction_share=table.prediction_share,
        primitive=table.primitive,
        executions=table.executions,
        duration=table.duration,
        reward=table.reward,
        utility=table.utility,
        width=np.diff(table.offset),
        outcome=table.outcome,
        probability=table.probability,
        reach=table.reach,
    )


def _together(blocks: Sequence[_Block]) -> _Block:
    return _Block(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _actions(
    primitives: Dynamics | None, action_ids: Sequence[str], options: Mapping[str, OptionSpec]
) -> dict[int, str]:
    """The ids of the actions that have pairs, by their numbers."""
    if primitives is None:
        return {}
    numbers = np.unique(primitives.action).tolist()
    return {number: action_ids[number] for number in numbers if action_ids[number] in options}


def _predictions(
    models: Sequence[OptionModel], place: Mapping[str, int], options: Mapping[str, OptionSpec]
) -> _Predicted:
    sizes = [model.start.size for model in models]
    number = np.repeat(np.array([place[model.option_id] for model in models], dtype=np.int64), sizes)

    def each(values: Sequence[float]) -> Floats:
        return np.repeat(np.array(values, dtype=np.float64), sizes)

    def column(name: str) -> Floats:
        return np.concatenate([np.zeros(0), *(getattr(model, name) for model in models)]).astype(np.float64)

    return _Predicted(
        key=(number << START_BITS) + column("start").astype(np.int64),
        target=each([model.target for model in models]).astype(np.int32),
        kappa=each([options[model.option_id].kappa for model in models]),
        probability=np.minimum(column("probability"), 1.0),
        reach=column("reach"),
        reward=column("reward"),
        duration=column("duration"),
    )


def _found(keys: Ints, wanted: Ints) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each of `wanted` is among the ascending `keys`, and whether it is there."""
    at = np.searchsorted(keys, wanted)
    there = at < keys.size
    there[there] = keys[at[there]] == wanted[there]
    return at, there


def _joined(
    row: ModelRow, option: OptionSpec, predicted: _Predicted, index: int | None, prediction_weight: float
) -> _Line:
    """X = (m' x_pred + n_eff x_exec)/(m' + n_eff) with m' = `prediction_weight` · (1 − Z) for the joint moments."""
    runs = effective_runs(row.z, option.alpha)
    weight = 0.0 if index is None else prediction_weight * (1 - row.z)
    if index is None or weight <= 0:
        utility = row_utility(row, option.kappa)
        return _Line(runs, 0.0, row.duration, row.reward, utility, row.outcomes, row.probability, row.reach)
    total = weight + runs

    def mean(forecast: float, seen: float) -> float:
        return (weight * forecast + runs * seen) / total

    hit = float(predicted.probability[index])
    forecast = {int(predicted.target[index]): (hit, float(predicted.reach[index]))}
    if hit < 1:
        forecast[FAIL] = (1 - hit, 0.0)
    seen = dict(zip(row.outcomes, zip(row.probability, row.reach, strict=True), strict=True))
    outcomes = tuple(sorted({*seen, *forecast}))
    nothing = (0.0, 0.0)
    both = [(forecast.get(y, nothing), seen.get(y, nothing)) for y in outcomes]
    reward = mean(float(predicted.reward[index]), row.reward)
    return _Line(
        evidence=total,
        prediction_share=weight / total,
        duration=mean(float(predicted.duration[index]), row.duration),
        reward=reward,
        utility=option.kappa * mean(hit, row.feature) + reward,
        outcomes=outcomes,
        probability=tuple(mean(one[0], other[0]) for one, other in both),
        reach=tuple(mean(one[1], other[1]) for one, other in both),
    )


def _executed_block(
    rows: Sequence[ModelRow],
    options: Mapping[str, OptionSpec],
    place: Mapping[str, int],
    predicted: _Predicted,
    prediction_weight: float,
) -> _Block:
    key = np.array([(place[row.option_id] << START_BITS) + row.start for row in rows], dtype=np.int64)
    lines = [
        _joined(row, options[row.option_id], predicted, int(index) if both else None, prediction_weight)
        for row, index, both in zip(rows, *_found(predicted.key, key), strict=True)
    ]
    return _Block(
        key=key,
        evidence=np.array([line.evidence for line in lines], dtype=np.float64),
        prediction_share=np.array([line.prediction_share for line in lines], dtype=np.float64),
        primitive=np.zeros(len(lines), dtype=np.bool_),
        executions=np.array([row.executions for row in rows], dtype=np.int64),
        duration=np.array([line.duration for line in lines], dtype=np.float64),
        reward=np.array([line.reward for line in lines], dtype=np.float64),
        utility=np.array([line.utility for line in lines], dtype=np.float64),
        width=np.array([len(line.outcomes) for line in lines], dtype=np.int64),
        outcome=np.fromiter(chain.from_iterable(line.outcomes for line in lines), dtype=np.int32),
        probability=np.fromiter(chain.from_iterable(line.probability for line in lines), dtype=np.float64),
        reach=np.fromiter(chain.from_iterable(line.reach for line in lines), dtype=np.float64),
    )


def _predicted_block(predicted: _Predicted, alone: NDArray[np.bool_], prediction_weight: float) -> _Block:
    """The rows that were never executed."""
    kept = predicted.at(alone)
    count = kept.key.size
    fails = 1 - kept.probability
    present = np.stack([fails > 0, np.ones(count, dtype=np.bool_)], axis=1)

    def pairs(failing: float | Floats, hitting: Floats | NDArray[np.int32]) -> Floats:
        both = np.empty((count, 2))
        both[:, 0] = failing
        both[:, 1] = hitting
        return both[present]

    return _Block(
        key=kept.key,
        evidence=np.full(count, prediction_weight),
        prediction_share=np.ones(count),
        primitive=np.zeros(count, dtype=np.bool_),
        executions=np.zeros(count, dtype=np.int64),
        duration=kept.duration,
        reward=kept.reward,
        utility=kept.kappa * kept.probability + kept.reward,
        width=present.sum(axis=1),
        outcome=pairs(FAIL, kept.target).astype(np.int32),
        probability=pairs(fails, kept.probability),
        reach=pairs(0.0, kept.reach),
    )


def _primitive_block(dynamics: Dynamics, place: Mapping[int, int]) -> _Block:
    """The pairs of the actions that `place` has option numbers for; what is missing to 1 is their failing."""
    number = np.full(int(dynamics.action.max(initial=-1)) + 1, -1, dtype=np.int64)
    for action, option in place.items():
        number[action] = option
    option_of = number[dynamics.action]
    kept = option_of >= 0
    width = np.diff(dynamics.offset)
    inside = np.repeat(kept, width)
    width = width[kept]
    pair_of = np.repeat(np.arange(width.size), width)
    probability = dynamics.probability[inside]
    fails = np.maximum(0.0, 1 - np.bincount(pair_of, probability, minlength=width.size))
    failing = np.flatnonzero(fails > 0)
    first = (np.cumsum(width) - width)[failing]
    reward = dynamics.reward[kept]
    return _Block(
        key=(option_of[kept] << START_BITS) + dynamics.start[kept],
        evidence=dynamics.count[kept].astype(np.float64),
        prediction_share=np.ones(width.size),
        primitive=np.ones(width.size, dtype=np.bool_),
        executions=dynamics.count[kept],
        duration=np.ones(width.size),
        reward=reward,
        utility=reward,
        width=width + (fails > 0),
        outcome=np.insert(dynamics.outcome[inside], first, FAIL),
        probability=np.insert(probability, first, fails[failing]),
        reach=np.insert(dynamics.reach[inside], first, 0.0),
    )


def _table(option_ids: Sequence[str], rows: _Block, taken: NDArray[np.intp]) -> RowTable:
    """Those of `rows` that are `taken`, in the order of (option id, start)."""
    order = taken[np.argsort(rows.key[taken], kind="stable")]
    width = rows.width[order]
    offset = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(width)])
    first = np.cumsum(rows.width) - rows.width
    cells = np.repeat(first[order] - offset[:-1], width) + np.arange(offset[-1])
    key = rows.key[order]
    option = key >> START_BITS
    return RowTable(
        option_ids=tuple(option_ids),
        option=option.astype(np.int32),
        start=(key - (option << START_BITS)).astype(np.int32),
        evidence=rows.evidence[order],
        prediction_share=rows.prediction_share[order],
        primitive=rows.primitive[order],
        executions=rows.executions[order],
        duration=rows.duration[order],
        reward=rows.reward[order],
        utility=rows.utility[order],
        offset=offset,
        outcome=rows.outcome[cells],
        probability=rows.probability[cells],
        reach=rows.reach[cells],
    )
