"""What a report found. States are prototypes, actions action numbers: the page names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from somabrain.oak.learning import Calibration
from somabrain.report.runs import Skill, Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of `runs`, as many `successes`; `lower` and `upper` are the ends of Wilson's interval at 95 %."""

    runs: int
    successes: int
    lower: float
    upper: float

    @property
    def failures(self) -> int:
        """The others."""
        return self.runs - self.successes

    @property
    def rate(self) -> float:
        """The share that succeeded, 0 of none."""
        return self.successes / self.runs if self.runs else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Of the runs that did `action` in a state, how many succeeded."""

    action: int
    share: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A state where runs that did one thing failed and runs that did `instead` succeeded.

    `lost`: failures × how far the interval of `instead` lies above that of `taken`. `others`: what else was done
    there, most often first.
    """

    state: int
    taken: Branch
    instead: Branch
    others: tuple[Branch, ...]
    lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """A step after which the odds were lower: `runs` made it, `failures` of them failed; `lost`: failures × fall."""

    state: int
    action: int
    outcome: int
    runs: int
    failures: int
    before: float
    after: float
    lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LastTurn:
    """Failed runs whose last turn was `action` in `state`; `cut_off` of them in the midst of it, by their budget."""

    state: int
    action: int
    failures: int
    cut_off: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """Where runs fail. `recoverable`: how much better another action did in the worst fork of each failed run, in sum.

    `failed_repeats`, `succeeded_repeats`: shares of turns that did in a state what the run had
    done there before, `None` without a turn.
    """

    forks: tuple[Fork, ...]
    forks_left_out: int
    recoverable: float
    falls: tuple[Fall, ...]
    last_turns: tuple[LastTurn, ...]
    failures: int
    cut_off: int
    failed_repeats: float | None
    succeeded_repeats: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How odds did that knew only other runs. `brier_base`: of the share of successes among the same other runs.

    `by_group`: other runs are those of other groups. `best`: the place of the recommended threshold in `stopping`.
    """

    whole: Calibration
    agents: tuple[Calibration, ...]
    agents_left_out: int
    brier_base: float | None
    by_group: bool
    best: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A state of the map: runs through it, and how they did; odds with their bounds; its row and its place there.

    As many runs as `begun` says began in it. Runs left it `left` times: to another state of the map, or, as `succeeded`
    and `failed` count, to none but its end.
    """

    state: int
    runs: int
    begun: int
    left: int
    succeeded: int
    failed: int
    known: Share
    odds: float
    lower: float
    upper: float
    row: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Times that runs came from one state of the map to another, `direct` of them with no other state between."""

    start: int
    end: int
    times: int
    direct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The map: the states that matter most, in `rows` rows."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    rows: int
    states: int
    """in all"""
    moves: int
    """in all, between the states shown"""
    moves_shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """An action, and how the runs did that took it at least once."""

    tool: Tool
    share: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of it."""

    namespace: str
    model_version: int
    goal: str | None
    runs: int
    unknown: int
    """of them with no known outcome"""
    turns: int
    overall: Share
    chart: Chart
    deaths: Deaths
    held_out: HeldOut
    live: Calibration
    skills: tuple[Skill, ...]
    skills_left_out: int
    tools: tuple[ToolUse, ...]
    tools_left_out: int

    def mentioned_states(self) -> list[int]:
        """The prototypes that it names, ascending."""
        return sorted({*self._states()})

    def mentioned_actions(self) -> list[int]:
        """The numbers of the actions that it names, ascending."""
        return sorted({*self._actions()})

    def _states(self) -> Iterable[int]:
        yield from (one.state for one in self.chart.nodes)
        yield from (one.state for one in self.deaths.forks)
        for fall in self.deaths.falls:
            yield from (fall.state, fall.outcome)
        yield from (one.state for one in self.deaths.last_turns)

    def _actions(self) -> Iterable[int]:
        for fork in self.deaths.forks:
            yield from (one.action for one in (fork.taken, fork.instead, *fork.others))
        yield from (one.action for one in self.deaths.falls)
        yield from (one.action for one in self.deaths.last_turns)
        yield from (one.tool.action for one in self.tools)
