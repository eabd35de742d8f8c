"""What an agent knows at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = Any
"""A JSON value as parsed: None, bool, int, float, str, list or dict of these."""

Scalar = str | int | float | bool


class Kind(StrEnum):
    """What a state is made of. Facts and vectors never mix."""

    FACTS = "facts"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A state, or a partial description of one, as named facts.

    `values` as given, `canonical` their RFC 8785 form (equal facts have equal forms), `entries` the
    RFC 8785 form of `[name, value]` for each fact.
    """

    values: Mapping[str, Scalar] = field(compare=False)
    canonical: str
    entries: frozenset[str] = field(compare=False)

    @property
    def kind(self) -> Kind:
        """`Kind.FACTS`."""
        return Kind.FACTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A state as a unit vector: `data` is MEMORY_DIM little-endian float32.

    `text` is what the vector was made from, `None` where it was given as it is; it is shown, never compared.
    """

    data: bytes
    text: str | None = field(default=None, compare=False)

    @property
    def kind(self) -> Kind:
        """`Kind.VECTOR`."""
        return Kind.VECTOR

    def array(self) -> NDArray[np.float32]:
        """Shape (MEMORY_DIM,), read-only."""
        return np.frombuffer(self.data, dtype="<f4")


State = Facts | Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """An abstract state: the `number`-th of its namespace, standing for `state`."""

    number: int
    state: State
