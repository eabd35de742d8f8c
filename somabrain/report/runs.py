"""What a report is made from: a namespace's runs as numbers, and what is known of its skills and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from somabrain.oak.learning import Calibration, Lived
from somabrain.oak.model import Json

Stated = Mapping[str, Json] | str
"""A state as facts, or as the text that it was made from, empty for a vector."""


class Decision(NamedTuple):
    """A turn of a run: its number, the prototype of the state that it began in, and the first action of it."""

    turn: int
    state: int
    action: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An episode: prototypes of its states (one more than steps), of each step action number and turn (ADR 0012).

    `success` is `None` where nobody said; `ended`: the world ended in the last state, else the run was cut off.
    """

    states: Sequence[int]
    actions: Sequence[int]
    turns: Sequence[int]
    agent: str | None
    group: str | None
    success: bool | None
    ended: bool

    @property
    def length(self) -> int:
        """Turns, as scores count them."""
        return self.turns[-1] + 1

    @property
    def decisions(self) -> list[Decision]:
        """One for each turn."""
        return [
            Decision(turn, self.states[k], self.actions[k])
            for k, turn in enumerate(self.turns)
            if k == 0 or turn != self.turns[k - 1]
        ]

    @property
    def places(self) -> list[int]:
        """Prototypes that it was in, in their order: of its decisions, and of the end where the world ended."""
        visited = [one.state for one in self.decisions]
        return [*visited, self.states[-1]] if self.ended else visited

    @property
    def lived(self) -> Lived:
        """As tallies see it. Its success is known."""
        return Lived(
            states=self.states,
            turns=self.turns,
            actions=self.actions,
            agent=self.agent,
            success=bool(self.success),
            ended=self.ended,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What an option's model says: prototypes that it may begin in, their visits, and means weighted by those."""

    target: int
    """the prototype"""
    starts: int
    visits: int
    probability: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """An option that is no primitive. `evidence`: Kish's effective runs of its rows, in sum (DESIGN §5.3).

    `success_rate`, `lower` and `upper` (Wilson, 95 %) are `None` before the first run, `forecast` where there is no
    model of it.
    """

    option_id: str
    name: str
    source: str
    target: Stated
    executions: int
    evidence: float
    success_rate: float | None
    lower: float | None
    upper: float | None
    duration: float | None
    forecast: Forecast | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """An action over all runs: how often it was taken, and how often that was said not to have worked."""

    action: int
    taken: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that a report is made from. `live`: how the odds did that the service told (DESIGN §7)."""

    namespace: str
    model_version: int
    prototypes: int
    runs: Sequence[Run]
    skills: Sequence[Skill]
    tools: Sequence[Tool]
    live: Calibration
    goal: str | None = None
