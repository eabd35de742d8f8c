"""The nouns of memory. Frozen values; nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from somabrain.oak.model import Json, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A remembered item.

    `importance` lies in 0..1. Times are milliseconds since the epoch, UTC; `expires_at_ms` is `None` where the memory
    does not expire. `sequence` is that of the journal row that stored it, `checksum` the SHA-256 of its document, which
    the vector engine holds.
    """

    memory_id: str
    content: str
    metadata: Mapping[str, Json]
    importance: float
    created_at_ms: int
    expires_at_ms: int | None
    vector: Vector
    sequence: int
    checksum: str

    def lives_at(self, now_ms: int) -> bool:
        """Whether it has not expired."""
        return self.expires_at_ms is None or self.expires_at_ms > now_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What scoring by vector needs of a memory."""

    memory_id: str
    vector: Vector
    importance: float
    created_at_ms: int
    expires_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to recall.

    `text` is set where words count as well as the vector. `entries` are the filter's, RFC 8785 of `[key, value]` each;
    a memory has to hold all of them. Hits score at least `min_score`, `None`: any score.
    """

    vector: Vector
    text: str | None
    entries: frozenset[str]
    top_k: int
    min_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A memory that answers a query, and how well (ADR 0008)."""

    memory_id: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What counts in a score beside the vector (Settings `recall_*`)."""

    lexical: float
    importance: float
    recency: float
    half_life_ms: float
