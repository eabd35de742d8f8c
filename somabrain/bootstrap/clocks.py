"""The process's clocks and ids."""

from __future__ import annotations

import time

from uuid_utils import uuid7

from somabrain.outbox.feed import Clocks

_NS_PER_MS = 1_000_000


def clock_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // _NS_PER_MS


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7)."""
    return str(uuid7())


def clocks() -> Clocks:
    """What relays go by."""
    return Clocks(wall_ms=clock_ms, monotonic_s=time.monotonic)
