"""The nouns of memory. Frozen values; nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from somabrain.oak.model import Json, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A remembered item.

    `importance` lies in 0..1. Times are milliseconds since the epoch, UTC; `expires_at_ms` is `None` where the memory
    does not expire. `sequence` is that of the journal row that stored it.
    """

    memory_id: str
    content: str
    metadata: Mapping[str, Json]
    importance: float
    created_at_ms: int
    expires_at_ms: int | None
    vector: Vector
    sequence: int
