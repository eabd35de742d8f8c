"""Ids that the service gives itself (DESIGN §7)."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b

import rfc8785

from somabrain.oak.model import Facts, Json, State

ACTION_PREFIX, DISCOVERED_PREFIX, GOAL_PREFIX = "act:", "disc:", "goal:"
RESERVED_PREFIXES = (ACTION_PREFIX, DISCOVERED_PREFIX, GOAL_PREFIX)
"""Callers may not choose ids that begin like these."""

FRONTIER = "frontier"
"""What stands for a target where one explores: no option's id."""

_DIGEST_BYTES = 16


def action_id(action: Json) -> str:
    """The id of a primitive option, by the action's RFC 8785 form."""
    return _hashed(ACTION_PREFIX, rfc8785.dumps(action))


def state_id(prefix: str, target: State) -> str:
    """The id of an option toward a state: by its canonical facts or its float32 bytes."""
    return _hashed(prefix, target.canonical.encode() if isinstance(target, Facts) else target.data)


def _hashed(prefix: str, canonical: bytes) -> str:
    """Base32 (RFC 4648 §6) of BLAKE2b-128 (RFC 7693), without padding."""
    return prefix + b32encode(blake2b(canonical, digest_size=_DIGEST_BYTES).digest()).decode().rstrip("=")
