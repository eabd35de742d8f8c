"""What a filter can ask of a memory: its metadata's own names with single values."""

from __future__ import annotations

from collections.abc import Mapping

from somabrain.oak.learning import facts
from somabrain.oak.model import Json


def entries_of(metadata: Mapping[str, Json]) -> frozenset[str]:
    """RFC 8785 of `[name, value]` for each text, number and boolean, so 1 = 1.0 and true ≠ 1 ≠ "1" (DESIGN §5.1).

    Raises as `facts`.
    """
    scalars = {name: value for name, value in metadata.items() if isinstance(value, str | bool | int | float)}
    return facts(scalars).entries
