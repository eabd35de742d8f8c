"""What answers about episodes, consolidation and acting look like."""

from __future__ import annotations

from typing import Any, Literal

from somabrain.api.answers import Answer, Facts, Reason, Time, Unbound


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
    salient: list[SalientAnswer]
    model_version: int


class EpisodeAnswers(Answer):
    """The single answers, in the order of the batch."""

    results: list[EpisodeAnswer]


class TraceRefusal(Answer):
    """Why a trace was not learned from; `loc` is the place in it."""

    code: str
    detail: str
    loc: list[str | int]


class TraceAnswer(Answer):
    """What became of a trace: `trace` is its number in the request, which with spans may stand for several, or none."""

    trace: int
    episode: EpisodeAnswer | None
    refusal: TraceRefusal | None


class TraceAnswers(Answer):
    """The single answers, in the order of the request."""

    results: list[TraceAnswer]


class EpisodeOutcomeAnswer(Answer):
    """An outcome that was told after its episode."""

    episode_id: str
    success: bool | None
    reward: float
    model_version: int


class StepReported(Answer):
    """A step as it was reported, and the prototype of its state."""

    state: dict[str, Any]
    prototype: int
    action: str | dict[str, Any]
    reward: float
    ok: bool | None
    salient: bool
    turn: int


class EpisodeReported(Answer):
    """An episode as it was reported; `outcome` where one was told after it."""

    episode_id: str
    steps: list[StepReported]
    final: dict[str, Any]
    final_prototype: int
    terminated: bool
    success: bool | None
    group: str | None
    agent: str | None
    metadata: dict[str, Any]
    roles: dict[str, str | float]
    outcome: EpisodeOutcomeAnswer | None
    reported_at: Time


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
    """How far the working out of options has come; `result` is null before the first run was published."""

    state: Literal["idle", "queued", "running", "failed"]
    done: int
    total: int
    requested: int
    through_sequence: int
    build: int
    episodes_since: int
    started_at: Time | None
    finished_at: Time | None
    problem: str | None
    result: ConsolidationResult | None


class CandidateAnswer(Answer):
    """An option that may begin here; `action` is null where it was declared."""

    action: str | dict[str, Any] | None
    option_id: str
    success_probability: float
    executions: int


class ActAnswer(Answer):
    """What to do now. Where there is no way, `action` and `option_id` are null and `reason` says why."""

    done: bool
    action: str | dict[str, Any] | None
    option_id: str | None
    name: str | None
    source: Literal["declared", "discovered", "primitive", "goal"] | None
    policy: dict[str, Any] | None
    switched: bool
    reason: Reason | None
    success_probability: float
    expected_duration: float
    executions: int
    candidates: list[CandidateAnswer]
    model_version: int
    unbound: Unbound


class ExampleAnswer(Answer):
    """A state, action or option that a finding is about."""

    prototype: int | None = None
    facts: Facts | None = None
    option_id: str | None = None
    name: str | None = None


class FindingAnswer(Answer):
    """One thing that makes this world hard to learn, how much of it there is, and what to do about it."""

    code: str
    value: float
    advice: str
    names: list[str]
    examples: list[ExampleAnswer]


class DiagnosisAnswer(Answer):
    """What makes this world hard to learn; the gravest first. No finding: nothing stands out."""

    episodes: int
    steps: int
    prototypes: int
    actions: int
    new_states_per_step: list[float]
    findings: list[FindingAnswer]
    model_version: int
