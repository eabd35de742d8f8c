"""The map of states: which of them matter, and how runs went between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from somabrain.oak.model import Odds
from somabrain.report.layout import placed
from somabrain.report.model import Chart, Edge, Node
from somabrain.report.runs import Run
from somabrain.report.shares import share

NODES_MAX = 20
"""States on the map: of those in which something was decided."""

MOVES_MAX = 44
"""Moves between them that are drawn, besides the most frequent to and from each."""

VISITED = 0.1
"""How much a visit counts for a state whose odds are those of all runs; a difference of odds adds to that."""

SUCCEEDED, FAILED, UNKNOWN = -2, -3, -4
"""How runs end, as places of the map."""


@dataclass(slots=True)
class _Visits:
    """Of a state: runs that came there, that began there, of known outcome, that succeeded; Σ turns until they came."""

    runs: int = 0
    begun: int = 0
    known: int = 0
    successes: int = 0
    first: int = 0


@dataclass(slots=True)
class _Moves:
    times: Counter[tuple[int, int]] = field(default_factory=Counter)
    direct: Counter[tuple[int, int]] = field(default_factory=Counter)


def chart(runs: Sequence[Run], odds: Mapping[int, Odds], overall: float, states: int) -> Chart:
    """The map of these runs; `odds` of the states that they were in, `overall` the share of successes."""
    visits = _visits(runs)
    decided = {one.state for run in runs for one in run.decisions}
    shown = frozenset(_most_important({state: visits[state] for state in decided}, odds, overall))
    moves = _moved(runs, shown)
    between = Counter({pair: times for pair, times in moves.times.items() if pair[1] >= 0})
    drawn = _drawn(between)
    times = {state: visits[state].first / visits[state].runs for state in shown}
    places = placed(times, {pair: between[pair] for pair in drawn})
    nodes = [
        Node(
            state=state,
            runs=visits[state].runs,
            begun=visits[state].begun,
            succeeded=moves.times[state, SUCCEEDED],
            failed=moves.times[state, FAILED],
            left=sum(times for (start, _), times in moves.times.items() if start == state),
            known=share(visits[state].successes, visits[state].known),
            odds=odds[state].success_probability,
            lower=odds[state].lower,
            upper=odds[state].upper,
            row=row,
            place=place,
        )
        for state, (row, place) in places.items()
    ]
    return Chart(
        nodes=tuple(sorted(nodes, key=lambda one: (one.row, one.place))),
        edges=tuple(
            Edge(start=start, end=end, times=between[start, end], direct=moves.direct[start, end])
            for start, end in sorted(drawn)
        ),
        rows=1 + max((one.row for one in nodes), default=-1),
        states=states,
        moves=len(between),
        moves_shown=len(drawn),
    )


def _visits(runs: Sequence[Run]) -> dict[int, _Visits]:
    visits: dict[int, _Visits] = {}
    for run in runs:
        first = {state: place for place, state in reversed(list(enumerate(run.places)))}
        for state, place in first.items():
            one = visits.setdefault(state, _Visits())
            one.runs += 1
            one.begun += place == 0
            one.known += run.success is not None
            one.successes += bool(run.success)
            one.first += place
    return visits


def _most_important(visits: Mapping[int, _Visits], odds: Mapping[int, Odds], overall: float) -> list[int]:
    """By runs, and by how far the odds there differ from those of all."""

    def weight(state: int) -> float:
        return visits[state].runs * (VISITED + abs(odds[state].success_probability - overall))

    return sorted(visits, key=lambda state: (-weight(state), state))[:NODES_MAX]


def _moved(runs: Sequence[Run], shown: frozenset[int]) -> _Moves:
    """Moves between states shown, those between them passed over, and from the last of a run to how it ended."""
    moves = _Moves()
    for run in runs:
        end = UNKNOWN if run.success is None else SUCCEEDED if run.success else FAILED
        places = run.places
        seen = [(place, state) for place, state in enumerate(places) if state in shown]
        for (here, start), (there, outcome) in pairwise([*seen, (len(places), end)]):
            if start != outcome:
                moves.times[start, outcome] += 1
                moves.direct[start, outcome] += there == here + 1
    return moves


def _drawn(times: Counter[tuple[int, int]]) -> set[tuple[int, int]]:
    """The most frequent moves, and of each state the most frequent to it and from it."""
    ranked = sorted(times, key=lambda pair: (-times[pair], pair))
    drawn = set(ranked[:MOVES_MAX])
    left: set[int] = set()
    reached: set[int] = set()
    for start, end in ranked:
        if start not in left or end not in reached:
            drawn.add((start, end))
        left.add(start)
        reached.add(end)
    return drawn
