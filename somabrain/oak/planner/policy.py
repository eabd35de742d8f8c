"""What the best policy achieves: the probability of reaching a goal if one decides anew after each option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import RowTable
from somabrain.oak.planner.costs import Leaving

CONVERGED = 1e-12
"""Value iteration stops when no value changed by as much (DESIGN §6.6)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyRows:
    """The rows that a policy may choose from, in the order of their starts: S starts, Q rows, K outcomes."""

    starts: NDArray[np.intp]
    """(S,) distinct, ascending"""
    first: NDArray[np.intp]
    """(S,) the first row of each start"""
    count: int
    """Q"""
    row: NDArray[np.intp]
    """(K,) the row of each outcome"""
    target: NDArray[np.intp]
    """(K,) prototypes; FAIL is left out, its value is 0"""
    probability: NDArray[np.float64]
    """(K,) P'"""


def compile_policy(rows: RowTable, row_of: NDArray[np.intp], own: NDArray[np.bool_], leaving: Leaving) -> PolicyRows:
    """All outcomes, none cut, of the executed, joined and primitive rows (DESIGN §6.6).

    A primitive's own start stays among its outcomes: trying again is what the policy does there.
    A purely predicted row is made of primitive rows and adds nothing to them.
    """
    usable = leaving.live & (rows.primitive | (rows.prediction_share < 1))
    chosen = np.flatnonzero(usable)
    chosen = chosen[np.argsort(rows.start[chosen], kind="stable")]
    rank = np.zeros(rows.start.size, dtype=np.intp)
    rank[chosen] = np.arange(chosen.size)
    kept = np.flatnonzero(
        usable[row_of] & (rows.outcome >= 0) & (rows.probability > 0) & (~own | rows.primitive[row_of])
    )
    starts, first = np.unique(rows.start[chosen], return_index=True)
    return PolicyRows(
        starts=starts.astype(np.intp),
        first=first,
        count=chosen.size,
        row=rank[row_of[kept]],
        target=rows.outcome[kept].astype(np.intp),
        probability=rows.probability[kept] / leaving.escape[row_of[kept]],
    )


def policy_values(rows: PolicyRows, goals: Sequence[int], size: int, sweeps_max: int) -> NDArray[np.float64]:
    """V of shape (size,): the least fixed point of V(s) = max_o Σ_y P'(y) V(y) with V = 1 on `goals` (below `size`).

    Iterated from 0 until the largest change is below 1e-12, at most `sweeps_max` times (DESIGN §6.6).
    """
    value = np.zeros(size)
    value[list(goals)] = 1
    if not goals or not rows.count:
        return value
    done = np.isin(rows.starts, goals)
    for _ in range(sweeps_max):
        product = value[rows.target]
        product *= rows.probability
        best = np.maximum.reduceat(np.bincount(rows.row, product, minlength=rows.count), rows.first)
        np.minimum(best, 1, out=best)
        best[done] = 1
        change = np.abs(best - value[rows.starts]).max()
        value[rows.starts] = best
        if change < CONVERGED:
            break
    return value
