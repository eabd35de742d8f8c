"""What an edge costs: retries, an option's doubt, and integer micro-nats.

An option's run from prototype i may end in i again; the agent then simply runs it again, so the planner
works with the distribution of where it *leaves* i to (DESIGN §6.2). How far that distribution is to be
trusted is the option's doubt, pooled over its rows (DESIGN §6.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import PlanParameters, RowTable

ESCAPE_MIN = 1e-9
"""A row that leaves its start with less than this probability has no edges (DESIGN §6.2)."""

DOUBT_PRIOR = 0.1
"""Disagreement that is assumed of an option's first run (DESIGN §6.3, d_o)."""

DOUBT_EVIDENCE_MIN = 2.0
"""Rows with less evidence than two runs can't disagree with themselves (DESIGN §6.3, d_o)."""

MICRO = 1e6
"""Micro-nats in a nat."""

ROUNDING_SLACK = 1e-3
"""What a cost may lie above a whole number of micro-nats and still be rounded down to it (DESIGN §6.3)."""

WEIGHT_MAX = 2**40
"""No edge is dearer, so that the sum over a path fits int64 (DESIGN §6.3)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaving:
    """The rows of a table after the elimination of retries; all of shape (R,).

    For a primitive nothing is eliminated: `escape` and `escape_reach` are 1.
    """

    live: NDArray[np.bool_]
    """whether the row leaves its start at all"""
    escape: NDArray[np.float64]
    """1 − q; 1 where not live"""
    escape_reach: NDArray[np.float64]
    """1 − q~; 1 where not live"""
    evidence: NDArray[np.float64]
    """n'"""
    doubt: NDArray[np.float64]
    """u_o (1 − ω)"""
    trust: NDArray[np.float64]
    """n'/(n' + u_o (1 − ω)); 1 where there is neither evidence nor doubt"""


def weigh(chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """`w` = min(2⁴⁰, max(1, ⌈10⁶ c − 10⁻³⌉)) of c = −ln `chance`, with `chance` ≥ 0 (DESIGN §6.3).

    Costs are computed here and in `weigh_one` alone: `math.log` value by value, because the last bit of numpy's
    vectorised logarithm depends on the processor.
    """
    positive = chance > 0
    logs = list(map(math.log, np.where(positive, chance, 1.0).tolist()))
    cost = np.ceil(np.array(logs, dtype=np.float64) * -MICRO - ROUNDING_SLACK)
    return np.where(positive, np.clip(cost, 1, WEIGHT_MAX), WEIGHT_MAX).astype(np.int64)


def weigh_one(chance: float) -> int:
    """`weigh` of a single `chance`: the same number."""
    if chance <= 0:
        return WEIGHT_MAX
    return min(WEIGHT_MAX, max(1, math.ceil(math.log(chance) * -MICRO - ROUNDING_SLACK)))


def leave(rows: RowTable, row_of: NDArray[np.intp], own: NDArray[np.bool_], parameters: PlanParameters) -> Leaving:
    """Retries eliminated and doubt pooled. `row_of` (M,) is each outcome's row, `own` (M,) marks outcome = start."""
    count = rows.start.size
    retried = np.flatnonzero(own & ~rows.primitive[row_of])
    again = np.zeros(count)
    again[row_of[retried]] = rows.probability[retried]
    again_reach = np.zeros(count)
    again_reach[row_of[retried]] = rows.reach[retried]
    live = 1 - again >= ESCAPE_MIN
    escape = np.where(live, 1 - again, 1.0)
    evidence = np.where(live, rows.evidence * escape, 0.0)
    mean = _disagreement(rows, row_of, own, escape, evidence)
    odds = mean / (1 - np.minimum(mean, 0.5))
    pooled = np.where(mean >= 0.5, 1.0, np.maximum(parameters.time_price, odds))
    doubt = pooled[rows.option] * (1 - rows.prediction_share)
    weight = evidence + doubt
    known = weight > 0
    return Leaving(
        live=live,
        escape=escape,
        escape_reach=np.where(live, 1 - again_reach, 1.0),
        evidence=evidence,
        doubt=doubt,
        trust=np.where(known, evidence / np.where(known, weight, 1.0), 1.0),
    )


def _disagreement(
    rows: RowTable,
    row_of: NDArray[np.intp],
    own: NDArray[np.bool_],
    escape: NDArray[np.float64],
    evidence: NDArray[np.float64],
) -> NDArray[np.float64]:
    """d_o for each option, shape (len(option_ids),)."""
    executed = evidence * (1 - rows.prediction_share)
    counted = np.flatnonzero((executed >= DOUBT_EVIDENCE_MIN) & ~rows.primitive)
    square = np.where(own, 0.0, rows.probability / escape[row_of]) ** 2
    agreement = np.bincount(row_of, square, minlength=rows.start.size)[counted]
    weight = executed[counted]
    disagreement = np.maximum(0.0, 1 - agreement) * weight / (weight - 1)
    options = len(rows.option_ids)
    pooled = np.bincount(rows.option[counted], weight * disagreement, minlength=options)
    total = np.bincount(rows.option[counted], weight, minlength=options)
    return (DOUBT_PRIOR + pooled) / (1 + total)
