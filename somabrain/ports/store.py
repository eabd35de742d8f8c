"""The system of record, and the events that leave it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from somabrain.oak.learning import LearningParameters
from somabrain.oak.model import Json, ModelRow, Option, Prototype, Source, State, Status
from somabrain.ports.experience import ReadExperience, WriteExperience
from somabrain.ports.memories import ReadMemories, WriteMemories
from somabrain.ports.odds import ReadOdds, WriteOdds
from somabrain.tenancy import Namespace, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRecord:
    """A namespace: what its caches are keyed by and what its learning depends on.

    `born` is the journal sequence at which it began anew (creation, deletion, import): prototypes are only ever
    added while it stays the same. `model_version` is the sequence of the last row that changed the model.
    `options` counts all of them, `active_options` leaves primitives out, which are `actions`.
    """

    namespace: Namespace
    model_version: int
    born: int
    learning: LearningParameters
    prototypes: int
    options: int
    active_options: int
    actions: int = 0
    episodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change, in the past tense: the name and fields of an Avro record (DESIGN §9).

    `request` is what the change was made from, as normalised, so that a replay makes it again; `None` where there
    is nothing to make again.
    """

    type: str
    namespace: Namespace
    option_id: str | None
    payload: Mapping[str, Json]
    request: Mapping[str, Json] | None
    reported_by: str
    timestamp_ms: int
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """An event with its place in its tenant's journal; sequences count from 1 without gaps."""

    tenant: TenantId
    sequence: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyScope:
    """What an Idempotency-Key is unique within (DESIGN §7); `path` includes the query."""

    subject: str
    method: str
    path: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A stored answer: of the request whose body had this SHA-256."""

    body_sha256: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrototype:
    """A prototype and how many reported states were assigned to it."""

    prototype: Prototype
    visits: int


class ReadTransaction(Protocol):
    """A snapshot of one tenant's data. Never waits for writers."""

    @property
    def tenant(self) -> TenantId:
        """Whose data."""
        ...

    @property
    def memories(self) -> ReadMemories:
        """The tenant's memories."""
        ...

    @property
    def odds(self) -> ReadOdds:
        """Its counts behind the odds of runs."""
        ...

    @property
    def experience(self) -> ReadExperience:
        """The tenant's primitive models, episodes and option models."""
        ...

    def namespace(self, namespace: Namespace) -> NamespaceRecord | None:
        """The namespace, `None` if nothing was ever written to it."""
        ...

    def namespaces(self) -> list[NamespaceRecord]:
        """All of them, by name."""
        ...

    def option(self, namespace: Namespace, option_id: str) -> Option | None:
        """The option, active or retired."""
        ...

    def options(
        self,
        namespace: Namespace,
        *,
        after: str = "",
        limit: int | None = None,
        status: Status | None = None,
        source: Source | None = None,
        besides: Source | None = None,
    ) -> list[Option]:
        """Options with ids above `after`, ascending by code point; those of the source `besides` are left out."""
        ...

    def options_by_id(self, namespace: Namespace, ids: Iterable[str]) -> dict[str, Option]:
        """These options, those that there are, active or retired."""
        ...

    def option_ids(self, namespace: Namespace, *, besides: Source | None = None) -> list[str]:
        """Ids of all options, ascending by code point; those of the source `besides` are left out."""
        ...

    def rows(
        self,
        namespace: Namespace,
        *,
        option_id: str | None = None,
        start: int | None = None,
        after: int = -1,
        limit: int | None = None,
        active_only: bool = False,
    ) -> list[ModelRow]:
        """Executed rows, ascending by (option id, start), of starts above `after`."""
        ...

    def rows_of(self, namespace: Namespace, ids: Iterable[str], *, limit: int | None = None) -> list[ModelRow]:
        """The first `limit` executed rows of these options, ascending by (option id, start)."""
        ...

    def prototypes(self, namespace: Namespace, *, first: int = 0, limit: int | None = None) -> list[StoredPrototype]:
        """Prototypes numbered `first` and above, ascending."""
        ...

    def states(self, namespace: Namespace, numbers: Sequence[int]) -> dict[int, State]:
        """What these prototypes stand for, those that there are."""
        ...

    def journal(
        self, *, after: int = 0, limit: int | None = None, namespace: Namespace | None = None
    ) -> list[JournalEntry]:
        """Journal entries of sequences above `after`, ascending."""
        ...

    def changes(self, *, after: int, limit: int) -> list[JournalEntry]:
        """The same without their `request`, which may be large."""
        ...

    def sequence(self) -> int:
        """The last sequence of the tenant's journal, 0 if it is empty."""
        ...

    def position(self, sink: str) -> int:
        """The sequence up to which the sink has the tenant's journal, 0 if it has nothing."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """The one writer of a tenant. All of it is committed, or none."""

    @property
    def memories(self) -> WriteMemories:
        """The tenant's memories."""
        ...

    @property
    def odds(self) -> WriteOdds:
        """Its counts behind the odds of runs."""
        ...

    @property
    def experience(self) -> WriteExperience:
        """The tenant's primitive models, episodes and option models."""
        ...

    def append(self, event: Event) -> int:
        """Adds a journal row and returns its sequence."""
        ...

    def save_namespace(self, record: NamespaceRecord) -> None:
        """Creates or replaces the record."""
        ...

    def clear_namespace(self, namespace: Namespace) -> None:
        """Deletes the namespace's prototypes, options, rows and experience; its record stays until saved anew."""
        ...

    def save_options(self, namespace: Namespace, options: Sequence[Option]) -> None:
        """Creates or replaces options."""
        ...

    def save_rows(self, namespace: Namespace, rows: Sequence[ModelRow]) -> None:
        """Creates or replaces rows."""
        ...

    def drop_rows(self, namespace: Namespace, option_id: str) -> None:
        """Deletes an option's rows."""
        ...

    def add_prototypes(self, namespace: Namespace, prototypes: Sequence[StoredPrototype]) -> None:
        """Adds new prototypes."""
        ...

    def add_visits(self, namespace: Namespace, visits: Mapping[int, int]) -> None:
        """Raises prototypes' visits."""
        ...

    def reply(self, scope: ReplyScope, now_ms: int) -> Reply | None:
        """The stored answer of this scope that has not expired."""
        ...

    def save_reply(self, scope: ReplyScope, reply: Reply) -> None:
        """Stores an answer in this transaction."""
        ...


class NotAtHandError(Exception):
    """It takes more than a moment: it is to be asked for where others need not wait for it. Nothing was written."""


class Store(Protocol):
    """The system of record (ADR 0001)."""

    def read(self, tenant: TenantId) -> AbstractContextManager[ReadTransaction]:
        """A snapshot. Raises `StoreUnavailableError`."""
        ...

    def reads_at_once(self) -> bool:
        """Whether a read that begins now waits for no other process and no other thread."""
        ...

    def write(
        self, tenant: TenantId, *, durable: bool = True, at_once: bool = False
    ) -> AbstractContextManager[WriteTransaction]:
        """The tenant's only writer until the block ends; commits at its end, rolls back on an exception.

        Without `durable` the end of the process undoes nothing, but a power failure may (ADR 0012). `at_once` raises
        `NotAtHandError` rather than wait for another writer.
        Raises `StoreUnavailableError`, also where the commit fails; then nothing was written.
        """
        ...


class SinkUnavailableError(Exception):
    """The sink can't take events now; they stay in the journal and are given to it again."""

    def __init__(self, detail: str | None = None) -> None:
        """`detail` replaces the class's own message, the first line of its docstring."""
        super().__init__(detail or (type(self).__doc__ or "").strip().split("\n", 1)[0])


class Positions(Protocol):
    """How far sinks have come in each tenant's journal: `ReadTransaction.position` tells the same."""

    def advance(self, sink: str, tenant: TenantId, sequence: int) -> None:
        """Records that the sink has all entries up to `sequence`, be that more or fewer than before."""
        ...

    def reset(self, sink: str) -> None:
        """Records that the sink has nothing, of any tenant."""
        ...


class EventSink(Protocol):
    """Where events go when they leave the service. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """What the sink's position in the journals is kept under, and its metrics are labelled with."""
        ...

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        """Takes entries of one tenant, ascending; returns once all of them are durable, and opens what it needs.

        Raises `SinkUnavailableError`; then some may have been taken, and all of them are to
        be given again. What is given again may be taken twice.
        """
        ...

    def close(self) -> None:
        """Lets go of what is open. `publish` may follow, and opens it again."""
        ...
