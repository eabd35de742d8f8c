"""What to do now, on the way to a goal: go on with what runs, or switch (DESIGN §6.9).

The interruption of Sutton, Precup and Singh 1999, theorem 2, by the discounted reach: an option is left where another
way is worth more. Because P~ is a value, harmonic along the option, this can't thrash.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from somabrain.oak.model import FAIL, Reason
from somabrain.oak.planner.costs import weigh_one
from somabrain.oak.planner.distances import Distances
from somabrain.oak.planner.merging import UNREACHED
from somabrain.oak.planner.plans import obstacle
from somabrain.oak.planner.search import step

INTERRUPT_SLACK = 100
"""Micro-nats by which what runs may be worse than the best: against switches by rounding (DESIGN §6.9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now. `option_id` is `None` where nothing is to be done or known, `reason` says which.

    `switched`: another option than the running one. `success_probability` is the best policy's from here, 0 where
    it is not known where here is. `expected_duration` in steps. `executions` of the option from here.
    """

    reason: Reason | None
    option_id: str | None
    switched: bool
    success_probability: float
    expected_duration: float
    executions: int

    @property
    def done(self) -> bool:
        """Nothing is left to do."""
        return self.reason is Reason.ALREADY_AT_TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An option that may be taken: its own odds if one decides anew after it, and its `cost`, Q, in micro-nats.

    `cost` is `None` where no outcome of it leads to a goal.
    """

    option_id: str
    success_probability: float
    executions: int
    cost: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """An option from here on: its `cost` Q, the steps that it and the cheapest path behind it take, its runs."""

    cost: int
    duration: float
    executions: int


def act(
    distances: Distances,
    *,
    at: int | None,
    at_target: bool = False,
    running: str | None = None,
    targets: Sequence[int] | None = None,
) -> Decision:
    """What to do at prototype `at`, `None` where the state belongs to none; `at_target` says that it meets the target.

    `running` is the option that was begun and has not ended. `targets` are the prototypes that meet its own target if
    it is a declared one, and `None` for others: those are left where they have no row, declared ones go on until they
    are no longer on the way. Looks up what `distances` holds.
    """
    if at_target or (at is not None and at in distances.goals):
        return Decision(
            reason=Reason.ALREADY_AT_TARGET,
            option_id=None,
            switched=False,
            success_probability=1.0,
            expected_duration=0.0,
            executions=0,
        )
    value = 0.0 if at is None else distances.policy_value(at)
    way = None if running is None else _kept(distances, at, running, targets)
    if way is not None:
        return Decision(
            reason=None,
            option_id=running,
            switched=False,
            success_probability=value,
            expected_duration=way.duration,
            executions=way.executions,
        )
    reason = Reason.UNKNOWN_START if at is None else obstacle(distances, at)
    if at is None or reason is not None:
        return Decision(
            reason=reason,
            option_id=None,
            switched=False,
            success_probability=value,
            expected_duration=0.0,
            executions=0,
        )
    merged = distances.merged
    edge, _ = step(merged, merged.prices, distances.labels, at, int(distances.labels.hops[at]))
    option_id, row = merged.option_id(edge), merged.row(edge)
    return Decision(
        reason=None,
        option_id=option_id,
        switched=running is not None and running != option_id,
        success_probability=value,
        expected_duration=expected_duration(distances, at),
        executions=0 if row < 0 else int(distances.graph.rows.executions[row]),
    )


def candidates(distances: Distances, at: int, top_k: int) -> tuple[Candidate, ...]:
    """The `top_k` best options that have a row at `at`, best Q first, ties by id; none at a goal."""
    graph = distances.graph
    if at in distances.goals or at >= graph.size:
        return ()
    rows = graph.leaving_rows[graph.leaving_rows_at[at] : graph.leaving_rows_at[at + 1]].tolist()
    found = []
    for row in rows:
        way = _row_way(distances, row)
        found.append(
            Candidate(
                option_id=graph.rows.option_ids[graph.rows.option[row]],
                success_probability=_success(distances, row),
                executions=int(graph.rows.executions[row]),
                cost=None if way is None else way.cost,
            )
        )
    local = _local_index(distances, at)
    if local is not None and distances.merged.local is not None:
        probability = float(distances.merged.goal_probability[local])
        cost = int(distances.merged.prices.goal_edges[local])
        option_id = distances.merged.local.option_id
        found.append(Candidate(option_id=option_id, success_probability=probability, executions=0, cost=cost))
    found.sort(key=lambda one: (UNREACHED if one.cost is None else one.cost, one.option_id))
    return tuple(found[:top_k])


def expected_duration(distances: Distances, at: int) -> float:
    """Steps along the canonical path from `at`, which must reach a goal."""
    known = distances.durations
    merged, labels = distances.merged, distances.labels
    path: list[tuple[int, float]] = []
    vertex = at
    while vertex not in distances.goals and vertex >= 0 and vertex not in known:
        edge, after = step(merged, merged.prices, labels, vertex, int(labels.hops[vertex]))
        path.append((vertex, _edge_duration(distances, edge)))
        vertex = after
    total = known.get(vertex, 0.0)
    for passed, duration in reversed(path):
        total += duration
        known[passed] = total
    return total


def _edge_duration(distances: Distances, edge: int) -> float:
    merged, row = distances.merged, distances.merged.row(edge)
    if row < 0 and merged.local is not None:
        return float(merged.local.model.duration[merged.goal_local[edge - merged.graph.edge_row.size]])
    return float(merged.graph.rows.duration[row] / merged.graph.leaving.escape[row])


def _kept(distances: Distances, at: int | None, running: str, targets: Sequence[int] | None) -> _Way | None:
    """How the running option goes on; `None` where it is to be left."""
    here = None if at is None else distances.cost(at)
    local = distances.merged.local
    if at is not None and local is not None and local.option_id == running:
        way = _local_way(distances, at)
    else:
        row = None if at is None else _row_at(distances, at, running)
        if row is None:
            return None if targets is None else _toward_targets(distances, here, targets)
        way = _row_way(distances, row)
    if way is None or (here is not None and way.cost > here + INTERRUPT_SLACK):
        return None
    return way


def _toward_targets(distances: Distances, here: int | None, targets: Sequence[int]) -> _Way | None:
    """A declared option of unknown odds goes on while its target is nearer to a goal than here is."""
    reached = [(cost, target) for target in targets if (cost := distances.cost(target)) is not None]
    if not reached:
        return None
    cost, target = min(reached)
    if here is not None and here <= cost:
        return None
    return _Way(cost=cost, duration=expected_duration(distances, target), executions=0)


def _row_at(distances: Distances, at: int, option_id: str) -> int | None:
    """The row of an option at `at`."""
    graph = distances.graph
    number = bisect_left(graph.rows.option_ids, option_id)
    if at >= graph.size or number == len(graph.rows.option_ids) or graph.rows.option_ids[number] != option_id:
        return None
    rows = graph.leaving_rows[graph.leaving_rows_at[at] : graph.leaving_rows_at[at + 1]]
    options = graph.rows.option[rows]
    place = int(np.searchsorted(options, number))
    return int(rows[place]) if place < rows.size and options[place] == number else None


def _row_way(distances: Distances, row: int) -> _Way | None:
    """The row's best outcome, all goals being one, retries eliminated, and none of them too improbable."""
    rows, leaving = distances.graph.rows, distances.graph.leaving
    if not leaving.live[row]:
        return None
    first, last = int(rows.offset[row]), int(rows.offset[row + 1])
    start, goals = int(rows.start[row]), distances.goals
    escape, trust = float(leaving.escape_reach[row]), float(leaving.trust[row])
    at_goals, best = 0.0, (UNREACHED, start)
    for y, reach in zip(rows.outcome[first:last].tolist(), rows.reach[first:last].tolist(), strict=True):
        if y in goals:
            at_goals += reach
        elif y not in (FAIL, start) and reach > 0:
            cost = distances.cost(y)
            if cost is not None:
                best = min(best, (weigh_one(reach / escape * trust) + cost, y))
    duration = float(rows.duration[row] / leaving.escape[row])
    executions = int(rows.executions[row])
    if at_goals > 0 and (through := weigh_one(at_goals / escape * trust)) <= best[0]:
        return _Way(cost=through, duration=duration, executions=executions)
    cost, y = best
    if cost >= UNREACHED:
        return None
    return _Way(cost=cost, duration=duration + expected_duration(distances, y), executions=executions)


def _local_way(distances: Distances, at: int) -> _Way | None:
    index = _local_index(distances, at)
    if index is None:
        return None
    edge = distances.graph.weight.size + index
    cost = int(distances.merged.prices.goal_edges[index])
    return _Way(cost=cost, duration=_edge_duration(distances, edge), executions=0)


def _local_index(distances: Distances, at: int) -> int | None:
    """Which of the edges into the merged goal is the local goal option's at `at`."""
    merged = distances.merged
    first, last = np.searchsorted(merged.goal_source, (at, at + 1)).tolist()
    return next((index for index in range(first, last) if merged.goal_local[index] >= 0), None)


def _success(distances: Distances, row: int) -> float:
    """Σ P'(y) V(y) over all outcomes; a primitive's own start is one of them, as it is for the best policy."""
    rows, leaving = distances.graph.rows, distances.graph.leaving
    if not leaving.live[row]:
        return 0.0
    first, last = int(rows.offset[row]), int(rows.offset[row + 1])
    left_out = (FAIL,) if rows.primitive[row] else (FAIL, int(rows.start[row]))
    total = sum(
        probability * distances.policy_value(y)
        for y, probability in zip(rows.outcome[first:last].tolist(), rows.probability[first:last].tolist(), strict=True)
        if y not in left_out
    )
    return float(min(1.0, total / float(leaving.escape[row])))
