"""From a path to what it promises: steps, odds and their lower bounds (DESIGN §6.6)."""

from __future__ import annotations

import math

import numpy as np

from somabrain.oak.model import PlanStep, Route
from somabrain.oak.planner.graph import Indices
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
    rows = [merged.row(edge) for edge in path]
    of_rows = np.array([row for row in rows if row >= 0], dtype=np.intp)
    steps = _steps(merged, path, of_rows)
    return Route(
        steps=steps,
        success_probability=math.prod(step.probability for step in steps),
        success_probability_lower=_lower(merged, steps, of_rows),
        duration=sum(step.duration for step in steps),
        reward=sum(step.reward for step in steps),
        utility=sum(step.utility for step in steps),
        cost=sum(merged.weight(edge) for edge in path),
    )


def _steps(merged: Merged, path: Path, of_rows: Indices) -> tuple[PlanStep, ...]:
    """What running each option promises, retries eliminated; only the last may be the local goal option."""
    graph, rows = merged.graph, merged.graph.rows
    escape = graph.leaving.escape[of_rows]
    chances = np.array([merged.probability(edge) for edge in path[: of_rows.size]], dtype=np.float64)
    columns = (
        rows.option[of_rows],
        rows.start[of_rows],
        np.minimum(1.0, chances / escape),
        graph.leaving.evidence[of_rows],
        rows.duration[of_rows] / escape,
        rows.reward[of_rows] / escape,
        rows.utility[of_rows],
        rows.executions[of_rows],
    )
    found = [
        PlanStep(
            option_id=rows.option_ids[option],
            start=start,
            end=merged.end(edge),
            probability=probability,
            probability_lower=wilson_lower(probability, evidence, graph.parameters.confidence_z),
            duration=duration,
            reward=reward,
            utility=utility,
            executions=executions,
        )
        for edge, option, start, probability, evidence, duration, reward, utility, executions in zip(
            path[: of_rows.size], *(column.tolist() for column in columns), strict=True
        )
    ]
    if merged.local is not None:
        found += [_local_step(merged, merged.local, edge) for edge in path[of_rows.size :]]
    return tuple(found)


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


def _lower(merged: Merged, steps: tuple[PlanStep, ...], of_rows: Indices) -> float:
    """exp(Σ ln p̄ − z √(Σ (1 − p̄)/(p̄ (n' + u)))) with p̄ = P' n'/(n' + u): the delta method on independent steps.

    The local goal option has no doubt.
    """
    leaving = merged.graph.leaving
    trusts = leaving.trust[of_rows].tolist()
    evidences = (leaving.evidence[of_rows] + leaving.doubt[of_rows]).tolist()
    if merged.local is not None and of_rows.size < len(steps):
        trusts.append(1.0)
        evidences.append(merged.local.evidence)
    logs, variance = 0.0, 0.0
    for step, trust, evidence in zip(steps, trusts, evidences, strict=True):
        mean = step.probability * trust
        if mean <= 0 or evidence <= 0:
            return 0.0
        logs += math.log(mean)
        variance += (1 - mean) / (mean * evidence)
    return math.exp(logs - merged.graph.parameters.confidence_z * math.sqrt(variance))
