"""What the best policy achieves: the probability of reaching a goal if one decides anew after each option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import PLACES, REALS, kernel
from somabrain.oak.model import RowTable
from somabrain.oak.planner.costs import Leaving

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

CONVERGED = 1e-12
"""Value iteration stops when no value changed by as much (DESIGN §6.6)."""

EVALUATIONS = 32
"""Steps between two sweeps; any number gives the same values, this one the least time on what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyRows:
    """The rows that a policy may choose from, in the order of their starts: S starts, Q rows, K outcomes."""

    starts: Indices
    """(S,) distinct, ascending"""
    first_row: Indices
    """(S,) the first row of each start"""
    start_of: Indices
    """(Q,) the place of each row's start among `starts`"""
    row: Indices
    """(K,) the row of each outcome; every row has one"""
    target: Indices
    """(K,) prototypes; FAIL is left out, its value is 0"""
    slot: Indices
    """(K,) the target's place among `starts`, S where it has no row"""
    probability: Floats
    """(K,) P', of primitives too once their retries are eliminated"""


def compile_policy(rows: RowTable, row_of: Indices, own: NDArray[np.bool_], leaving: Leaving) -> PolicyRows:
    """All outcomes, none cut, of the executed, joined and primitive rows (DESIGN §6.6).

    A policy that stays where it is takes the same row again, so here the retries of primitives are solved for too: the
    fixed point is the same, and sooner reached. A purely predicted row is made of primitive rows and adds nothing.
    """
    again = np.zeros(rows.start.size)
    staying = np.flatnonzero(own & rows.primitive[row_of])
    again[row_of[staying]] = rows.probability[staying]
    escape = leaving.escape * (1 - again)
    usable = leaving.live & (escape > 0) & (rows.primitive | (rows.prediction_share < 1))
    kept = np.flatnonzero(usable[row_of] & (rows.outcome >= 0) & (rows.probability > 0) & ~own)
    kept = kept[np.argsort(rows.start[row_of[kept]], kind="stable")]
    chosen, first_outcome = _runs(row_of[kept])
    lengths = np.diff(np.append(first_outcome, kept.size))
    starts, first_row = _runs(rows.start[chosen].astype(np.intp))
    target = rows.outcome[kept].astype(np.intp)
    place = np.searchsorted(starts, target)
    known = starts[np.minimum(place, starts.size - 1)] == target if starts.size else np.zeros(0, dtype=np.bool_)
    return PolicyRows(
        starts=starts,
        first_row=first_row,
        start_of=np.repeat(np.arange(starts.size), np.diff(np.append(first_row, chosen.size))),
        row=np.repeat(np.arange(chosen.size), lengths),
        target=target,
        slot=np.where(known, place, starts.size),
        probability=rows.probability[kept] / escape[row_of[kept]],
    )


def policy_values(rows: PolicyRows, goals: Sequence[int], size: int, sweeps_max: int) -> Floats:
    """V of shape (size,): the least fixed point of V(s) = max_o Σ_y P'(y) V(y) with V = 1 on `goals` (below `size`).

    Iterated from 0 until a sweep changes no value by 1e-12, at most `sweeps_max` sweeps (DESIGN §6.6). Between two
    sweeps the rows that the last one chose are followed for `EVALUATIONS` steps more: the modified policy iteration of
    Puterman and Shin 1978, which from 0 stays between value iteration and the fixed point.
    """
    value = np.zeros(size)
    value[list(goals)] = 1
    count = rows.starts.size
    if not goals or not count:
        return value
    slot = np.where(value[rows.target] == 1, count + 1, rows.slot)
    known = np.zeros(count + 2)
    known[count + 1] = 1
    if iterate_kernel.compiled:
        iterate_kernel(rows.start_of, rows.row, slot, rows.probability, CONVERGED, EVALUATIONS, sweeps_max, known)
    else:
        _iterate(rows, slot, known, sweeps_max)
    value[rows.starts] = known[:count]
    value[list(goals)] = 1
    return value


def _iterate(rows: PolicyRows, slot: Indices, known: Floats, sweeps_max: int) -> None:
    count = rows.starts.size
    product, best, change = np.empty(slot.size), np.empty(count), np.empty(count)
    for _ in range(sweeps_max):
        np.take(known, slot, out=product, mode="clip")
        np.multiply(product, rows.probability, out=product)
        total = np.bincount(rows.row, product)
        np.maximum.reduceat(total, rows.first_row, out=best)
        chosen = np.flatnonzero(total == best[rows.start_of])
        np.minimum(best, 1, out=best)
        np.subtract(best, known[:count], out=change)
        known[:count] = best
        if np.abs(change, out=change).max() < CONVERGED:
            break
        _, first = np.unique(rows.start_of[chosen], return_index=True)
        _follow(rows, chosen[first], slot, known)


def _follow(rows: PolicyRows, chosen: Indices, slot: Indices, known: Floats) -> None:
    """Values after `EVALUATIONS` more steps of one chosen row for each start, in place."""
    count = rows.starts.size
    follows = np.zeros(rows.start_of.size, dtype=np.bool_)
    follows[chosen] = True
    outcomes = np.flatnonzero(follows[rows.row])
    start, probability, after = rows.start_of[rows.row[outcomes]], rows.probability[outcomes], slot[outcomes]
    for _ in range(EVALUATIONS):
        known[:count] = np.minimum(np.bincount(start, known[after] * probability), 1)


@kernel(
    f"int64({PLACES}, {PLACES}, {PLACES}, {REALS}, int64[::1], int64[::1], uint32[::1], float64[::1])",
)
def lay_out(  # noqa: PLR0917 - kernels are called by position
    first: Indices,
    width: Indices,
    slot: Indices,
    probability: Floats,
    order: Indices,
    bounds: Indices,
    after: NDArray[np.uint32],
    weight: Floats,
) -> int:
    """Lays chosen rows out in jagged diagonals (Saad 1989), in which no sum waits for another; how many.

    Row i has the `width[i]` outcomes from `first[i]` on. Fills `order` with the rows, wide ones first, and `after` and
    `weight` with the j-th outcomes, in that order, of the rows that have one: from `bounds[j]` to `bounds[j + 1]`.
    """
    widest = 0
    for row in range(width.size):
        widest = max(widest, width[row])
    place = np.zeros(widest + 1, np.int64)
    for row in range(width.size):
        place[widest - width[row]] += 1
    wider = 0
    for narrower in range(widest + 1):
        same = place[narrower]
        place[narrower] = wider
        wider += same
    for row in range(width.size):
        order[place[widest - width[row]]] = row
        place[widest - width[row]] += 1
    bounds[0] = 0
    for outcome in range(widest):
        rows = place[widest - outcome - 1]
        begin = bounds[outcome]
        for index in range(rows):
            entry = first[order[index]] + outcome
            after[begin + index] = slot[entry]
            weight[begin + index] = probability[entry]
        bounds[outcome + 1] = begin + rows
    return widest


@kernel(f"void({PLACES}, {PLACES}, {PLACES}, {REALS}, float64, int64, int64, float64[::1])")
def iterate_kernel(  # noqa: C901, PLR0917 - kernels are called by position
    start_of: Indices,
    row: Indices,
    slot: Indices,
    probability: Floats,
    tolerance: float,
    evaluations: int,
    sweeps_max: int,
    known: Floats,
) -> None:
    """What `_iterate` does, sum for sum in the same order, so that every value has the same bits."""
    count = known.size - 2
    entries = row.size
    best = np.empty(count, np.float64)
    first = np.empty(count, np.int64)
    width = np.empty(count, np.int64)
    order = np.empty(count, np.int64)
    bounds = np.empty(entries + 1, np.int64)
    after = np.empty(entries, np.uint32)
    weight = np.empty(entries, np.float64)
    for _ in range(sweeps_max):
        best[:] = -1.0
        entry = 0
        while entry < entries:
            one = row[entry]
            begin = entry
            total = 0.0
            while entry < entries and row[entry] == one:
                total += known[slot[entry]] * probability[entry]
                entry += 1
            start = start_of[one]
            if total > best[start]:
                best[start] = total
                first[start] = begin
                width[start] = entry - begin
        change = 0.0
        for start in range(count):
            value = min(best[start], 1.0)
            change = max(change, abs(value - known[start]))
            known[start] = value
        if change < tolerance:
            break
        widest = lay_out(first, width, slot, probability, order, bounds, after, weight)
        for _ in range(evaluations):
            best[:] = 0.0
            for place in range(widest):
                targets = after[bounds[place] : bounds[place + 1]]
                weights = weight[bounds[place] : bounds[place + 1]]
                for index in range(targets.size):
                    best[index] += known[targets[index]] * weights[index]
            for index in range(count):
                known[order[index]] = min(best[index], 1.0)


def _runs(values: Indices) -> tuple[Indices, Indices]:
    """The values where equal neighbours are one, and the place at which each begins."""
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if values.size else np.zeros(0, dtype=np.intp)
    return values[begins], begins
