"""What request bodies may be. Strict: no coercion, no unknown fields (DESIGN §7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from somabrain.errors import EmbedderUnavailableError, SomabrainError
from somabrain.oak.documents import moment, vector_of_base64
from somabrain.oak.learning import facts, unit_vector
from somabrain.oak.learning.states import COMPONENT_MAX, SAFE_INTEGER
from somabrain.oak.model import Ending, Execution, OptionSpec, State, Termination
from somabrain.oak.model_document import FACTS_MAX, KAPPA_MAX, OPTION_ID_PATTERN, WHOLE, SafeJson, Steps
from somabrain.oak.option_manager import RESERVED_PREFIXES
from somabrain.oak.planning import MODES
from somabrain.tenancy import DEFAULT_NAMESPACE, NAME_PATTERN

REWARD_MAX = 1e9
"""Greatest magnitude of a reward (DESIGN §7)."""
REWARDS_MAX = 10_000
"""Most rewards of a run (DESIGN §7)."""
BATCH_MAX = 1000
"""Most runs of a batch (DESIGN §7)."""
METADATA_BYTES_MAX = 8192
"""Largest metadata, as JSON (DESIGN §7)."""
NAME_MAX = 256
DESCRIPTION_MAX = 8192
FACT_NAME_MAX = 256
PLAN_OPTIONS_MAX = 100
ALTERNATIVES_MAX = 10
TOP_K_MAX = 100


def _reward(value: float) -> float:
    if not abs(value) <= REWARD_MAX:
        raise PydanticCustomError("number_out_of_range", "a reward lies within ±1e9")
    return float(value)


def _small_json(value: dict[str, Any]) -> dict[str, Any]:
    if len(rfc8785.dumps(value)) > METADATA_BYTES_MAX:
        raise PydanticCustomError("invalid_request", "metadata is at most 8 KiB as JSON")
    return value


def _time(value: str) -> str:
    try:
        moment(value)
    except ValueError:
        raise PydanticCustomError("invalid_request", "a time is RFC 3339 with a zone") from None
    return value


Reward = Annotated[
    StrictFloat | StrictInt,
    AfterValidator(_reward),
    WithJsonSchema({"type": "number", "minimum": -REWARD_MAX, "maximum": REWARD_MAX}),
]
Metadata = Annotated[SafeJson, AfterValidator(_small_json)]
Time = Annotated[StrictStr, AfterValidator(_time), Field(json_schema_extra={"format": "date-time"})]
NamespaceName = Annotated[StrictStr, Field(pattern=NAME_PATTERN)]
OptionId = Annotated[StrictStr, Field(pattern=OPTION_ID_PATTERN)]
_OWN_ID_PATTERN = OPTION_ID_PATTERN.replace("^", f"^(?!{'|'.join(RESERVED_PREFIXES)})", 1)
OwnOptionId = Annotated[OptionId, WithJsonSchema({"type": "string", "pattern": _OWN_ID_PATTERN})]
"""An id that a caller may choose: none that the service gives itself."""
FactName = Annotated[StrictStr, Field(max_length=FACT_NAME_MAX)]
Unit = Annotated[float, Field(ge=0, le=1)]


class Body(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StateBody(Body):
    """A state: exactly one of facts, a vector of MEMORY_DIM numbers, or the same as base64 little-endian float32."""

    features: dict[FactName, StrictStr | StrictBool | StrictInt | StrictFloat] | None = Field(
        None, min_length=1, max_length=FACTS_MAX
    )
    vector: list[StrictFloat | StrictInt] | None = None
    vector_b64: StrictStr | None = None
    text: StrictStr | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1 or len(self.model_fields_set) != 1:
            raise PydanticCustomError("invalid_request", "a state has exactly one of features, vector, vector_b64")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = {"type": "number", "minimum": -SAFE_INTEGER, "maximum": SAFE_INTEGER}
        fact = {"anyOf": [{"type": "string"}, {"type": "boolean"}, number]}
        features = {
            "type": "object",
            "minProperties": 1,
            "maxProperties": FACTS_MAX,
            "propertyNames": {"maxLength": FACT_NAME_MAX},
            "additionalProperties": fact,
            "examples": [{"at": "kitchen", "holding": "cup"}],
        }
        component = {"type": "number", "minimum": -COMPONENT_MAX, "maximum": COMPONENT_MAX}
        vector = {
            "type": "array",
            "items": component,
            "contains": {"anyOf": [{"exclusiveMinimum": 0}, {"exclusiveMaximum": 0}]},
            "description": "MEMORY_DIM numbers, not all zero; normalised on entry.",
        }
        packed = {
            "type": "string",
            "contentEncoding": "base64",
            "description": "MEMORY_DIM little-endian float32, not all zero. The pattern lets through components below "
            "2^49; the service takes them up to 1e15.",
        }
        shapes = {"features": features, "vector": vector, "vector_b64": packed}
        return {
            "title": "State",
            "description": cls.__doc__,
            "oneOf": [
                {"type": "object", "properties": {name: shape}, "required": [name], "additionalProperties": False}
                for name, shape in shapes.items()
            ],
        }

    def state(self, dimension: int) -> State:
        """The state. Raises `EmbedderUnavailableError` for text, else as `facts` and `unit_vector`."""
        if self.features is not None:
            return facts(self.features)
        if self.vector is not None:
            return unit_vector(self.vector, dimension)
        if self.vector_b64 is not None:
            return vector_of_base64(self.vector_b64, dimension)
        raise EmbedderUnavailableError(loc=("text",))


def state_at(body: StateBody, dimension: int, *loc: str | int) -> State:
    """The state, its errors located at `loc`."""
    try:
        return body.state(dimension)
    except SomabrainError as error:
        raise error.within(*loc) from None


class Namespaced(Body):
    """A body that concerns one namespace."""

    namespace: NamespaceName = DEFAULT_NAMESPACE


class TerminationBody(Body):
    """When a run meets the target, and its own limit of steps."""

    similarity: Unit | None = None
    max_steps: Steps | None = None


class OptionCreate(Namespaced):
    """What a caller declares of an option; the target is a state or a partial description of one."""

    option_id: OwnOptionId | None = None
    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
    description: Annotated[str, Field(max_length=DESCRIPTION_MAX)] = ""
    target: StateBody
    policy: SafeJson = Field(default_factory=dict)
    termination: TerminationBody = TerminationBody()
    kappa: Annotated[float, Field(ge=0, le=KAPPA_MAX)] | None = None
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None
    alpha: Annotated[float, Field(gt=0, le=1)] | None = None
    metadata: Metadata = Field(default_factory=dict)

    def spec(self, dimension: int, *, kappa: float, gamma: float, alpha: float) -> OptionSpec:
        """The option's spec, with these values where the body has none."""
        return OptionSpec(
            name=self.name,
            description=self.description,
            target=state_at(self.target, dimension, "target"),
            policy=self.policy,
            termination=Termination(similarity=self.termination.similarity, max_steps=self.termination.max_steps),
            kappa=kappa if self.kappa is None else float(self.kappa),
            gamma=gamma if self.gamma is None else float(self.gamma),
            alpha=alpha if self.alpha is None else float(self.alpha),
            metadata=self.metadata,
        )


class OptionReplace(OptionCreate):
    """What a caller declares in place of what an option was; `option_id`, where it is given, is the path's."""

    option_id: Annotated[OptionId | None, Field(json_schema_extra={"readOnly": True})] = None


class RunBody(Body):
    """One run of an option: `rewards` of each step, or their sum `reward` with `duration`."""

    _forms: ClassVar[tuple[tuple[str, ...], ...]] = (("rewards",), ("reward", "duration"))

    start: StateBody
    final: StateBody
    rewards: Annotated[list[Reward], Field(min_length=1, max_length=REWARDS_MAX)] | None = None
    reward: Reward | None = None
    duration: Steps | None = None
    terminated_by: Literal["target", "failure", "timeout", "censored"] = "target"
    occurred_at: Time | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        summed = (self.reward is not None, self.duration is not None)
        if (self.rewards is not None and any(summed)) or (self.rewards is None and not all(summed)):
            raise PydanticCustomError("invalid_request", "a run has either rewards, or reward and duration")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(schema)
        whole = handler.resolve_ref_schema(reference)
        properties, required = whole.pop("properties"), whole.pop("required")
        whole["oneOf"] = [_run_form(properties, required, form) for form in cls._forms]
        for name in ("type", "additionalProperties"):
            whole.pop(name)
        return dict(reference)

    def execution(self, dimension: int) -> Execution:
        """The run. Raises as `StateBody.state`."""
        return Execution(
            start=state_at(self.start, dimension, "start"),
            final=state_at(self.final, dimension, "final"),
            rewards=None if self.rewards is None else tuple(self.rewards),
            reward=0.0 if self.reward is None else self.reward,
            duration=len(self.rewards) if self.rewards is not None else (self.duration or 1),
            ending=Ending(self.terminated_by),
            occurred_at=self.occurred_at,
        )


def _run_form(properties: dict[str, Any], required: list[str], given: Sequence[str]) -> dict[str, Any]:
    """The shape of a run whose rewards are `given` in these fields; null in the others is as if they were left out."""
    shown = dict(properties)
    for name in ("rewards", "reward", "duration"):
        shown[name] = properties[name]["anyOf"][0] if name in given else {"type": "null"}
    return {
        "type": "object",
        "properties": shown,
        "required": [*required, *given],
        "additionalProperties": False,
    }


class ExecutionBody(RunBody, Namespaced):
    """One run of the option in the path."""


class BatchRun(RunBody):
    """One run of the option it names."""

    option_id: OptionId


class ExecutionBatch(Namespaced):
    """Runs in the order in which they happened; all are learned from, or none."""

    executions: Annotated[list[BatchRun], Field(min_length=1, max_length=BATCH_MAX)]


class PlanBody(Namespaced):
    """From where to where."""

    start_state: StateBody
    target_feature: StateBody
    similarity_thresh: Unit | None = None
    max_options: Annotated[StrictInt, Field(ge=1, le=PLAN_OPTIONS_MAX), WHOLE] | None = None
    alternatives: Annotated[StrictInt, Field(ge=0, le=ALTERNATIVES_MAX), WHOLE] = 0
    mode: Annotated[Literal["safe", "explore"], WithJsonSchema({"type": "string", "enum": list(MODES)})] = "safe"


class SearchBody(Namespaced):
    """The state to look options up for."""

    query: StateBody
    top_k: Annotated[StrictInt, Field(ge=1, le=TOP_K_MAX), WHOLE] = 10
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.0
