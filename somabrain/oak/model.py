"""The nouns of the option layer. Frozen values; nothing here decides anything.

DESIGN §2 defines the words, §5 and §6 the formulas that fill them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = Any
"""A JSON value as parsed: None, bool, int, float, str, list or dict of these."""

Scalar = str | int | float | bool

FAIL = -1
"""The outcome of a run that failed although its final state meets the option's target (DESIGN §5.3)."""


class Kind(StrEnum):
    """What a state is made of. Facts and vectors never mix."""

    FACTS = "facts"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A state, or a partial description of one, as named facts.

    `values` as given, `canonical` their RFC 8785 form (equal facts have equal forms), `entries` the
    RFC 8785 form of `[name, value]` for each fact.
    """

    values: Mapping[str, Scalar] = field(compare=False)
    canonical: str
    entries: frozenset[str] = field(compare=False)

    @property
    def kind(self) -> Kind:
        """`Kind.FACTS`."""
        return Kind.FACTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A state as a unit vector: `data` is MEMORY_DIM little-endian float32.

    `text` is what the vector was made from, `None` where it was given as it is; it is shown, never compared.
    """

    data: bytes
    text: str | None = field(default=None, compare=False)

    @property
    def kind(self) -> Kind:
        """`Kind.VECTOR`."""
        return Kind.VECTOR

    def array(self) -> NDArray[np.float32]:
        """Shape (MEMORY_DIM,), read-only."""
        return np.frombuffer(self.data, dtype="<f4")


State = Facts | Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """An abstract state: the `number`-th of its namespace, standing for `state`."""

    number: int
    state: State


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowTable:
    """All plannable rows of a namespace as arrays, executed and predicted already joined (DESIGN §5.5.4).

    R rows in the order of (option id by code point, start); row i has the outcomes
    `offset[i] … offset[i+1]` of M in all, ascending, FAIL = -1 first.
    """

    option_ids: tuple[str, ...]
    """Distinct ids, ascending by code point; `option` indexes them."""
    option: NDArray[np.int32]
    """(R,)"""
    start: NDArray[np.int32]
    """(R,) prototype numbers"""
    evidence: NDArray[np.float64]
    """(R,) n of DESIGN §6: m' + n_eff, or N of a primitive"""
    prediction_share: NDArray[np.float64]
    """(R,) ω: 0 for executed rows, 1 for primitive and purely predicted ones"""
    primitive: NDArray[np.bool_]
    """(R,)"""
    executions: NDArray[np.int64]
    """(R,) runs"""
    duration: NDArray[np.float64]
    """(R,) k̂"""
    reward: NDArray[np.float64]
    """(R,) r̂"""
    utility: NDArray[np.float64]
    """(R,) U(i, o)"""
    offset: NDArray[np.int64]
    """(R + 1,)"""
    outcome: NDArray[np.int32]
    """(M,)"""
    probability: NDArray[np.float64]
    """(M,) P"""
    reach: NDArray[np.float64]
    """(M,) P~"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanParameters:
    """The limits and prices of planning, all from Settings (DESIGN §12)."""

    min_probability: float
    time_price: float
    confidence_z: float
    replan_gap: float
    policy_sweeps_max: int


class Reason(StrEnum):
    """Why a plan is empty, in the order in which they are tested (DESIGN §7)."""

    ALREADY_AT_TARGET = "already_at_target"
    UNKNOWN_START = "unknown_start"
    NO_GOAL_STATE = "no_goal_state"
    NO_OPTIONS = "no_options"
    UNREACHABLE = "unreachable"
    UNREACHABLE_WITHIN_MAX_OPTIONS = "unreachable_within_max_options"


class Advice(StrEnum):
    """What to do with a plan."""

    FOLLOW = "follow"
    REPLAN = "replan"
    EXPLORE = "explore"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One option of a plan, after the elimination of retries (DESIGN §6.2, §6.6)."""

    option_id: str
    start: int
    end: int
    probability: float
    probability_lower: float
    duration: float
    reward: float
    utility: float
    executions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A sequence of options and what it promises. `cost` in micro-nats, without an alternative's penalties."""

    steps: tuple[PlanStep, ...]
    success_probability: float
    success_probability_lower: float
    duration: float
    reward: float
    utility: float
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The planner's answer. `route` is `None` where nothing was found; `reason` is `None` where a plan was."""

    reason: Reason | None
    route: Route | None
    policy_probability: float
    advice: Advice
    alternatives: tuple[Route, ...]
