"""What answers about memories look like."""

from __future__ import annotations

from typing import Any

from somabrain.api.answers import Answer, Time


class MemoryAnswer(Answer):
    """A remembered item."""

    memory_id: str
    content: str
    namespace: str
    metadata: dict[str, Any]
    importance: float
    created_at: Time
    expires_at: Time | None


class MemoryAnswers(Answer):
    """The single answers, in the order of the batch."""

    results: list[MemoryAnswer]


class MemoryHit(Answer):
    """A memory and how well it answers."""

    memory_id: str
    score: float
    content: str
    namespace: str
    metadata: dict[str, Any]
    importance: float
    created_at: Time


class RecallAnswer(Answer):
    """The best first; `degraded` where the vector engine should have answered and did not, and SQL was read instead."""

    hits: list[MemoryHit]
    degraded: bool
    took_ms: float
