"""Feature vectors of texts, and the engine that finds near ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from somabrain.oak.model import Vector
from somabrain.tenancy import Namespace, TenantId


class Embedder(Protocol):
    """Turns texts into feature vectors. Thread-safe."""

    @property
    def id(self) -> str:
        """Names the encoding: equal ids give comparable vectors. The database is held to it (DESIGN §5.1)."""
        ...

    def warm(self) -> None:
        """Reads what the first text would have to wait for. Raises `ConfigurationError` where it can't be used."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A unit vector of MEMORY_DIM for each text, in order; equal texts have equal vectors. No text is empty.

        Raises `EmbedderUnavailableError` where the model can't be reached.
        """
        ...


class VectorEngineUnavailableError(Exception):
    """The vector engine did not answer in time or refused the connection; what was asked may be asked again."""


class VectorEngineMismatchError(Exception):
    """The engine or a collection in it is not what this service needs; the message says what is wrong with it."""


class Shelf(StrEnum):
    """The collections of the vector engine (DESIGN §10)."""

    OPTIONS = "options"
    MEMORIES = "memories"


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """An option or a memory as the vector engine holds it.

    `document` is its complete JSON document, `checksum` the lower-case hex of the document's SHA-256, `sequence` that
    of the journal row which the document follows.
    """

    namespace: Namespace
    id: str
    vector: Vector
    document: str
    sequence: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What tells whether a projected document is the right one."""

    namespace: Namespace
    id: str
    sequence: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A projected document and its cosine to what was searched for."""

    id: str
    similarity: float


class VectorEngine(Protocol):
    """Nearest vectors, and the documents that belong to them: a projection, never the record. Thread-safe.

    Every method may raise `VectorEngineUnavailableError`, within its deadline, and `VectorEngineMismatchError`. Reads
    other than `search` see every write that was acknowledged before.
    """

    def open(self) -> bool:
        """Connects, proves the engine's version and index, and makes missing collections. Again: nothing.

        Whether a collection had to be made, so that what was in it is gone.
        """
        ...

    def close(self) -> None:
        """Lets go of the engine; `open` may follow."""
        ...

    def upsert(self, shelf: Shelf, tenant: TenantId, records: Sequence[Projected]) -> None:
        """Creates or replaces documents, durably."""
        ...

    def delete(self, shelf: Shelf, tenant: TenantId, keys: Sequence[tuple[Namespace, str]]) -> None:
        """Deletes documents by namespace and id; those that are not there are no error."""
        ...

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """At most `limit` documents of largest cosine, best first, ties by id.

        Approximate where the index is; the similarities are exact to float32. A write of the last
        MILVUS_STALENESS_S seconds may be missing.
        """
        ...

    def get(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, ids: Sequence[str]) -> list[Projected]:
        """Those documents that there are, by id."""
        ...

    def count(self, shelf: Shelf, tenant: TenantId) -> int:
        """The tenant's documents."""
        ...

    def marks(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Mark]]:
        """All of the tenant's documents in batches, in no order."""
        ...

    def documents(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Projected]]:
        """As `marks`, whole."""
        ...

    def tenants(self, shelf: Shelf) -> set[TenantId]:
        """Every owner of documents. Reads the whole collection."""
        ...

    def reload(self, shelf: Shelf) -> None:
        """Has the engine read a collection's data anew, where what it serves may have come apart from them.

        Meanwhile, some seconds, searches may fail.
        """
        ...

    def clear(self, shelf: Shelf) -> None:
        """Makes the collection anew, empty, also where its schema was another or its file is damaged."""
        ...
