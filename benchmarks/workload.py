"""A namespace to measure on: random options between random states."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from somabrain.oak.learning import ENCODER_ID, facts, row_table
from somabrain.oak.model import ModelRow, OptionSpec, RowTable, Termination

OPTIONS = 500
STATES = 500
EDGES = 5000
ALPHA = 0.05
RUNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Rows with two outcomes each; state n has the facts {"s": n}."""

    rows: tuple[ModelRow, ...]
    options: tuple[str, ...]
    states: int


def random_workload(seed: int, *, options: int = OPTIONS, states: int = STATES, edges: int = EDGES) -> Workload:
    """`edges` / 2 rows, each of a random option at a random state, leading to two random states."""
    rng = random.Random(seed)
    names = tuple(f"option-{number:05d}" for number in range(options))
    keys: set[tuple[str, int]] = set()
    while len(keys) < edges // 2:
        keys.add((rng.choice(names), rng.randrange(states)))
    z = 1 - (1 - ALPHA) ** RUNS
    rows = []
    for name, start in sorted(keys):
        ends = sorted(rng.sample([state for state in range(states) if state != start], 2))
        p = rng.uniform(0.6, 0.95)
        duration = rng.uniform(1, 20)
        discount = math.exp(-0.001 * duration)
        rows.append(
            ModelRow(
                option_id=name,
                start=start,
                z=z,
                executions=RUNS,
                duration=duration,
                reward=-duration,
                feature=p,
                outcomes=tuple(ends),
                probability=(p, 1 - p),
                reach=(p * discount, (1 - p) * discount),
            )
        )
    return Workload(rows=tuple(rows), options=names, states=states)


def table_of(workload: Workload) -> RowTable:
    """The workload as the planner takes it."""
    spec = OptionSpec(
        name="o",
        description="",
        target=facts({"s": 0}),
        policy={},
        termination=Termination(),
        kappa=1.0,
        gamma=0.99,
        alpha=ALPHA,
        metadata={},
    )
    return row_table(workload.rows, dict.fromkeys(workload.options, spec))


def document_of(workload: Workload, dimension: int) -> dict[str, Any]:
    """The workload as `PUT /oak/model` takes it."""
    born = "2026-01-01T00:00:00.000Z"
    return {
        "format": "somabrain-model-1",
        "memory_dim": dimension,
        "encoder": ENCODER_ID,
        "prototypes": [{"prototype": n, "features": {"s": n}, "visits": 1} for n in range(workload.states)],
        "options": [
            {
                "option_id": name,
                "name": name,
                "description": "",
                "target": {"features": {"s": number % workload.states}},
                "policy": {},
                "termination": {},
                "kappa": 1.0,
                "gamma": 0.99,
                "alpha": ALPHA,
                "metadata": {},
                "status": "active",
                "source": "declared",
                "version": 1,
                "policy_version": 1,
                "created_at": born,
                "updated_at": born,
                "executions": RUNS,
                "successes": RUNS,
                "steps": RUNS,
                "censored": 0,
            }
            for number, name in enumerate(workload.options)
        ],
        "rows": [
            {
                "option_id": row.option_id,
                "start": row.start,
                "z": row.z,
                "executions": row.executions,
                "duration": row.duration,
                "reward": row.reward,
                "feature": row.feature,
                "outcomes": [list(one) for one in zip(row.outcomes, row.probability, row.reach, strict=True)],
            }
            for row in workload.rows
        ],
        "primitives": {},
        "consolidation": None,
    }
