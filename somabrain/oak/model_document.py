"""The shape of an exported model, and the limits of what an option declares (DESIGN §7). Pure validation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from somabrain.oak.documents import timestamp_ms
from somabrain.oak.learning.states import SAFE_INTEGER
from somabrain.oak.model import Status

FORMAT: Literal["somabrain-model-1"] = "somabrain-model-1"
"""The document's format; another is refused."""

OPTION_ID_PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
FACTS_MAX = 64
"""Most facts of a state (DESIGN §5.1)."""
STEPS_MAX = 1_000_000
"""Longest run, steps (DESIGN §5.3)."""
KAPPA_MAX = 1e6
DEPTH_MAX = 64
"""Deepest nesting of a caller's own JSON: far within what every JSON library writes."""


def _safe_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses what an export could not keep: RFC 8785 writes a whole double as an integer, also a large one."""
    if _depth(value) > DEPTH_MAX:
        raise PydanticCustomError("invalid_request", "it is nested too deeply")
    try:
        rfc8785.dumps(json.loads(rfc8785.dumps(value)))
    except rfc8785.CanonicalizationError:
        message = "numbers in JSON lie within ±(2^53 - 1)"
        raise PydanticCustomError("number_out_of_range", message) from None
    return value


def _depth(value: Any) -> int:
    """How deeply lists and objects are nested, without recursion."""
    depth, level = 0, [value]
    while level := [item for outer in level for item in _items(outer)]:
        depth += 1
    return depth


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


SafeJson = Annotated[dict[str, Any], AfterValidator(_safe_json)]
Count = Annotated[StrictInt, Field(ge=0, le=SAFE_INTEGER)]
Probability = Annotated[float, Field(ge=0, le=1)]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StatePart(_Part):
    """A state, exact: facts or float32 bytes."""

    features: dict[str, Scalar] | None = Field(None, min_length=1, max_length=FACTS_MAX)
    vector_b64: StrictStr | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.features is None) == (self.vector_b64 is None):
            message = "a state has either features or vector_b64"
            raise ValueError(message)
        return self


class PrototypePart(StatePart):
    """A prototype and how many states were assigned to it."""

    prototype: Count
    visits: Count


class TerminationPart(_Part):
    """As `Termination`."""

    similarity: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    max_steps: Annotated[StrictInt, Field(ge=1, le=STEPS_MAX)] | None = None


class OptionPart(_Part):
    """An option with its lifetime counts."""

    option_id: Annotated[StrictStr, Field(pattern=OPTION_ID_PATTERN)]
    name: StrictStr
    description: StrictStr
    target: StatePart
    policy: SafeJson
    termination: TerminationPart
    kappa: Annotated[FiniteFloat, Field(ge=0, le=KAPPA_MAX)]
    gamma: Annotated[FiniteFloat, Field(gt=0, le=1)]
    alpha: Annotated[FiniteFloat, Field(gt=0, le=1)]
    metadata: SafeJson
    status: Status
    source: Literal["declared"]
    version: Annotated[StrictInt, Field(ge=1, le=SAFE_INTEGER)]
    policy_version: Annotated[StrictInt, Field(ge=1, le=SAFE_INTEGER)]
    created_at: StrictStr
    updated_at: StrictStr
    executions: Count
    successes: Count
    steps: Count
    censored: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        timestamp_ms(self.created_at)
        timestamp_ms(self.updated_at)
        if self.successes > self.executions:
            message = "successes must not exceed executions"
            raise ValueError(message)
        return self

    def spec_document(self) -> dict[str, Any]:
        """The members that `spec_of_document` reads."""
        members = {"name", "description", "target", "policy", "termination", "kappa", "gamma", "alpha", "metadata"}
        return self.model_dump(include=members, exclude_none=True)


class RowPart(_Part):
    """A model row; outcomes are [prototype or "FAIL", P, P~]."""

    option_id: StrictStr
    start: Count
    z: Annotated[FiniteFloat, Field(gt=0, le=1)]
    executions: Annotated[StrictInt, Field(ge=1, le=SAFE_INTEGER)]
    duration: Annotated[FiniteFloat, Field(ge=0)]
    reward: FiniteFloat
    feature: Annotated[FiniteFloat, Field(ge=-1, le=1)]
    outcomes: list[tuple[Count | Literal["FAIL"], Probability, Probability]] = Field(min_length=1)


class ModelDocument(_Part):
    """The whole document. Primitive counts and consolidations are empty until episodes are learned from."""

    format: Literal["somabrain-model-1"]
    memory_dim: StrictInt
    encoder: StrictStr
    prototypes: list[PrototypePart]
    options: list[OptionPart]
    rows: list[RowPart]
    primitives: Annotated[list[Any], Field(max_length=0)]
    consolidation: None
