"""What answers look like: the schemas of the API's documentation. `somabrain.api.present` makes the answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from somabrain.oak.model import Scalar

Facts = dict[str, Scalar]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


Unbound = Annotated[
    list[str], Field(description="Roles that this answer tells as `$name`, since the request has no value for them.")
]


class Answer(BaseModel):
    """An answer: no other fields."""

    model_config = ConfigDict(extra="forbid")


class FieldError(Answer):
    """Where in the request, and what is wrong there."""

    loc: list[str | int]
    msg: str


class Problem(Answer):
    """A refusal (RFC 9457). `code` is stable; /docs/errors says what to do about each."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    trace_id: str
    errors: list[FieldError] | None = None


class StateAnswer(Answer):
    """A state as stored: facts, the text it was given as, or the unit vector as base64 little-endian float32."""

    features: Facts | None = None
    text: str | None = None
    vector_b64: str | None = None


class TerminationAnswer(Answer):
    """The members that were given."""

    similarity: float | None = None
    max_steps: int | None = None


class OptionAnswer(Answer):
    """A skill, with what its runs taught."""

    option_id: str
    name: str
    description: str
    target: StateAnswer
    status: Literal["active", "retired"]
    source: Literal["declared", "discovered", "primitive"]
    policy: dict[str, Any]
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
    created_at: Time
    updated_at: Time
    metadata: dict[str, Any]


class OptionList(Answer):
    """A page of options, by id; `next_cursor` is null on the last."""

    options: list[OptionAnswer]
    next_cursor: str | None


class OptionHit(Answer):
    """An option and how far the query meets its target."""

    option: OptionAnswer
    similarity: float


class OptionHits(Answer):
    """The best first."""

    hits: list[OptionHit]


class OptionStanding(Answer):
    """The option after the run."""

    utility: float
    executions: int
    success_rate: float | None


class ExecutionAnswer(Answer):
    """What a run taught. `outcome` is a prototype, "FAIL", or null for a censored run."""

    option_id: str
    start_prototype: int | None
    outcome: int | Literal["FAIL"] | None
    success: bool
    environment_reward: float
    feature_reward: float
    utility: float
    option: OptionStanding
    model_version: int


class ExecutionAnswers(Answer):
    """The single answers, in the order of the batch."""

    results: list[ExecutionAnswer]


class PrototypeAnswer(Answer):
    """An abstract state; `facts` where it is made of facts, `text` where its first member was a text."""

    prototype: int
    facts: Facts | None = None
    text: str | None = None


class OutcomeAnswer(Answer):
    """One outcome of a row: P and the discounted reach P~."""

    outcome: int | Literal["FAIL"]
    facts: Facts | None = None
    text: str | None = None
    probability: float
    discounted_reach: float


class RowAnswer(Answer):
    """What is known of the option from one start."""

    start: PrototypeAnswer
    outcomes: list[OutcomeAnswer]
    duration: float
    reward: float
    feature_reward: float
    utility: float
    executions: int
    evidence: float
    source: Literal["executed", "predicted"]


class OptionModel(Answer):
    """An option's rows, by start."""

    option_id: str
    policy_version: int
    rows: list[RowAnswer]
    next_cursor: str | None
    model_version: int


class PlanStepAnswer(Answer):
    """One option of a plan: where from, where to, with what odds, on what evidence."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    option_id: str
    name: str
    source: Literal["declared", "discovered", "primitive", "goal"]
    start: PrototypeAnswer = Field(alias="from")
    to: PrototypeAnswer
    probability: float
    probability_lower: float
    expected_duration: float
    expected_reward: float
    utility: float
    executions: int
    policy: dict[str, Any]


class AlternativeAnswer(Answer):
    """Another way."""

    options: list[str]
    steps: list[PlanStepAnswer]
    success_probability: float
    success_probability_lower: float
    expected_duration: float
    expected_reward: float
    cost: int


class StartAnswer(Answer):
    """The prototype that the start state belongs to, null if unknown, and the similarity to the nearest known one."""

    prototype: int | None
    similarity: float


class GoalAnswer(Answer):
    """How many known states meet the target, and the best similarity seen; null where none compares."""

    matched: int
    best_similarity: float | None


class NearAnswer(Answer):
    """A known state near an unknown start, and the facts in which they differ."""

    prototype: int
    facts: Facts | None = None
    text: str | None = None
    differs: list[str]


class UnexploredAnswer(PrototypeAnswer):
    """A known state, and the actions that are untried there, the most promising first."""

    actions: list[str | dict[str, Any]]


Reason = Literal[
    "already_at_target",
    "unknown_start",
    "no_goal_state",
    "no_options",
    "unreachable",
    "unreachable_within_max_options",
]


class PlanAnswer(Answer):
    """A plan, or why there is none: finding none is an answer."""

    reached: bool
    reason: Reason | None
    options: list[str]
    steps: list[PlanStepAnswer]
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
    alternatives: list[AlternativeAnswer]
    nearest: list[NearAnswer]
    frontier: list[UnexploredAnswer]
    model_version: int
    planning_ms: float
    unbound: Unbound


class StateSummary(Answer):
    """An abstract state and how many reported states were assigned to it."""

    prototype: int
    kind: Literal["facts", "vector"]
    facts: Facts | None = None
    text: str | None = None
    visits: int


class StateList(Answer):
    """A page of states, by number."""

    states: list[StateSummary]
    next_cursor: str | None
    model_version: int


class StateOption(Answer):
    """What is known of an option from this state."""

    option_id: str
    outcomes: list[OutcomeAnswer]
    duration: float
    reward: float
    utility: float
    executions: int
    source: Literal["executed", "predicted"]


class StateDetail(StateSummary):
    """A state and what is known from there."""

    options: list[StateOption]
    model_version: int


class NamespaceAnswer(Answer):
    """A namespace that holds something."""

    namespace: str
    prototypes: int
    options: int
    model_version: int


class NamespaceList(Answer):
    """All of the tenant's, by name."""

    namespaces: list[NamespaceAnswer]


class ImportAnswer(Answer):
    """What was imported."""

    prototypes: int
    options: int
    rows: int
    model_version: int


class EventAnswer(Answer):
    """An event: `type` is its Avro record's name, `payload` the record's own fields."""

    sequence: int
    event_id: str
    type: str
    tenant_id: str
    namespace: str
    timestamp: Time
    option_id: str | None
    payload: dict[str, Any]


class EventList(Answer):
    """A stretch of the journal; ask again with `after` = `next`, at once where `more` is true."""

    events: list[EventAnswer]
    next: int
    more: bool


class ComponentAnswer(Answer):
    """One part of the service."""

    name: str
    ready: bool
    detail: str


class Health(Answer):
    """The process runs."""

    status: Literal["ok"]


class Readiness(Answer):
    """Whether requests can be served, and each component's state."""

    status: Literal["ready", "unavailable"]
    version: str
    components: list[ComponentAnswer]
