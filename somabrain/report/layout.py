"""Where the states of a map stand: rows in the order in which runs come there, with few crossings between rows.

Layers and barycentres after Sugiyama, Tagawa and Toda (1981), "Methods for visual understanding of hierarchical system
structures".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

WIDTH = 5
"""States in a row, at most."""

ROW_COST = 0.01
"""What a further row has to save of the spread of times within rows, squared; all times span 1."""

WIDTH_COST = 1e-6
"""What the square of a row's width costs beside that: rows that might be cut anywhere are of one width."""

SWEEPS = 12
"""Passes over the rows, down and up in turn."""

Place = tuple[int, int]
"""Row and place in it, from 0."""


def placed(times: Mapping[int, float], moves: Mapping[tuple[int, int], int]) -> dict[int, Place]:
    """The place of each state; `times`: when runs come there first, in the mean; `moves`: how often between which."""
    rows = layered(times)
    best = _untangled(rows, moves)
    return {state: (row, place) for row, states in enumerate(best) for place, state in enumerate(states)}


def layered(times: Mapping[int, float]) -> list[list[int]]:
    """The states in rows by time: those of one row come at about the same time."""
    order = sorted(times, key=lambda state: (times[state], state))
    if not order:
        return []
    span = (times[order[-1]] - times[order[0]]) or 1.0
    at = [times[state] / span for state in order]
    costs, cuts = [0.0], [0]
    for end in range(1, len(order) + 1):
        ways = [(costs[cut] + _cost(at[cut:end]), cut) for cut in range(max(0, end - WIDTH), end)]
        cost, cut = min(ways)
        costs.append(cost)
        cuts.append(cut)
    rows, end = [], len(order)
    while end:
        rows.append(order[cuts[end] : end])
        end = cuts[end]
    return rows[::-1]


def _cost(times: Sequence[float]) -> float:
    """Of a row: the sum of squared distances from its mean time, and what its width and a row at all cost."""
    mean = sum(times) / len(times)
    return sum((time - mean) ** 2 for time in times) + ROW_COST + WIDTH_COST * len(times) ** 2


def crossings(rows: Sequence[Sequence[int]], moves: Mapping[tuple[int, int], int]) -> int:
    """Pairs of moves between the same two rows that cross, weighted by the rarer of the two."""
    where = {state: (row, place) for row, states in enumerate(rows) for place, state in enumerate(states)}
    between: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for (start, end), times in moves.items():
        (row, place), (other, there) = sorted((where[start], where[end]))
        if row != other:
            between[row, other].append((place, there, times))
    total = 0
    for pairs in between.values():
        for k, (place, there, times) in enumerate(pairs):
            total += sum(min(times, n) for a, b, n in pairs[:k] if (a - place) * (b - there) < 0)
    return total


def _untangled(rows: list[list[int]], moves: Mapping[tuple[int, int], int]) -> list[list[int]]:
    """The rows in the order with the fewest crossings that sweeps come by."""
    near: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (start, end), times in sorted(moves.items()):
        near[start].append((end, times))
        near[end].append((start, times))
    best, fewest = rows, crossings(rows, moves)
    for sweep in range(SWEEPS):
        rows = [list(row) for row in rows]
        for row in range(len(rows)) if sweep % 2 == 0 else range(len(rows) - 1, -1, -1):
            at = {state: (place + 1) / (len(states) + 1) for states in rows for place, state in enumerate(states)}
            own = set(rows[row])

            def centre(state: int, at: Mapping[int, float] = at, own: set[int] = own) -> tuple[float, int]:
                others = [(at[other], times) for other, times in near[state] if other not in own]
                weight = sum(times for _, times in others)
                return (sum(x * times for x, times in others) / weight if weight else at[state], state)

            rows[row].sort(key=centre)
        found = crossings(rows, moves)
        if found < fewest:
            best, fewest = rows, found
    return best
