"""Trajectories of primitive actions, and what they taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag

from somabrain.oak.model.states import Json, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One primitive action of an episode: where it was taken, what it earned.

    `action` is JSON: a string or an object. `ok` is what the agent says of the action itself, `None` where it says
    nothing; `salient`: the caller marks `state` as worth an option. `turn`: the number of the agent's decision, from 0,
    that the step belongs to, `None` where that is the step's place (ADR 0012).
    """

    state: State
    action: Json
    reward: float
    ok: bool | None = None
    salient: bool = False
    turn: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A trajectory of primitive actions (DESIGN §5.4).

    `terminated`: the world ended in `final`; otherwise the log was cut off there. `success` is `None` until known.
    `roles` are the values of the roles that its facts and actions name.
    """

    steps: tuple[Step, ...]
    final: State
    terminated: bool
    success: bool | None = None
    group: str | None = None
    agent: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    roles: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def turns(self) -> list[int]:
        """The turn of each step; they don't descend."""
        return [place if step.turn is None else step.turn for place, step in enumerate(self.steps)]


class Mark(IntFlag):
    """Why a state may become an option's target (DESIGN §5.5.1)."""

    REWARD = 1
    SUCCESS = 2
    MARKED = 4
    NOVELTY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimitiveRow:
    """What steps taught of (prototype `start`, action number `action`): plain counts and sums (DESIGN §5.4).

    `outcomes` ascending, `counts` how often each came, N in sum. `reward`, `loss` are Σ r and Σ max(0, −r), `refused`
    counts steps with `ok: false`. `fresh`: the first try led to a state never seen before.
    """

    start: int
    action: int
    reward: float
    loss: float
    refused: int
    fresh: bool
    outcomes: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Of a prototype: how often steps led there, how often the world ended there, and why it is salient."""

    number: int
    arrivals: int
    endings: int
    marks: Mark

    @property
    def terminal(self) -> bool:
        """More than half of the arrivals ended the world (DESIGN §5.4)."""
        return 2 * self.endings > self.arrivals
