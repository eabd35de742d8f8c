"""The planner's answer: a plan with its alternatives, or the reason why there is none."""

from __future__ import annotations

from somabrain.oak.model import Advice, Plan, Reason, Route
from somabrain.oak.planner.distances import Distances
from somabrain.oak.planner.merging import Merged, raised
from somabrain.oak.planner.routes import EMPTY_ROUTE, option_ids, route
from somabrain.oak.planner.search import Labels, Path, shortest, shortest_within, walk

ALTERNATIVE_PENALTY = 693_147
"""ln 2 in micro-nats: each earlier plan that used an edge makes it look half as probable (DESIGN §6.7)."""

ATTEMPTS_PER_ALTERNATIVE = 8
"""Searches for each alternative wanted, at the most: one may be 2⁻⁸ as probable, edge for edge, and be met."""


def plan(distances: Distances, *, start: int | None, at_target: bool, max_options: int, alternatives: int) -> Plan:
    """The cheapest plan from `start` of at most `max_options` options, and up to `alternatives` others.

    `start` is `None` where the state belongs to no prototype; `at_target` says that the state itself
    meets the target. Reasons are tested in the order of `Reason` (DESIGN §7).
    """
    if at_target or start in distances.goals:
        return Plan(
            reason=Reason.ALREADY_AT_TARGET,
            route=EMPTY_ROUTE,
            policy_probability=1.0,
            advice=Advice.FOLLOW,
            alternatives=(),
        )
    if start is None:
        return _nothing(Reason.UNKNOWN_START, 0.0)
    value = distances.policy_value(start)
    hindrance = obstacle(distances, start)
    if hindrance is not None:
        return _nothing(hindrance, value)
    path = _cheapest(distances.merged, distances.labels, start, max_options)
    if not path:
        return _nothing(Reason.UNREACHABLE_WITHIN_MAX_OPTIONS, value)
    found = route(distances.merged, path)
    value = max(value, found.success_probability)
    gap = value - found.success_probability
    return Plan(
        reason=None,
        route=found,
        policy_probability=value,
        advice=Advice.REPLAN if gap > distances.graph.parameters.replan_gap else Advice.FOLLOW,
        alternatives=_alternatives(distances.merged, path, start, max_options, alternatives),
    )


def obstacle(distances: Distances, start: int) -> Reason | None:
    """Why no path of whatever length leads from `start` to a goal; `None` where one does."""
    if not distances.goals:
        return Reason.NO_GOAL_STATE
    if not distances.graph.rows.start.size:
        return Reason.NO_OPTIONS
    return Reason.UNREACHABLE if distances.cost(start) is None else None


def _nothing(reason: Reason, value: float) -> Plan:
    return Plan(reason=reason, route=None, policy_probability=value, advice=Advice.EXPLORE, alternatives=())


def _alternatives(merged: Merged, path: Path, start: int, max_options: int, count: int) -> tuple[Route, ...]:
    """Plans whose lists of options differ from that of `path` and from each other, in the order found."""
    if not count:
        return ()
    prices = merged.prices
    seen = {option_ids(merged, path)}
    found: list[Route] = []
    for _ in range(count * ATTEMPTS_PER_ALTERNATIVE):
        prices = raised(prices, path, ALTERNATIVE_PENALTY)
        path = shortest(merged, prices, start)
        if len(path) > max_options:
            path = shortest_within(merged, prices, start, max_options)
        if not path:
            break
        ids = option_ids(merged, path)
        if ids not in seen:
            seen.add(ids)
            found.append(route(merged, path))
            if len(found) == count:
                break
    return tuple(found)


def _cheapest(merged: Merged, labels: Labels, start: int, max_options: int) -> Path:
    """The canonical cheapest path of at most `max_options` edges, empty without one.

    `labels` must hold a path from `start`.
    """
    if labels.hops[start] <= max_options:
        return walk(merged, merged.prices, labels, start)
    return shortest_within(merged, merged.prices, start, max_options, labels)
