"""Values for tests."""

from __future__ import annotations

import itertools
from typing import Any

from somabrain.oak.changes import Stamp
from somabrain.oak.learning import facts
from somabrain.oak.model import Ending, Execution, OptionSpec, State, Termination
from somabrain.tenancy import Namespace, TenantId

ALICE, BOB = TenantId("alice"), TenantId("bob")
HOME = Namespace("default")
_ids = itertools.count(1)


def stamp(now_ms: int = 1_700_000_000_000) -> Stamp:
    return Stamp(now_ms=now_ms, reported_by="tester", new_event_id=lambda: f"event-{next(_ids)}")


def spec(target: State | None = None, **changes: Any) -> OptionSpec:
    values: dict[str, Any] = {
        "name": "go",
        "description": "",
        "target": target or facts({"at": "goal"}),
        "policy": {},
        "termination": Termination(),
        "kappa": 1.0,
        "gamma": 0.99,
        "alpha": 0.05,
        "metadata": {},
    }
    return OptionSpec(**{**values, **changes})


def run(
    start: State,
    final: State,
    rewards: tuple[float, ...] | None = (-1.0,),
    ending: Ending = Ending.TARGET,
    **changes: Any,
) -> Execution:
    values: dict[str, Any] = {
        "start": start,
        "final": final,
        "rewards": rewards,
        "reward": 0.0,
        "duration": 1 if rewards is None else len(rewards),
        "ending": ending,
    }
    return Execution(**{**values, **changes})


def at(place: str) -> State:
    return facts({"at": place})
