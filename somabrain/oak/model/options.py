"""Options, their runs, and what runs taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from somabrain.oak.model.states import Json, State

FAIL = -1
"""The outcome of a run that failed although its final state meets the option's target (DESIGN §5.3)."""


NAME_MAX = 256
"""Longest name of an option."""


class Status(StrEnum):
    """Whether the planner looks at an option."""

    ACTIVE = "active"
    RETIRED = "retired"


class Source(StrEnum):
    """Where an option comes from."""

    DECLARED = "declared"
    DISCOVERED = "discovered"
    PRIMITIVE = "primitive"


class Ending(StrEnum):
    """How a run of an option ended, as its reporter says."""

    TARGET = "target"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    CENSORED = "censored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """When a run meets the target; `None`: the defaults of DESIGN §5.3, and no limit of steps."""

    similarity: float | None = None
    max_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSpec:
    """What a caller declares of an option. `policy` and `metadata` are the caller's own JSON."""

    name: str
    description: str
    target: State
    policy: Mapping[str, Json]
    termination: Termination
    kappa: float
    gamma: float
    alpha: float
    metadata: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """Counts over an option's whole life: runs not censored, those that ended by target, their steps, censored runs."""

    executions: int = 0
    successes: int = 0
    steps: int = 0
    censored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Sums over an option's rows of the present policy: Σ n, Σ n·f̂ and Σ n·r̂ (DESIGN §5.3, U(o))."""

    runs: int = 0
    feature: float = 0.0
    reward: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A skill. `version` counts create, replacement and retirement; `policy_version` what its rows model.

    Times are milliseconds since the epoch, UTC.
    """

    option_id: str
    spec: OptionSpec
    status: Status
    source: Source
    policy_version: int
    version: int
    created_at_ms: int
    updated_at_ms: int
    lifetime: Lifetime
    evidence: Evidence
    build: int = 0
    """the consolidation that made its model, 0: none did"""

    @property
    def utility(self) -> float:
        """U(o) = κ f̂ + r̂, the mean over its rows weighted by runs; 0 before the first run."""
        if not self.evidence.runs:
            return 0.0
        return (self.spec.kappa * self.evidence.feature + self.evidence.reward) / self.evidence.runs

    @property
    def success_rate(self) -> float | None:
        """Share of runs that ended by target; `None` before the first run."""
        return self.lifetime.successes / self.lifetime.executions if self.lifetime.executions else None

    @property
    def mean_duration(self) -> float | None:
        """Mean steps of a run; `None` before the first run."""
        return self.lifetime.steps / self.lifetime.executions if self.lifetime.executions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of an option, as reported.

    `rewards` are r₁…r_k, or `None` where the run is given by `reward` (their discounted sum) and `duration`.
    """

    start: State
    final: State
    rewards: tuple[float, ...] | None
    reward: float
    duration: int
    ending: Ending
    occurred_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """What executions taught of (prototype `start`, `option_id`): DESIGN §5.3.

    `outcomes` ascending, FAIL first; `probability` (P) sums to 1 and `reach` (P~) runs along, 0 at FAIL.
    `z` is the weight of the averages so far, in (0, 1]; `duration`, `reward`, `feature` are k̂, r̂, f̂.
    """

    option_id: str
    start: int
    z: float
    executions: int
    duration: float
    reward: float
    feature: float
    outcomes: tuple[int, ...]
    probability: tuple[float, ...]
    reach: tuple[float, ...]
