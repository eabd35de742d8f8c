"""The one place where model rows of all origins become the planner's table (DESIGN §5.5.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from somabrain.oak.learning.executions import effective_runs, row_utility
from somabrain.oak.model import ModelRow, OptionSpec, RowTable


def row_table(rows: Sequence[ModelRow], options: Mapping[str, OptionSpec]) -> RowTable:
    """The table of executed `rows`, whose options are all in `options`; the order of `rows` does not matter."""
    ordered = sorted(rows, key=lambda row: (row.option_id, row.start))
    option_ids = tuple(sorted({row.option_id for row in ordered}))
    place = {option_id: number for number, option_id in enumerate(option_ids)}
    count = len(ordered)
    lengths = np.fromiter((len(row.outcomes) for row in ordered), dtype=np.int64, count=count)
    return RowTable(
        option_ids=option_ids,
        option=np.fromiter((place[row.option_id] for row in ordered), dtype=np.int32, count=count),
        start=np.fromiter((row.start for row in ordered), dtype=np.int32, count=count),
        evidence=np.array([effective_runs(row.z, options[row.option_id].alpha) for row in ordered], dtype=np.float64),
        prediction_share=np.zeros(count),
        primitive=np.zeros(count, dtype=np.bool_),
        executions=np.fromiter((row.executions for row in ordered), dtype=np.int64, count=count),
        duration=np.array([row.duration for row in ordered], dtype=np.float64),
        reward=np.array([row.reward for row in ordered], dtype=np.float64),
        utility=np.array([row_utility(row, options[row.option_id].kappa) for row in ordered], dtype=np.float64),
        offset=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        outcome=np.fromiter(chain.from_iterable(row.outcomes for row in ordered), dtype=np.int32),
        probability=np.fromiter(chain.from_iterable(row.probability for row in ordered), dtype=np.float64),
        reach=np.fromiter(chain.from_iterable(row.reach for row in ordered), dtype=np.float64),
    )
