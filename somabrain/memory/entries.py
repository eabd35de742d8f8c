"""What a filter can ask of a memory: its metadata's own names with single values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from somabrain.oak.learning import facts
from somabrain.oak.model import Json, Scalar

ENTRIES_KEPT = 65_536
"""Entries whose form is kept at hand, some 20 MB: most metadata repeat."""

KEPT_CHARS_MAX = 64
"""Longest name or text of an entry that is kept at hand."""


def entries_of(metadata: Mapping[str, Json]) -> frozenset[str]:
    """RFC 8785 of `[name, value]` for each text, number and boolean, so 1 = 1.0 and true ≠ 1 ≠ "1" (DESIGN §5.1).

    Raises as `facts`.
    """
    scalars = ((name, value) for name, value in metadata.items() if isinstance(value, str | bool | int | float))
    return frozenset(
        _known_entry(name, value) if _short(name, value) else _entry(name, value) for name, value in scalars
    )


def _short(name: str, value: Scalar) -> bool:
    return len(name) <= KEPT_CHARS_MAX and (not isinstance(value, str) or len(value) <= KEPT_CHARS_MAX)


def _entry(name: str, value: Scalar) -> str:
    (entry,) = facts({name: value}).entries
    return entry


_known_entry = lru_cache(maxsize=ENTRIES_KEPT, typed=True)(_entry)
