"""A sink that keeps what it takes in memory, and fails when it is told to."""

from __future__ import annotations

from collections.abc import Sequence

from somabrain.ports import JournalEntry, SinkUnavailableError
from somabrain.tenancy import TenantId


class MemorySink:
    """`EventSink`: `batches` are those taken, `attempts` counts the calls.

    Fails while it is `down`, and for the tenant `refused`.
    """

    name = "memory"

    def __init__(self) -> None:
        self.batches: list[list[JournalEntry]] = []
        self.attempts = 0
        self.closed = 0
        self.down = False
        self.refused: TenantId | None = None

    @property
    def taken(self) -> list[JournalEntry]:
        """All of them, in the order in which they came."""
        return [entry for batch in self.batches for entry in batch]

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        """As the port."""
        self.attempts += 1
        if self.down or (entries and entries[0].tenant == self.refused):
            raise SinkUnavailableError
        if entries:
            self.batches.append(list(entries))

    def close(self) -> None:
        """As the port."""
        self.closed += 1
