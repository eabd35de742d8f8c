"""From a path to what it promises: steps, odds and their lower bounds (DESIGN §6.6)."""

from __future__ import annotations

import math

from somabrain.oak.model import PlanStep, Route
from somabrain.oak.planner.local import LocalOption
from somabrain.oak.planner.merging import Merged
from somabrain.oak.planner.search import Path

EMPTY_ROUTE = Route(
    steps=(),
    success_probability=1.0,
    success_probability_lower=1.0,
    duration=0.0,
    reward=0.0,
    utility=0.0,
    cost=0,
)
"""The way from a goal to a goal."""


def wilson_lower(probability: float, evidence: float, z: float) -> float:
    """The lower end of Wilson's score interval (Wilson 1927) for `probability` seen in `evidence` runs."""
    if evidence <= 0:
        return 0.0 if z > 0 else probability
    ratio = z * z / evidence
    spread = math.sqrt(ratio * probability * (1 - probability) + (ratio / 2) ** 2)
    return max(0.0, (probability + ratio / 2 - spread) / (1 + ratio))


def option_ids(merged: Merged, path: Path) -> tuple[str, ...]:
    """The options of `path` in order."""
    return tuple(merged.option_id(edge) for edge in path)


def route(merged: Merged, path: Path) -> Route:
    """What following `path` promises."""
    steps = tuple(plan_step(merged, edge) for edge in path)
    return Route(
        steps=steps,
        success_probability=math.prod(step.probability for step in steps),
        success_probability_lower=_lower(merged, path, steps),
        duration=sum(step.duration for step in steps),
        reward=sum(step.reward for step in steps),
        utility=sum(step.utility for step in steps),
        cost=sum(merged.weight(edge) for edge in path),
    )


def plan_step(merged: Merged, edge: int) -> PlanStep:
    """What running the option of `edge` promises, retries eliminated."""
    graph, row = merged.graph, merged.row(edge)
    if row < 0 and merged.local is not None:
        return _local_step(merged, merged.local, edge)
    rows, escape = graph.rows, float(graph.leaving.escape[row])
    probability = min(1.0, merged.probability(edge) / escape)
    return PlanStep(
        option_id=merged.option_id(edge),
        start=int(rows.start[row]),
        end=merged.end(edge),
        probability=probability,
        probability_lower=wilson_lower(probability, float(graph.leaving.evidence[row]), graph.parameters.confidence_z),
        duration=float(rows.duration[row]) / escape,
        reward=float(rows.reward[row]) / escape,
        utility=float(rows.utility[row]),
        executions=int(rows.executions[row]),
    )


def _local_step(merged: Merged, local: LocalOption, edge: int) -> PlanStep:
    index = int(merged.goal_local[edge - merged.graph.edge_row.size])
    probability, reward = merged.probability(edge), float(local.model.reward[index])
    return PlanStep(
        option_id=local.option_id,
        start=int(local.model.start[index]),
        end=merged.end(edge),
        probability=probability,
        probability_lower=wilson_lower(probability, local.evidence, merged.graph.parameters.confidence_z),
        duration=float(local.model.duration[index]),
        reward=reward,
        utility=local.kappa * probability + reward,
        executions=0,
    )


def _lower(merged: Merged, path: Path, steps: tuple[PlanStep, ...]) -> float:
    """exp(Σ ln p̄ − z √(Σ (1 − p̄)/(p̄ (n' + u)))) with p̄ = P' n'/(n' + u): the delta method on independent steps."""
    logs, variance = 0.0, 0.0
    for edge, step in zip(path, steps, strict=True):
        trust, evidence = _evidence(merged, merged.row(edge))
        mean = step.probability * trust
        if mean <= 0 or evidence <= 0:
            return 0.0
        logs += math.log(mean)
        variance += (1 - mean) / (mean * evidence)
    return math.exp(logs - merged.graph.parameters.confidence_z * math.sqrt(variance))


def _evidence(merged: Merged, row: int) -> tuple[float, float]:
    """n'/(n' + u) and n' + u of a row, or of the local goal option, which has no doubt."""
    if row < 0 and merged.local is not None:
        return 1.0, merged.local.evidence
    leaving = merged.graph.leaving
    return float(leaving.trust[row]), float(leaving.evidence[row] + leaving.doubt[row])
