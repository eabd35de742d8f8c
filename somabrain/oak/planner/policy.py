"""What the best policy achieves: the probability of reaching a goal if one decides anew after each option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import PLACES, REALS, kernel
from somabrain.oak.model import RowTable
from somabrain.oak.planner.costs import Leaving
from somabrain.oak.planner.halving import NEITHER, halve

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Slots = NDArray[np.uint32]

CONVERGED = 1e-12
"""Value iteration stops when no value changed by as much (DESIGN §6.6)."""

EVALUATIONS = 32
"""Steps between two sweeps; any number gives the same values, this one the least time on what was measured."""

WIDTH = 4
"""Outcomes of a chosen row that are laid out side by side: a move on a grid has no more, with its slips."""

SPAN = 3
"""What says where a row goes on that is wider: the row, and the first and the last of its other outcomes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyRows:
    """The rows that a policy may choose from: S starts in two halves, ascending in each, Q rows, K outcomes.

    Rows and outcomes are in the order of their starts; each start has a row, and each row an outcome.
    """

    starts: Indices
    """(S,) distinct"""
    half: int
    """where in `starts` the second half begins; S where nothing is to be gained by halves"""
    first_row: Indices
    """(S + 1,) the rows of the i-th start are `first_row[i]` … `first_row[i + 1]`"""
    first_outcome: Indices
    """(Q + 1,) the outcomes of each row, likewise"""
    start_of: Indices
    """(Q,) the place of each row's start among `starts`"""
    row: Indices
    """(K,) the row of each outcome"""
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
    start = rows.start[row_of[kept]].astype(np.intp)
    half = _halves(start, rows.outcome[kept].astype(np.intp), rows.primitive[row_of[kept]])
    order = np.argsort(half * (start.max(initial=0) + 1) + start, kind="stable")
    kept = kept[order]
    chosen, first_outcome = _runs(row_of[kept])
    starts, first_row = _runs(rows.start[chosen].astype(np.intp))
    second = np.searchsorted(half[order], 1)
    target = rows.outcome[kept].astype(np.intp)
    place = np.full(max(starts.max(initial=-1), target.max(initial=-1)) + 1, starts.size)
    place[starts] = np.arange(starts.size)
    row = np.repeat(np.arange(chosen.size), np.diff(first_outcome))
    start_of = np.repeat(np.arange(starts.size), np.diff(first_row))
    return PolicyRows(
        starts=starts,
        half=int(start_of[row[second]]) if second < row.size else starts.size,
        first_row=first_row,
        first_outcome=first_outcome,
        start_of=start_of,
        row=row,
        target=target,
        slot=place[target],
        probability=rows.probability[kept] / escape[row_of[kept]],
    )


def _halves(start: Indices, target: Indices, primitive: NDArray[np.bool_]) -> Indices:
    """The half of each outcome's start, by where primitives lead: 0 for all where there are none."""
    if not primitive.any():
        return np.zeros(start.size, dtype=np.intp)
    size = int(max(start.max(), target.max())) + 1
    moves = np.flatnonzero(primitive)
    moves = moves[np.argsort(start[moves], kind="stable")]
    half = np.full(size, NEITHER)
    halve(np.searchsorted(start[moves], np.arange(size + 1)), target[moves], half)
    return half[start]


def policy_values(rows: PolicyRows, goals: Sequence[int], size: int, sweeps_max: int) -> Floats:
    """V of shape (size,): the least fixed point of V(s) = max_o Σ_y P'(y) V(y) with V = 1 on `goals` (below `size`).

    Iterated from 0 until a sweep changes no value by 1e-12, at most `sweeps_max` sweeps (DESIGN §6.6). The second
    half of a sweep reads what the first has written. Between two sweeps the rows that the last one chose are followed
    for some steps more: the modified policy iteration of Puterman and Shin 1978. From 0 both stay between value
    iteration and the fixed point.
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
        iterate_kernel(rows.half, rows.first_row, rows.first_outcome, slot, rows.probability, sweeps_max, known)
    else:
        _iterate(rows, slot, known, sweeps_max)
    value[rows.starts] = known[:count]
    value[list(goals)] = 1
    return value


class _Half(NamedTuple):
    """The starts of a half, their rows, and the outcomes of these."""

    starts: slice
    rows: slice
    outcomes: slice


class _Followed(NamedTuple):
    """The outcomes of one row for each of `starts`: the place of its start there, and where it leads how probably."""

    starts: slice
    start: Indices
    after: Indices
    probability: Floats


def _iterate(rows: PolicyRows, slot: Indices, known: Floats, sweeps_max: int) -> None:
    """NumPy's words for it: for graphs of a server that never compiles, and until one has."""
    halves = []
    for first, last in pairwise(sorted({0, rows.half, rows.starts.size})):
        first_row, last_row = rows.first_row[first], rows.first_row[last]
        outcomes = slice(rows.first_outcome[first_row], rows.first_outcome[last_row])
        halves.append(_Half(slice(first, last), slice(first_row, last_row), outcomes))
    for _ in range(sweeps_max):
        swept = [_sweep(rows, half, slot, known) for half in halves]
        change = max(changed for changed, _ in swept)
        if change < CONVERGED:
            break
        _follow([followed for _, followed in swept], known)


def _sweep(rows: PolicyRows, half: _Half, slot: Indices, known: Floats) -> tuple[float, _Followed]:
    """The most that a value of the half changed, and the rows chosen for it."""
    starts, here = half.starts, slot[half.outcomes]
    row, start_of = rows.row[half.outcomes] - half.rows.start, rows.start_of[half.rows] - starts.start
    probability = rows.probability[half.outcomes]
    total = np.bincount(row, known[here] * probability)
    best = np.maximum.reduceat(total, rows.first_row[starts] - half.rows.start)
    chosen = np.flatnonzero(total == best[start_of])
    np.minimum(best, 1, out=best)
    change = float(np.abs(best - known[starts]).max())
    known[starts] = best
    _, first = np.unique(start_of[chosen], return_index=True)
    follows = np.zeros(total.size, dtype=np.bool_)
    follows[chosen[first]] = True
    outcomes = np.flatnonzero(follows[row])
    return change, _Followed(starts, start_of[row[outcomes]], here[outcomes], probability[outcomes])


def _follow(halves: Sequence[_Followed], known: Floats) -> None:
    """Values after `EVALUATIONS` more steps of the chosen rows, in place."""
    for _ in range(EVALUATIONS):
        for starts, start, after, probability in halves:
            known[starts] = np.minimum(np.bincount(start, known[after] * probability), 1)


@kernel(f"int64({PLACES}, {PLACES}, {REALS}, uint32[:, ::1], float64[:, ::1], int64[:, ::1])")
def lay_out(  # noqa: PLR0917 - kernels are called by position
    first_outcome: Indices, slot: Indices, probability: Floats, after: Slots, weight: Floats, beyond: Indices
) -> int:
    """How many rows have more than WIDTH outcomes; `beyond` gets the SPAN of each.

    Fills `after` and `weight` with the first WIDTH of each row. Where it has fewer, what is filled in adds nothing, and
    no processor has to guess where it ends.
    """
    wide = 0
    for row in range(first_outcome.size - 1):
        first, last = first_outcome[row], first_outcome[row + 1]
        for column in range(WIDTH):
            inside = first + column < last
            after[row, column] = slot[first + column] if inside else 0
            weight[row, column] = probability[first + column] if inside else 0.0
        if last - first > WIDTH:
            beyond[wide, 0], beyond[wide, 1], beyond[wide, 2] = row, first + WIDTH, last
            wide += 1
    return wide


@kernel(
    f"void(uint32[:, ::1], float64[:, ::1], int64[:, ::1], {PLACES}, {REALS}, float64[::1], int64, int64, float64[::1])"
)
def add_up(  # noqa: PLR0917 - kernels are called by position
    after: Slots,
    weight: Floats,
    beyond: Indices,
    slot: Indices,
    probability: Floats,
    known: Floats,
    begin: int,
    end: int,
    worth: Floats,
) -> None:
    """Fills `worth` with what the rows `begin` … `end` are worth, outcome by outcome in their order."""
    near, shares, totals = after[begin:end], weight[begin:end], worth[begin:end]
    for place in range(totals.size):
        total = known[near[place, 0]] * shares[place, 0]
        for column in range(1, WIDTH):
            total += known[near[place, column]] * shares[place, column]
        totals[place] = total
    for wide in range(beyond.shape[0]):
        row = beyond[wide, 0]
        if begin <= row < end:
            for entry in range(beyond[wide, 1], beyond[wide, 2]):
                worth[row] += known[slot[entry]] * probability[entry]


@kernel(f"float64({PLACES}, float64[::1], int64, int64, int64[::1], float64[::1])")
def choose(  # noqa: PLR0917 - kernels are called by position
    first_row: Indices, worth: Floats, begin: int, end: int, chosen: Indices, known: Floats
) -> float:
    """The most that a value of the starts `begin` … `end` changed; fills `chosen` with the first of the best rows."""
    change = 0.0
    for start in range(begin, end):
        choice = first_row[start]
        most = worth[choice]
        for row in range(choice + 1, first_row[start + 1]):
            choice = row if worth[row] > most else choice
            most = max(most, worth[row])
        chosen[start] = choice
        most = min(most, 1.0)
        change = max(change, abs(most - known[start]))
        known[start] = most
    return change


@kernel(f"void(int64, {PLACES}, {PLACES}, {PLACES}, {REALS}, int64, float64[::1])")
def iterate_kernel(  # noqa: PLR0917 - called by position
    half: int,
    first_row: Indices,
    first_outcome: Indices,
    slot: Indices,
    probability: Floats,
    sweeps_max: int,
    known: Floats,
) -> None:
    """What `_iterate` does, sum for sum in the same order, so that every value has the same bits."""
    count, rows = first_row.size - 1, first_outcome.size - 1
    after, weight = np.empty((rows, WIDTH), np.uint32), np.empty((rows, WIDTH), np.float64)
    beyond, worth = np.empty((rows, SPAN), np.int64), np.empty(rows, np.float64)
    beyond = beyond[: lay_out(first_outcome, slot, probability, after, weight, beyond)]
    chosen, best = np.empty(count, np.int64), np.empty(count, np.float64)
    near, shares, others = (
        np.empty((count, WIDTH), np.uint32),
        np.empty((count, WIDTH)),
        np.empty((count, SPAN), np.int64),
    )
    for _ in range(sweeps_max):
        change = 0.0
        for begin, end in ((0, half), (half, count)):
            add_up(after, weight, beyond, slot, probability, known, first_row[begin], first_row[end], worth)
            change = max(change, choose(first_row, worth, begin, end, chosen, known))
        if change < CONVERGED:
            break
        wide = 0
        for start in range(count):
            row = chosen[start]
            for column in range(WIDTH):
                near[start, column] = after[row, column]
                shares[start, column] = weight[row, column]
            if first_outcome[row + 1] - first_outcome[row] > WIDTH:
                others[wide, 0], others[wide, 1] = start, first_outcome[row] + WIDTH
                others[wide, 2] = first_outcome[row + 1]
                wide += 1
        for _ in range(EVALUATIONS):
            for begin, end in ((0, half), (half, count)):
                add_up(near, shares, others[:wide], slot, probability, known, begin, end, best)
                values, totals = known[begin:end], best[begin:end]
                for place in range(totals.size):
                    values[place] = min(totals[place], 1.0)


def _runs(values: Indices) -> tuple[Indices, Indices]:
    """The values where equal neighbours are one, and the place at which each begins, with that of the end."""
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if values.size else np.zeros(0, dtype=np.intp)
    return values[begins], np.append(begins, values.size)
