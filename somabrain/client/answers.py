"""Answers of the service, as frozen values; a test holds them to `openapi.yaml`.

Fields that this version does not know are passed over, so that a newer service is understood too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from somabrain.client.errors import GarbledError

Fact = str | bool | int | float
Action = str | Mapping[str, Any]
Reason = Literal[
    "already_at_target",
    "unknown_start",
    "no_goal_state",
    "no_options",
    "unreachable",
    "unreachable_within_max_options",
]


class Answer(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


AnswerT = TypeVar("AnswerT", bound=Answer)


def understood(kind: type[AnswerT], answer: Any) -> AnswerT:
    """The answer as a value. Raises `GarbledError` where it is none of this kind."""
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise GarbledError(f"what was answered is no {kind.__name__}: {where}: {first['msg']}") from error


class MemoryAnswer(Answer):
    """A remembered item."""

    memory_id: str
    content: str
    namespace: str
    metadata: Mapping[str, Any]
    importance: float
    created_at: datetime
    expires_at: datetime | None


class MemoryHit(Answer):
    """A memory and how well it answers."""

    memory_id: str
    score: float
    content: str
    namespace: str
    metadata: Mapping[str, Any]
    importance: float
    created_at: datetime


class RecallAnswer(Answer):
    """The best first; `degraded` where the vector engine should have answered and did not, and SQL was read instead."""

    hits: tuple[MemoryHit, ...]
    degraded: bool
    took_ms: float


class StateAnswer(Answer):
    """A state as stored: facts, the text it was given as, or the unit vector as base64 little-endian float32."""

    features: Mapping[str, Fact] | None = None
    text: str | None = None
    vector_b64: str | None = None


class TerminationAnswer(Answer):
    """The members that were given."""

    max_steps: int | None = None
    similarity: float | None = None


class OptionAnswer(Answer):
    """A skill, with what its runs taught."""

    option_id: str
    name: str
    description: str
    target: StateAnswer
    status: Literal["active", "retired"]
    source: Literal["declared", "discovered", "primitive"]
    policy: Mapping[str, Any]
    policy_version: int
    termination: TerminationAnswer
    kappa: float
    gamma: float
    alpha: float
    tau_s: float
    utility: float
    executions: int
    censored: int
    success_rate: float | None
    mean_duration: float | None
    version: int
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, Any]


class OptionList(Answer):
    """A page of options, by id; `next_cursor` is None on the last."""

    options: tuple[OptionAnswer, ...]
    next_cursor: str | None


class PrototypeAnswer(Answer):
    """An abstract state; `facts` where it is made of facts, `text` where its first member was a text."""

    prototype: int
    facts: Mapping[str, Fact] | None = None
    text: str | None = None


class PlanStepAnswer(Answer):
    """One option of a plan: where from, where to, with what odds, on what evidence."""

    option_id: str
    name: str
    source: Literal["declared", "discovered", "primitive", "goal"]
    from_: PrototypeAnswer = Field(alias="from")
    to: PrototypeAnswer
    probability: float
    probability_lower: float
    expected_duration: float
    expected_reward: float
    utility: float
    executions: int
    policy: Mapping[str, Any]


class AlternativeAnswer(Answer):
    """Another way."""

    options: tuple[str, ...]
    steps: tuple[PlanStepAnswer, ...]
    success_probability: float
    success_probability_lower: float
    expected_duration: float
    expected_reward: float
    cost: int


class UnexploredAnswer(Answer):
    """A known state, and the actions that are untried there, the most promising first."""

    prototype: int
    actions: tuple[Action, ...]
    facts: Mapping[str, Fact] | None = None
    text: str | None = None


class GoalAnswer(Answer):
    """How many known states meet the target, and the best similarity seen; None where none compares."""

    matched: int
    best_similarity: float | None


class NearAnswer(Answer):
    """A known state near an unknown start, and the facts in which they differ."""

    prototype: int
    differs: tuple[str, ...]
    facts: Mapping[str, Fact] | None = None
    text: str | None = None


class StartAnswer(Answer):
    """The prototype that the start state belongs to, None if unknown, and the similarity to the nearest known one."""

    prototype: int | None
    similarity: float


class PlanAnswer(Answer):
    """A plan, or why there is none: finding none is an answer."""

    reached: bool
    reason: Reason | None
    options: tuple[str, ...]
    steps: tuple[PlanStepAnswer, ...]
    success_probability: float
    success_probability_lower: float
    policy_probability: float
    expected_duration: float
    expected_reward: float
    cumulative_utility: float
    cost: int
    start: StartAnswer
    goal: GoalAnswer
    advice: Literal["follow", "replan", "explore"]
    alternatives: tuple[AlternativeAnswer, ...]
    nearest: tuple[NearAnswer, ...]
    frontier: tuple[UnexploredAnswer, ...]
    model_version: int
    planning_ms: float
    unbound: tuple[str, ...]


class CandidateAnswer(Answer):
    """An option that may begin here; `action` is None where it was declared."""

    action: Action | None
    option_id: str
    success_probability: float
    executions: int


class ActAnswer(Answer):
    """What to do now. Where there is no way, `action` and `option_id` are None and `reason` says why."""

    done: bool
    action: Action | None
    option_id: str | None
    name: str | None
    source: Literal["declared", "discovered", "primitive", "goal"] | None
    policy: Mapping[str, Any] | None
    switched: bool
    reason: Reason | None
    success_probability: float
    expected_duration: float
    executions: int
    candidates: tuple[CandidateAnswer, ...]
    model_version: int
    unbound: tuple[str, ...]


class ChanceAnswer(Answer):
    """An action that was tried here: the odds of the run once it is taken, and how often it was."""

    action: Action
    success_probability: float
    executions: int


class PredictAnswer(Answer):
    """The odds now.

    `basis`: the finest counts that had evidence, `episodes`: how many they hold. `expected_steps`: the mean of what
    successes had left from here, None without one.
    """

    success_probability: float
    lower: float
    upper: float
    expected_steps: float | None
    episodes: int
    basis: Literal["state+steps+agent", "state+steps", "state", "prior"]
    candidates: tuple[ChanceAnswer, ...]
    model_version: int
    unbound: tuple[str, ...]


class SalientAnswer(Answer):
    """A state that may become an option's target: where `step` led, or where it was taken if the caller marked it."""

    step: int
    reason: Literal["reward", "success", "marked", "novelty"]
    prototype: int


class EpisodeAnswer(Answer):
    """What an episode taught."""

    episode_id: str
    prototypes_created: int
    prototypes_known: int
    transitions: int
    actions_created: int
    salient: tuple[SalientAnswer, ...]
    model_version: int


class EpisodeAnswers(Answer):
    """The single answers, in the order of the batch."""

    results: tuple[EpisodeAnswer, ...]


class TraceRefusal(Answer):
    """Why a trace was not learned from; `loc` is the place in it."""

    code: str
    detail: str
    loc: tuple[str | int, ...]


class TraceAnswer(Answer):
    """What became of a trace: `trace` is its number in the request, which with spans may stand for several, or none."""

    trace: int
    episode: EpisodeAnswer | None
    refusal: TraceRefusal | None


class TraceAnswers(Answer):
    """The single answers, in the order of the request."""

    results: tuple[TraceAnswer, ...]


class ConsolidationResult(Answer):
    """What the last published run made."""

    options: int
    created: int
    changed: int
    retired: int
    states: int
    seconds: float
    model_version: int


class ConsolidationAnswer(Answer):
    """How far the working out of options has come; `result` is None before the first run was published."""

    state: Literal["idle", "queued", "running", "failed"]
    done: int
    total: int
    requested: int
    through_sequence: int
    build: int
    episodes_since: int
    started_at: datetime | None
    finished_at: datetime | None
    problem: str | None
    result: ConsolidationResult | None


class EpisodeOutcomeAnswer(Answer):
    """An outcome that was told after its episode."""

    episode_id: str
    success: bool | None
    reward: float
    model_version: int


class StepReported(Answer):
    """A step as it was reported, and the prototype of its state."""

    state: Mapping[str, Any]
    prototype: int
    action: Action
    reward: float
    ok: bool | None
    salient: bool
    turn: int


class EpisodeReported(Answer):
    """An episode as it was reported; `outcome` where one was told after it."""

    episode_id: str
    steps: tuple[StepReported, ...]
    final: Mapping[str, Any]
    final_prototype: int
    terminated: bool
    success: bool | None
    group: str | None
    agent: str | None
    metadata: Mapping[str, Any]
    roles: Mapping[str, str | float]
    outcome: EpisodeOutcomeAnswer | None
    reported_at: datetime


class ReliabilityAnswer(Answer):
    """Predictions between `low` and the next bin's: their mean, and the share whose run succeeded."""

    low: float
    predictions: int
    predicted: float
    observed: float


class StoppingAnswer(Answer):
    """What stopping each run at its first odds below the threshold would have done, in shares of all."""

    threshold: float
    stopped: int
    steps_saved: float
    successes_lost: float


class AgentCalibration(Answer):
    """How predictions did; Brier's score and the calibration error are None without one. `agent` None: all agents."""

    agent: str | None
    episodes: int
    successes: int
    predictions: int
    brier: float | None
    calibration_error: float | None
    reliability: tuple[ReliabilityAnswer, ...]
    stopping: tuple[StoppingAnswer, ...]


class CalibrationAnswer(AgentCalibration):
    """Of all agents or the one that was asked for, then of each."""

    agents: tuple[AgentCalibration, ...]
