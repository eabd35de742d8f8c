"""What every format of traces comes to: calls of tools, and how the run ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any
Scalar = str | int | float | bool
Body = dict[str, Json]
"""The body of a request to `POST /oak/episode`."""

STEPS_MAX = 10_000
"""Most steps of an episode (DESIGN §7)."""
TOOLS_MAX = 48
"""Most tools that succeed in one trace: with the goal's facts they stay below the 64 facts of a state (DESIGN §5.1)."""
GOAL_FACTS_MAX = 12
"""Most facts of a goal."""
NAME_MAX = 128
"""Longest name of a tool or of a goal's fact, in characters: what an id may have (DESIGN §7)."""

CUT_OFF = (
    "budget",
    "cancelled",
    "error",
    "length",
    "max_propose_steps",
    "max_steps",
    "max_tokens",
    "max_turns",
    "timeout",
)
"""Reasons to stop that say nothing about the task: the log was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool was called, by the assistant's message number `turn` (from 0).

    `ok`: whether it worked; `None` where the trace does not tell. `arguments`: JSON, text where they are none.
    """

    name: str
    arguments: Json
    ok: bool | None
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A run of an agent. `success` is `None` where it is not known; a run that is `cut_off` did not fail by that.

    `goal` are facts that hold throughout; `told` is the goal in words; `roles` is what the run is about.
    """

    episode_id: str
    calls: tuple[Call, ...]
    goal: Mapping[str, Scalar] = field(default_factory=dict)
    roles: Mapping[str, str | int | float] = field(default_factory=dict)
    told: str | None = None
    success: bool | None = None
    cut_off: bool = False
    agent: str | None = None
    group: str | None = None
