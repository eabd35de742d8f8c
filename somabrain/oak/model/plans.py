"""What the planner is asked with, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
