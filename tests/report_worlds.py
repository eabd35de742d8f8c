"""Small made worlds for tests of reports: runs at random, and what a report needs besides."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from somabrain.oak.learning import calibration
from somabrain.oak.model import EVERYONE
from somabrain.report import Known, Names, Run, Tool, labels

AGENTS = (None, "ann", "bob")


def made_run(random: Random, *, states: int = 6, actions: int = 3, groups: int = 8, unknown: bool = False) -> Run:
    """A run in a world where to begin with action 0 in state 0, or to have decided in state 1, nearly always fails."""
    length = random.randint(1, 8)
    turns, turn = [], 0
    for _ in range(length):
        turns.append(turn)
        turn += random.choice((0, 1, 1, 1, 2))
    visited = [random.choice((0, random.randrange(states))), *(random.randrange(states) for _ in range(length))]
    taken = [random.randrange(actions) for _ in range(length)]
    luck = 0.05 if (visited[0], taken[0]) == (0, 0) or 1 in visited[:-1] else 0.9
    success: bool | None = random.random() < luck
    if unknown and random.random() < 0.2:
        success = None
    return Run(
        states=visited,
        actions=taken,
        turns=turns,
        agent=random.choice(AGENTS),
        group=random.choice((None, *(f"task {number}" for number in range(groups)))) if groups else None,
        success=success,
        ended=bool(success) or random.random() < 0.5,
    )


def known(runs: Sequence[Run], *, namespace: str = "made", prototypes: int = 6) -> Known:
    """All else is nothing, or follows from the runs."""
    taken = [action for run in runs for action in run.actions]
    return Known(
        namespace=namespace,
        model_version=len(runs),
        prototypes=prototypes,
        runs=runs,
        skills=(),
        tools=[Tool(action=action, taken=taken.count(action), refused=0) for action in sorted(set(taken))],
        live=calibration(EVERYONE, []),
    )


def names(states: int = 6, actions: int = 3) -> Names:
    """Plain ones."""
    return Names(
        states=labels({number: {"at": f"room {number}", "door": number % 2 == 0} for number in range(states)}),
        actions={number: f"do {number}" for number in range(actions)},
    )
