"""Random decision processes as the primitive model sees them, and options worked out in them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from somabrain.oak.learning import facts, primitive_table, row_table
from somabrain.oak.model import (
    Arrivals,
    Mark,
    OptionModel,
    OptionSpec,
    PrimitiveRow,
    PrimitiveTable,
    RowTable,
    Termination,
)
from somabrain.oak.subtasks import Dynamics, Subtask, dynamics, solve

SPEC = OptionSpec(
    name="o",
    description="",
    target=facts({"s": 0}),
    policy={},
    termination=Termination(),
    kappa=1.5,
    gamma=0.99,
    alpha=0.05,
    metadata={},
)
TIME_PRICE, LOSS_PRICE, GAMMA = 0.001, 0.01, 0.99


@dataclass(frozen=True, kw_only=True)
class DecisionWorld:
    """A namespace that was only ever explored, and the options toward some of its states."""

    table: PrimitiveTable
    dynamics: Dynamics
    models: tuple[OptionModel, ...]
    rows: RowTable


def random_steps(random: Random, *, states: int, actions: int) -> tuple[list[PrimitiveRow], list[Arrivals]]:
    """Counts as exploring leaves them: some pairs untried, some tries repeated, some states the end."""
    rows: list[PrimitiveRow] = []
    for start in range(states):
        for action in range(actions):
            if random.random() < 0.15:
                continue
            near = [(start + jump) % states for jump in (1, 2, -1, 0, random.randint(0, states - 1))]
            counts: dict[int, int] = {}
            for _ in range(random.choice((1, 1, 3, 10, 40))):
                y = near[action % 3] if random.random() < random.choice((0.6, 0.9, 1.0)) else random.choice(near)
                counts[y] = counts.get(y, 0) + 1
            total, loss = sum(counts.values()), random.choice((0.0, 0.0, 0.0, 1.0, 20.0))
            rows.append(
                PrimitiveRow(
                    start=start,
                    action=action,
                    reward=-loss * total,
                    loss=loss * total,
                    refused=0,
                    fresh=random.random() < 0.3,
                    outcomes=tuple(sorted(counts)),
                    counts=tuple(counts[y] for y in sorted(counts)),
                )
            )
    ended = random.sample(range(states), random.randint(0, states // 5))
    return rows, [Arrivals(number=number, arrivals=3, endings=2, marks=Mark(0)) for number in ended]


def random_decision_world(random: Random, *, states: int, actions: int, options: int, radius: int) -> DecisionWorld:
    """All of it joined into the planner's rows."""
    rows, arrivals = random_steps(random, states=states, actions=actions)
    ids = tuple(f"act:{number}" for number in range(actions))
    table = primitive_table(rows, arrivals, ids, states)
    process = dynamics(table, time_price=TIME_PRICE, loss_price=LOSS_PRICE)
    targets = random.sample(range(states), options)
    models = tuple(
        option_model(target, solve(process, [target], radius=radius, states_max=states, gamma=GAMMA))
        for target in targets
    )
    known = dict.fromkeys([*ids, *(model.option_id for model in models)], SPEC)
    joined = row_table([], known, predicted=models, primitives=process, action_ids=ids, prediction_weight=10.0)
    return DecisionWorld(table=table, dynamics=process, models=models, rows=joined)


def option_model(target: int, subtask: Subtask) -> OptionModel:
    """As it would be stored: float32."""
    return OptionModel(
        option_id=f"disc:{target:04d}",
        target=target,
        start=subtask.start,
        action=subtask.action,
        probability=subtask.probability.astype(np.float32),
        reach=subtask.reach.astype(np.float32),
        reward=subtask.reward.astype(np.float32),
        duration=subtask.duration.astype(np.float32),
    )
