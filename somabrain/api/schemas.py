"""What request bodies may be. Strict: no coercion, no unknown fields (DESIGN §7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import rfc8785
from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from somabrain.api.states import Body, Encoding, Roled, StateBody, state_at
from somabrain.oak.documents import moment
from somabrain.oak.ids import RESERVED_PREFIXES
from somabrain.oak.model import NAME_MAX, Ending, Execution, OptionSpec, Termination
from somabrain.oak.model_document import KAPPA_MAX, OPTION_ID_PATTERN, WHOLE, SafeJson, Steps
from somabrain.tenancy import DEFAULT_NAMESPACE, NAME_PATTERN

REWARD_MAX = 1e9
"""Greatest magnitude of a reward (DESIGN §7)."""
REWARDS_MAX = 10_000
"""Most rewards of a run (DESIGN §7)."""
BATCH_MAX = 1000
"""Most runs of a batch (DESIGN §7)."""
METADATA_BYTES_MAX = 8192
"""Largest metadata, as JSON (DESIGN §7)."""
DESCRIPTION_MAX = 8192
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
Unit = Annotated[float, Field(ge=0, le=1)]


class Namespaced(Body):
    """A body that concerns one namespace."""

    namespace: NamespaceName = DEFAULT_NAMESPACE


class TerminationBody(Body):
    """When a run meets the target, and its own limit of steps."""

    similarity: Unit | None = None
    max_steps: Steps | None = None


class OptionCreate(Roled, Namespaced):
    """What a caller declares of an option; the target is a state or a partial description of one, about `roles`."""

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

    def spec(self, encoding: Encoding, *, kappa: float, gamma: float, alpha: float) -> OptionSpec:
        """The option's spec, with these values where the body has none."""
        return OptionSpec(
            name=self.name,
            description=self.description,
            target=state_at(self.target, self.bound(encoding), "target"),
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


class RunBody(Roled):
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

    def execution(self, encoding: Encoding) -> Execution:
        """The run. Raises as `StateBody.state` and `Roled.bound`."""
        encoding = self.bound(encoding)
        return Execution(
            start=state_at(self.start, encoding, "start"),
            final=state_at(self.final, encoding, "final"),
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


class PlanBody(Roled, Namespaced):
    """From where to where."""

    start_state: StateBody
    target_feature: StateBody
    similarity_thresh: Unit | None = None
    max_options: Annotated[StrictInt, Field(ge=1, le=PLAN_OPTIONS_MAX), WHOLE] | None = None
    alternatives: Annotated[StrictInt, Field(ge=0, le=ALTERNATIVES_MAX), WHOLE] = 0
    mode: Literal["safe", "explore"] = "safe"


class SearchBody(Namespaced):
    """The state to look options up for."""

    query: StateBody
    top_k: Annotated[StrictInt, Field(ge=1, le=TOP_K_MAX), WHOLE] = 10
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.0
