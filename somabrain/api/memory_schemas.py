"""What the bodies of the memory routes may be."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from somabrain.api.schemas import BATCH_MAX, TOP_K_MAX, Metadata, Namespaced, NamespaceName, Unit
from somabrain.api.states import FACT_NAME_MAX, Body, Components, Encoding, StateBody, state_at
from somabrain.errors import SomabrainError
from somabrain.memory.entries import entries_of
from somabrain.memory.model import Query
from somabrain.memory_client import NewMemory
from somabrain.oak.learning import facts, unit_vector
from somabrain.oak.learning.states import SAFE_INTEGER
from somabrain.oak.model import Vector
from somabrain.oak.model_document import FACTS_MAX, OPTION_ID_PATTERN, TEXT_MAX, WHOLE
from somabrain.tenancy import DEFAULT_NAMESPACE

IMPORTANCE = 0.5
"""The importance of a memory that names none: the middle, which neither raises nor lowers its scores."""
TTL_MAX_S = 3_153_600_000
"""Longest life that can be asked for: a hundred years of 365 days."""
SCORE_MAX = 10.0
"""Bound of `min_score`, far beyond any score."""


def _in_bytes(value: str) -> str:
    if len(value.encode()) > TEXT_MAX:
        raise PydanticCustomError("invalid_request", "content is at most 64 KiB of UTF-8")
    return value


MemoryId = Annotated[StrictStr, Field(pattern=OPTION_ID_PATTERN)]
Content = Annotated[StrictStr, Field(min_length=1, max_length=TEXT_MAX), AfterValidator(_in_bytes)]
Ttl = Annotated[StrictInt, Field(ge=1, le=TTL_MAX_S), WHOLE]
_NUMBER = WithJsonSchema({"type": "number", "minimum": -SAFE_INTEGER, "maximum": SAFE_INTEGER})
Scalar = StrictStr | StrictBool | Annotated[StrictInt | StrictFloat, _NUMBER]


class RememberItem(Body):
    """A memory to store; one of the same id is replaced. Without `vector` the content is embedded."""

    content: Content
    vector: Components | None = None
    metadata: Metadata = Field(default_factory=dict)
    importance: Unit = IMPORTANCE
    ttl_s: Ttl | None = None
    memory_id: MemoryId | None = None

    def new(self, encoding: Encoding, memory_id: str) -> NewMemory:
        """What to remember, under `memory_id` where it names none. Raises as `unit_vector` and `facts`."""
        entries_of(self.metadata)
        return NewMemory(
            memory_id=self.memory_id or memory_id,
            content=self.content,
            vector=encoding.vector(self.content)
            if self.vector is None
            else unit_vector(self.vector, encoding.dimension),
            metadata=self.metadata,
            importance=float(self.importance),
            ttl_s=self.ttl_s,
        )


class RememberBody(RememberItem, Namespaced):
    """A memory to store."""


class BatchMemory(RememberItem):
    """A memory of a batch."""

    namespace: Annotated[
        NamespaceName | None, WithJsonSchema({"type": "null", "description": "The batch names its namespace once."})
    ] = None


class RememberBatch(Body):
    """Memories in their order; all are stored, or none. They are of one namespace, named here or by each of them."""

    namespace: NamespaceName | None = None
    memories: Annotated[list[BatchMemory], Field(min_length=1, max_length=BATCH_MAX)]

    @model_validator(mode="after")
    def _one_namespace(self) -> Self:
        named = self.space
        for place, item in enumerate(self.memories):
            if (item.namespace or (self.namespace or DEFAULT_NAMESPACE)) != named:
                raise PydanticCustomError(
                    "invalid_request", "a batch concerns one namespace; memory {place} names another", {"place": place}
                )
        return self

    @property
    def space(self) -> str:
        """The namespace of them all."""
        return self.namespace or self.memories[0].namespace or DEFAULT_NAMESPACE


class RecallBody(Namespaced):
    """What to recall: the state that memories should be near, and what their metadata must hold."""

    query: StateBody
    top_k: Annotated[StrictInt, Field(ge=1, le=TOP_K_MAX), WHOLE] = 10
    filter: dict[Annotated[StrictStr, Field(max_length=FACT_NAME_MAX)], Scalar] = Field(
        default_factory=dict, max_length=FACTS_MAX
    )
    min_score: Annotated[float, Field(ge=-SCORE_MAX, le=SCORE_MAX)] | None = None

    def words(self) -> str | None:
        """The words to look for: the query's text, or its facts as "name: value"; `None` for a vector.

        Equal facts give equal words. Raises as `facts`.
        """
        if self.query.features is None:
            return self.query.text
        try:
            known = facts(self.query.features)
        except SomabrainError as error:
            raise error.within("query") from None
        return ", ".join(f"{name}: {_said(value)}" for name, value in known.values.items())

    def asked(self, encoding: Encoding, words: str | None) -> Query:
        """The query for these `words`, else for its vector. Raises as `facts` and `unit_vector`."""
        try:
            entries = entries_of(self.filter)
        except SomabrainError as error:
            error.loc = ("filter", *error.loc[1:])
            raise
        if words is not None:
            vector = encoding.vector(words)
        else:
            state = state_at(self.query, encoding, "query")
            assert isinstance(state, Vector)
            vector = state
        return Query(vector=vector, text=words, entries=entries, top_k=self.top_k, min_score=self.min_score)


def _said(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
