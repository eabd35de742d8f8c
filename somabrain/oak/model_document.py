"""The shape of an exported model, and the limits of what an option declares (DESIGN §7). Pure validation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    GetJsonSchemaHandler,
    RootModel,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from somabrain.oak.documents import timestamp, timestamp_ms
from somabrain.oak.ids import ACTION_PREFIX, DISCOVERED_PREFIX, RESERVED_PREFIXES
from somabrain.oak.learning.states import SAFE_INTEGER
from somabrain.oak.model import BUCKETS, EVERYWHERE, Source, Status, Tallied

FORMAT: Literal["somabrain-model-1"] = "somabrain-model-1"
"""The document's format; another is refused."""

OPTION_ID_PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
FACTS_MAX = 64
"""Most facts of a state (DESIGN §5.1)."""
TEXT_MAX = 65_536
"""Longest text of a state or a memory, characters (DESIGN §7)."""
STEPS_MAX = 1_000_000
"""Longest run, steps (DESIGN §5.3)."""
KAPPA_MAX = 1e6
RETURN_MAX = 1e14
"""Greatest magnitude of a row's reward: ten times what 10,000 steps of 1e9 earn (DESIGN §7)."""
DURATION_MAX = 2.0 * STEPS_MAX
"""Greatest duration of a row: twice the longest run, so that rounding in the average does not matter."""
SUM_MAX = 2.0**63
"""Greatest magnitude of a primitive row's sums: nine thousand million steps of 1e9 each (DESIGN §7)."""
MARKS_MAX = 15
"""All bits of `Mark`."""
VERSION_MAX = 10**9
"""Greatest version that may be imported: the database's INTEGER leaves as many more to come."""
PLACE_MAX = BUCKETS * BUCKETS
"""Above every place of a tally."""
LABEL_MAX = 256
"""Longest label of an episode's agent or group, characters."""
DEPTH_MAX = 64
"""Deepest nesting of a caller's own JSON: far within what every JSON library writes."""


def _safe_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses what an export could not keep: RFC 8785 writes a whole double as an integer, also a large one."""
    depth = 0
    level: list[Any] = [value]
    while level := [item for outer in level for item in _items(outer)]:
        depth += 1
        if depth > DEPTH_MAX:
            raise PydanticCustomError("invalid_request", "it is nested too deeply")
        if not all(abs(item) <= SAFE_INTEGER for item in level if isinstance(item, int | float)):
            message = "numbers in JSON lie within ±(2^53 - 1)"
            raise PydanticCustomError("number_out_of_range", message)
    return value


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _whole(value: Any) -> Any:
    """A float without a fraction as the integer that it is: JSON Schema, like JSON, has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Makes a whole number of JSON one however it is written: 3 and 3.0."""

_Number = Annotated[float, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]


class Json(RootModel["bool | _Number | str | list[Json] | dict[str, Json] | None"]):
    """A caller's own JSON, as the API's description states it; `_safe_json` is what checks it."""


class _JsonObject:
    """Describes an object of the caller's own JSON."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(handler(TypeAdapter(dict[str, Json]).core_schema))


SafeJson = Annotated[dict[str, Any], AfterValidator(_safe_json), _JsonObject]
Count = Annotated[StrictInt, Field(ge=0, le=SAFE_INTEGER), WHOLE]
Positive = Annotated[StrictInt, Field(ge=1, le=SAFE_INTEGER), WHOLE]
Version = Annotated[StrictInt, Field(ge=1, le=VERSION_MAX), WHOLE]
Steps = Annotated[StrictInt, Field(ge=1, le=STEPS_MAX), WHOLE]
Probability = Annotated[float, Field(ge=0, le=1)]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat


def _moment(text: str) -> str:
    """Refuses a time that the service could not give back, as one before the year 1 in UTC."""
    try:
        timestamp(timestamp_ms(text))
    except (ValueError, OverflowError):
        message = "a time is RFC 3339 with a zone"
        raise ValueError(message) from None
    return text


Moment = Annotated[StrictStr, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StatePart(_Part):
    """A state, exact: facts or float32 bytes."""

    features: dict[str, Scalar] | None = Field(None, min_length=1, max_length=FACTS_MAX)
    vector_b64: StrictStr | None = Field(None, description="MEMORY_DIM little-endian float32 of unit length")
    text: Annotated[StrictStr, Field(min_length=1, max_length=TEXT_MAX)] | None = Field(
        None, description="what the vector was made from"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.features is None) == (self.vector_b64 is None) or (self.features and self.text is not None):
            message = "a state has either features, or vector_b64 and perhaps its text"
            raise ValueError(message)
        return self


class TargetPart(StatePart):
    """What an option leads to; the empty description, where a primitive may end anywhere."""

    features: dict[str, Scalar] | None = Field(None, max_length=FACTS_MAX)


class PrototypePart(StatePart):
    """A prototype: how many states were assigned to it, how often steps led there, and why it is salient."""

    prototype: Annotated[Count, Field(description="its number: they count from 0 without gaps")]
    visits: Count
    arrivals: Count = 0
    endings: Annotated[Count, Field(description="arrivals in which the world ended")] = 0
    marks: Annotated[
        StrictInt, Field(ge=0, le=MARKS_MAX, description="1 reward, 2 success, 4 marked, 8 novelty; their sum"), WHOLE
    ] = 0

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.endings > self.arrivals:
            message = "endings must not exceed arrivals"
            raise ValueError(message)
        return self


class TerminationPart(_Part):
    """As `Termination`."""

    similarity: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    max_steps: Steps | None = None


class OptionPart(_Part):
    """An option with its lifetime counts."""

    option_id: Annotated[StrictStr, Field(pattern=OPTION_ID_PATTERN)]
    name: StrictStr
    description: StrictStr
    target: TargetPart
    policy: SafeJson
    termination: TerminationPart
    kappa: Annotated[FiniteFloat, Field(ge=0, le=KAPPA_MAX)]
    gamma: Annotated[FiniteFloat, Field(gt=0, le=1)]
    alpha: Annotated[FiniteFloat, Field(gt=0, le=1)]
    metadata: SafeJson
    status: Status
    source: Source
    version: Version
    policy_version: Version
    created_at: Moment
    updated_at: Moment
    executions: Count
    successes: Count
    steps: Count
    censored: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.successes > self.executions:
            message = "successes must not exceed executions"
            raise ValueError(message)
        prefix = {Source.PRIMITIVE: ACTION_PREFIX, Source.DISCOVERED: DISCOVERED_PREFIX}.get(self.source)
        if not self.option_id.startswith(prefix) if prefix else self.option_id.startswith(RESERVED_PREFIXES):
            message = f"this is no id of an option that was {self.source.value}"
            raise ValueError(message)
        if self.source is not Source.PRIMITIVE and self.target.features == {}:
            message = "a target of facts has at least one"
            raise ValueError(message)
        return self

    def spec_document(self) -> dict[str, Any]:
        """The members that `spec_of_document` reads."""
        members = {"name", "description", "target", "policy", "termination", "kappa", "gamma", "alpha", "metadata"}
        return self.model_dump(include=members, exclude_none=True)


class RowPart(_Part):
    """A model row; outcomes are [prototype or "FAIL", P, P~], ascending, and P sums to 1."""

    option_id: StrictStr
    start: Count
    z: Annotated[FiniteFloat, Field(gt=0, le=1)]
    executions: Positive
    duration: Annotated[FiniteFloat, Field(ge=0, le=DURATION_MAX)]
    reward: Annotated[FiniteFloat, Field(ge=-RETURN_MAX, le=RETURN_MAX)]
    feature: Annotated[FiniteFloat, Field(ge=-1, le=1)]
    outcomes: list[tuple[Count | Literal["FAIL"], Probability, Probability]] = Field(min_length=1)


class PrimitiveRowPart(_Part):
    """What steps taught of a state and an action: sums, and [prototype, times] of each outcome, ascending."""

    start: Count
    action: Annotated[Count, Field(description="the action's place in `actions`")]
    reward: Annotated[FiniteFloat, Field(ge=-SUM_MAX, le=SUM_MAX)]
    loss: Annotated[FiniteFloat, Field(ge=0, le=SUM_MAX)]
    refused: Count
    fresh: StrictBool
    outcomes: list[tuple[Count, Positive]] = Field(min_length=1)


class PrimitivesPart(_Part):
    """The primitive model: the options of its actions, by number, and its rows by start and action."""

    actions: list[StrictStr] = Field(default_factory=list)
    rows: list[PrimitiveRowPart] = Field(default_factory=list)


class ConsolidationPart(_Part):
    """The models of discovered options, each in the service's own form, base64, by option id."""

    models: list[StrictStr]


class TallyPart(_Part):
    """Episodes of known outcome that were in a state, by what `kind` says of them: as `Tally`."""

    state: Annotated[StrictInt, Field(ge=EVERYWHERE, le=SAFE_INTEGER, description="-1: wherever they were"), WHOLE]
    kind: Annotated[
        StrictInt, Field(ge=0, le=max(Tallied), description="0 all, 1 by steps, 2 by steps left, 3 by action"), WHOLE
    ]
    place: Annotated[StrictInt, Field(ge=0, le=PLACE_MAX), WHOLE]
    agent: Annotated[StrictStr, Field(max_length=LABEL_MAX, description="empty: all agents")]
    episodes: Positive
    successes: Count
    left: Annotated[Count, Field(description="steps that the successes had left, in sum")]

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.successes > self.episodes:
            message = "successes must not exceed episodes"
            raise ValueError(message)
        return self


class ModelDocument(_Part):
    """The whole document. `consolidation` is null until options were worked out."""

    format: Literal["somabrain-model-1"]
    memory_dim: StrictInt
    encoder: StrictStr
    prototypes: list[PrototypePart]
    options: list[OptionPart]
    rows: list[RowPart]
    primitives: PrimitivesPart
    consolidation: ConsolidationPart | None
    odds: list[TallyPart] = Field(default_factory=list)
