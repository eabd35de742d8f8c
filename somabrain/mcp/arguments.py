"""What the tools take: the fields of the service's bodies, under its names, with its bounds (held to `openapi.yaml`).

Strict: no unknown fields and no coercion, but for objects and lists that a client sends as JSON in a text. What the
schema can't say is judged by the service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from somabrain.client import Step
from somabrain.observations import SAFE_INTEGER

FACTS_MAX = 64
FACT_NAME_MAX = 256
TEXT_MAX = 65_536
LABEL_MAX = 256
ROLES_MAX = 16
STEPS_MAX = 10_000
REWARD_MAX = 1e9
SCORE_MAX = 10.0
TOP_K_MAX = 100
CANDIDATES_MAX = 20
PLAN_OPTIONS_MAX = 100
ALTERNATIVES_MAX = 10
TTL_MAX_S = 3_153_600_000
ID_PATTERN = "^[A-Za-z0-9._:-]{1,128}$"
ROLE_NAME_PATTERN = "^[A-Za-z_][A-Za-z0-9_]{0,63}$"

_NULL = {"type": "null"}
_SCALARS = (str, bool, int, float)
_FACT = {
    "anyOf": [
        {"type": "string"},
        {"type": "boolean"},
        {"type": "number", "minimum": -SAFE_INTEGER, "maximum": SAFE_INTEGER},
    ]
}
_FACTS = {
    "type": "object",
    "maxProperties": FACTS_MAX,
    "propertyNames": {"maxLength": FACT_NAME_MAX},
    "additionalProperties": _FACT,
}
_STATE = {
    "anyOf": [{**_FACTS, "minProperties": 1}, {"type": "string", "minLength": 1, "maxLength": TEXT_MAX}],
    "examples": [{"page": "checkout", "logged_in": True}],
}
_ROLES = {
    "type": "object",
    "maxProperties": ROLES_MAX,
    "propertyNames": {"pattern": ROLE_NAME_PATTERN},
    "additionalProperties": {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": LABEL_MAX},
            {"type": "number", "minimum": -SAFE_INTEGER, "maximum": SAFE_INTEGER},
        ]
    },
    "examples": [{"user": "ann", "city": "Rome"}],
}


def _read(value: Any) -> Any:
    """The object or list, where a text is the JSON of one: some clients send them so."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _state(value: Any) -> dict[str, Any] | str:
    found = _read(value)
    if isinstance(found, str) and found:
        return found
    if found:
        return _scalars(found)
    raise PydanticCustomError("state", "a state has at least one fact, or is a text that is not empty")


def _scalars(value: Any) -> dict[str, Any]:
    found = _read(value)
    if isinstance(found, dict) and all(isinstance(item, _SCALARS) for item in found.values()):
        return found
    raise PydanticCustomError(
        "facts", "want an object whose values are texts, numbers or booleans, with no list and no object among them"
    )


def _action(value: Any) -> dict[str, Any] | str:
    if isinstance(value, dict | str):
        return value
    raise PydanticCustomError("action", "an action is a text or an object")


def _whole(value: Any) -> Any:
    """3.0 is a whole number of JSON too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


State = Annotated[Any, PlainValidator(_state), WithJsonSchema(_STATE)]
Facts = Annotated[dict[str, Any], PlainValidator(_scalars), WithJsonSchema(_FACTS)]
Roles = Annotated[dict[str, Any], PlainValidator(_scalars), WithJsonSchema(_ROLES)]
Action = Annotated[
    Any,
    PlainValidator(_action),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}], "examples": ["open door", {"name": "search"}]}),
]
Metadata = Annotated[dict[str, Any], BeforeValidator(_read)]
Id = Annotated[str, Field(pattern=ID_PATTERN)]
Label = Annotated[str, Field(min_length=1, max_length=LABEL_MAX)]
Unit = Annotated[float, Field(ge=0, le=1)]
Mode = Literal["safe", "explore"]

_ABOUT = (
    "What this run is about, as name and value. In facts and actions these values are stored as their role's name, so "
    "that what was learned with one value serves another. Use the same role names in every call."
)
_TARGET = (
    "What shall hold. Name only the facts that matter: it stands for every state in which they hold. A text is "
    "compared by its meaning."
)
_STATE_NOW = (
    "The situation now, as a flat object of facts, or as a text. Use the same few names and values every time, and "
    "only facts that matter for what to do: no times, no counters, no free text."
)


class Arguments(BaseModel):
    """The arguments of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Those that were given, as the client's method takes them."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class Remember(Arguments):
    """A memory to store."""

    content: Annotated[str, Field(min_length=1, max_length=TEXT_MAX)] = Field(
        description="What to remember, in words that can be understood alone."
    )
    metadata: Metadata | None = Field(
        None, description='Labels by which recall can filter, at most 8 KiB as JSON, such as {"topic": "billing"}.'
    )
    importance: Unit = Field(0.5, description="Raises or lowers its place in what is recalled.")
    ttl_s: Annotated[int, Field(ge=1, le=TTL_MAX_S), BeforeValidator(_whole)] | None = Field(
        None, description="Seconds until it is forgotten. Default: never."
    )
    memory_id: Id | None = Field(
        None, description="Replaces the memory of this id, or gives a new one this id. Default: a new id."
    )


class Recall(Arguments):
    """What to recall."""

    query: State = Field(description="What to look for: a question or key words as a text, or facts.")
    top_k: Annotated[int, Field(ge=1, le=TOP_K_MAX), BeforeValidator(_whole)] = Field(
        10, description="Most memories that come back."
    )
    filter: Facts | None = Field(None, description="Only memories whose metadata have these values.")
    min_score: Annotated[float, Field(ge=-SCORE_MAX, le=SCORE_MAX)] | None = Field(
        None, description="Only memories of at least this score. Scores are comparable within one answer."
    )


class Predict(Arguments):
    """A run that is under way."""

    state: State = Field(description=_STATE_NOW)
    target_feature: State | None = Field(None, description=f"The run's goal. {_TARGET}")
    agent: Label | None = Field(None, description="Who runs it, as in report_episode. Default: anybody.")
    steps_taken: Annotated[int, Field(ge=0, le=STEPS_MAX), BeforeValidator(_whole)] | None = Field(
        None, description="Steps so far; makes the odds those of runs as long as this one."
    )
    steps_left: Annotated[int, Field(ge=0, le=STEPS_MAX), BeforeValidator(_whole)] | None = Field(
        None, description="Steps that the run may still take. Default: no limit."
    )
    episode_id: Id | None = Field(
        None, description="The id that the run will have in report_episode: the odds are then scored by its outcome."
    )
    roles: Roles | None = Field(None, description=_ABOUT)


class Plan(Arguments):
    """From where to where."""

    start_state: State = Field(description=_STATE_NOW)
    target_feature: State = Field(description=_TARGET)
    similarity_thresh: Unit | None = Field(
        None, description="How similar a known state must be to the target. Default: the service's."
    )
    max_options: Annotated[int, Field(ge=1, le=PLAN_OPTIONS_MAX), BeforeValidator(_whole)] | None = Field(
        None, description="Longest plan, in options. Default: the service's."
    )
    alternatives: Annotated[int, Field(ge=0, le=ALTERNATIVES_MAX), BeforeValidator(_whole)] = Field(
        0, description="Other ways that come back too."
    )
    mode: Mode = Field("safe", description="explore also tries what is little known.")
    roles: Roles | None = Field(None, description=_ABOUT)


class Act(Arguments):
    """Where the agent is, and where it is to get."""

    state: State = Field(description=_STATE_NOW)
    target_feature: State = Field(description=_TARGET)
    option_id: Id | None = Field(None, description="The option_id of the last answer, while it is being followed.")
    similarity_thresh: Unit | None = Field(
        None, description="How similar a known state must be to the target. Default: the service's."
    )
    top_k: Annotated[int, Field(ge=0, le=CANDIDATES_MAX), BeforeValidator(_whole)] = Field(
        0, description="Other candidates that come back too."
    )
    mode: Mode = Field("safe", description="explore proposes what to try next in order to learn.")
    roles: Roles | None = Field(None, description=_ABOUT)


class StepArgument(Arguments):
    """One step of an episode."""

    state: State = Field(description="The situation in which the action was taken.")
    action: Action = Field(
        description='What was done: a tool call as {"name": …, "arguments": {…}}, or a short text. The same action, '
        "the same value. At most 8 KiB as JSON."
    )
    reward: Annotated[float, Field(ge=-REWARD_MAX, le=REWARD_MAX)] = Field(
        0.0, description="What the step earned, or cost if negative."
    )
    ok: bool | None = Field(None, description="Whether the action itself worked. Leave it out where that is unknown.")
    salient: bool = Field(default=False, description="Marks the state as worth getting to.")
    turn: Annotated[int, Field(ge=0, lt=STEPS_MAX), BeforeValidator(_whole)] | None = Field(
        None, description="The decision that it belongs to, for several actions of one. Default: the step's place."
    )

    def step(self) -> Step:
        """The step as the client takes it."""
        return Step(**self.given())


class ReportEpisode(Arguments):
    """A run as it was."""

    steps: Annotated[list[StepArgument], Field(min_length=1, max_length=STEPS_MAX), BeforeValidator(_read)] = Field(
        description="What was done, in order."
    )
    final: State = Field(description="The situation after the last step.")
    success: bool | None = Field(
        None, description="Whether the run reached its goal. Leave it out where that is unknown: never guess."
    )
    terminated: bool | None = Field(
        None, description="Whether the run came to its own end, rather than being cut off. Default: if it succeeded."
    )
    episode_id: Id | None = Field(
        None, description="The run's id: an episode of one id is counted once. Default: a new id, told in the answer."
    )
    group: Label | None = Field(None, description="Runs that belong together, such as those of one task.")
    agent: Label | None = Field(None, description="Who ran it, such as the model's name.")
    roles: Roles | None = Field(None, description=_ABOUT)
    metadata: Metadata | None = Field(None, description="Kept with the episode, at most 8 KiB as JSON.")

    def given(self) -> dict[str, Any]:
        """As `Arguments.given`, the steps as the client takes them."""
        return {**Arguments.given(self), "steps": [step.step() for step in self.steps]}


def schema_of(kind: type[Arguments]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, as plain as it can be: not every client, nor every model, can do more.

    References are resolved. What may lack is not told to be nullable, too, though null is taken for it.
    """
    schema = kind.model_json_schema()
    shared = schema.pop("$defs", {})
    return {name: _plain(part, shared) for name, part in schema.items() if name not in {"title", "description"}}


def _plain(schema: Any, shared: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(part, shared) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(shared[schema["$ref"].rsplit("/", 1)[1]], shared)
    left_out = {name for name in ("title", "default") if name in schema and not isinstance(schema[name], dict)}
    if schema.get("default") is not None:
        left_out.discard("default")
    found = {name: _plain(part, shared) for name, part in schema.items() if name not in left_out}
    if _NULL in found.get("anyOf", ()):
        (kind,) = [part for part in found.pop("anyOf") if part != _NULL]
        return {**kind, **found}
    return found
