"""What a transaction can do with memories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from somabrain.memory.model import Memory, Trace
from somabrain.ports.vectors import Mark
from somabrain.tenancy import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySpace:
    """A namespace's memories: how many, and the sequence of the last journal row that changed them."""

    namespace: Namespace
    version: int
    memories: int


class ReadMemories(Protocol):
    """A snapshot of one tenant's memories, expired ones that are not deleted yet included."""

    def space(self, namespace: Namespace) -> MemorySpace | None:
        """The namespace's, `None` if nothing was ever remembered in it."""
        ...

    def spaces(self) -> list[MemorySpace]:
        """All of them, by namespace."""
        ...

    def get(self, namespace: Namespace, ids: Iterable[str]) -> dict[str, Memory]:
        """Those that there are, by id."""
        ...

    def stored(self, namespace: Namespace, *, after: int, limit: int) -> list[Memory]:
        """Memories of sequences above `after`, ascending by sequence."""
        ...

    def marks(self, namespace: Namespace, *, after: int, limit: int) -> list[Mark]:
        """As `stored`, without what the memories hold."""
        ...

    def forgotten(self, namespace: Namespace, *, after: int) -> list[str]:
        """Ids that journal rows above `after` say were forgotten, in order; they may have been remembered again."""
        ...

    def traces(
        self,
        namespace: Namespace,
        *,
        entries: Sequence[str] = (),
        after: str = "",
        limit: int,
        newer_than: tuple[int, int] | None = None,
    ) -> list[Trace]:
        """Memories with ids above `after`, by id, whose metadata hold all `entries` (RFC 8785 of `[key, value]`).

        Those that hold the first entry are gone through, so it should be the rarest.
        `newer_than` = (sequence, created_at_ms): only those above the one or not below the other; any `limit` of them.
        """
        ...

    def rarest(self, namespace: Namespace, entries: Iterable[str], *, limit: int) -> tuple[str, int]:
        """That of some entries (as in `traces`) which the fewest memories hold, and how many, counted up to `limit`."""
        ...

    def holding(self, namespace: Namespace, entries: Iterable[str], ids: Iterable[str]) -> set[str]:
        """Those of the `ids` whose memories' metadata hold all `entries` (as in `traces`)."""
        ...


class WriteMemories(ReadMemories, Protocol):
    """Changes memories inside the transaction of the tenant's one writer."""

    def save(self, namespace: Namespace, memories: Sequence[Memory], entries: Mapping[str, frozenset[str]]) -> None:
        """Creates or replaces memories of distinct ids; `entries` by id, as `traces` looks for them."""
        ...

    def forget(self, namespace: Namespace, ids: Sequence[str]) -> None:
        """Deletes memories."""
        ...

    def save_space(self, space: MemorySpace) -> None:
        """Creates or replaces the record."""
        ...
