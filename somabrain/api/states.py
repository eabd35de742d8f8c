"""States in request bodies, and how they become feature vectors (DESIGN §5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import (
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

from somabrain.errors import SomabrainError
from somabrain.oak.documents import vector_of_base64
from somabrain.oak.learning import facts, unit_vector
from somabrain.oak.learning.states import COMPONENT_MAX, SAFE_INTEGER
from somabrain.oak.model import State, Vector
from somabrain.oak.model_document import FACTS_MAX, TEXT_MAX
from somabrain.oak.roles import (
    NO_ROLES,
    ROLE_NAME_PATTERN,
    ROLE_NUMBER_MAX,
    ROLE_VALUE_MAX,
    ROLES_MAX,
    Roles,
    roles,
)
from somabrain.ports import Embedder, NotAtHandError

FACT_NAME_MAX = 256
VECTOR_SHAPE = {
    "type": "array",
    "items": {"type": "number", "minimum": -COMPONENT_MAX, "maximum": COMPONENT_MAX},
    "contains": {"anyOf": [{"exclusiveMinimum": 0}, {"exclusiveMaximum": 0}]},
    "description": "MEMORY_DIM numbers, not all zero; normalised on entry.",
}
"""A vector, as the API's description states it; the server's MEMORY_DIM is added there."""

Components = Annotated[list[StrictFloat | StrictInt], WithJsonSchema(VECTOR_SHAPE)]
FactName = Annotated[StrictStr, Field(max_length=FACT_NAME_MAX)]


class Body(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_NUMBER = {"type": "number", "minimum": -ROLE_NUMBER_MAX, "maximum": ROLE_NUMBER_MAX}
_ROLES_SHAPE = {
    "type": "object",
    "maxProperties": ROLES_MAX,
    "propertyNames": {"pattern": f"^{ROLE_NAME_PATTERN}$"},
    "additionalProperties": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": ROLE_VALUE_MAX}, _NUMBER]},
    "description": "What this is about: where facts and actions name one of these values, they are stored as its role, "
    "so that what is learned with one value serves another. No two roles have one value.",
    "examples": [{"object": "apple 2", "place": "fridge 1"}],
}


class Roled(Body):
    """A body that is about something."""

    roles: Annotated[dict[StrictStr, StrictStr | StrictInt | StrictFloat], WithJsonSchema(_ROLES_SHAPE)] = Field(
        default_factory=dict
    )

    def bound(self, encoding: Encoding) -> Encoding:
        """The encoding for this body's states and actions. Raises as `roles`."""
        if not self.roles:
            return encoding
        try:
            return replace(encoding, roles=roles(self.roles))
        except SomabrainError as error:
            raise error.within("roles") from None


class StateBody(Body):
    """A state: exactly one of facts, a text, a vector of MEMORY_DIM numbers, or it as base64 little-endian float32."""

    features: dict[FactName, StrictStr | StrictBool | StrictInt | StrictFloat] | None = Field(
        None, min_length=1, max_length=FACTS_MAX
    )
    vector: Components | None = None
    vector_b64: StrictStr | None = None
    text: Annotated[StrictStr, Field(min_length=1, max_length=TEXT_MAX)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1 or len(self.model_fields_set) != 1:
            raise PydanticCustomError(
                "invalid_request", "a state has exactly one of features, text, vector, vector_b64"
            )
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
        packed = {
            "type": "string",
            "contentEncoding": "base64",
            "description": "MEMORY_DIM little-endian float32, not all zero. The pattern lets through components below "
            "2^49; the service takes them up to 1e15.",
        }
        text = {
            "type": "string",
            "minLength": 1,
            "maxLength": TEXT_MAX,
            "description": "Made a vector by the server's embedder.",
        }
        shapes = {"features": features, "text": text, "vector": VECTOR_SHAPE, "vector_b64": packed}
        return {
            "title": "State",
            "description": cls.__doc__,
            "oneOf": [
                {"type": "object", "properties": {name: shape}, "required": [name], "additionalProperties": False}
                for name, shape in shapes.items()
            ],
        }

    def state(self, encoding: Encoding) -> State:
        """The state: facts with their roles bound, others as they are. Raises as `facts` and `unit_vector`."""
        if self.features is not None:
            return facts(encoding.roles.bind(self.features))
        if self.vector is not None:
            return unit_vector(self.vector, encoding.dimension)
        if self.vector_b64 is not None:
            return vector_of_base64(self.vector_b64, encoding.dimension)
        assert self.text is not None
        return encoding.vector(self.text)


def state_at(body: StateBody, encoding: Encoding, *loc: str | int) -> State:
    """The state, its errors located at `loc`."""
    try:
        return body.state(encoding)
    except SomabrainError as error:
        raise error.within(*loc) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How the states of one request become vectors: its texts are embedded together, before any is read.

    `roles` are those of the request, or of one item of a batch.
    """

    dimension: int
    texts: Mapping[str, Vector]
    roles: Roles = NO_ROLES

    def vector(self, text: str) -> Vector:
        """The vector of one of the request's texts, with the text."""
        return replace(self.texts[text], text=text)


def encoding_of(embedder: Embedder, dimension: int, body: BaseModel, *more: str, at_once: bool = False) -> Encoding:
    """The encoding of every text state in the body, and of `more` texts.

    Raises `EmbedderUnavailableError`; `NotAtHandError` where it is wanted at once and there is a text.
    """
    texts = sorted({*more, *(state.text for state in _states(body) if state.text is not None)})
    if at_once and texts:
        raise NotAtHandError
    vectors = embedder.embed(texts) if texts else []
    return Encoding(dimension=dimension, texts=dict(zip(texts, vectors, strict=True)))


def _states(body: BaseModel) -> Iterator[StateBody]:
    if isinstance(body, StateBody):
        yield body
        return
    for name in type(body).model_fields:
        value = getattr(body, name)
        items = value if isinstance(value, list) else [value]
        if items and isinstance(items[0], BaseModel):
            for item in items:
                yield from _states(item)
