"""Whether two values are the same to the last bit."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def differences(one: Any, other: Any, name: str = "world") -> list[str]:
    """Where two values differ, bits of arrays included; caches, whose contents may, are left out."""
    if type(one) is not type(other):
        return [name]
    if isinstance(one, np.ndarray):
        return (
            [] if one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes() else [name]
        )
    if isinstance(one, tuple):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, dict):
        if list(one) != list(other):
            return [name]
        return [found for key in one for found in differences(one[key], other[key], f"{name}[{key}]")]
    if is_dataclass(one):
        parts = [each.name for each in fields(one) if not each.name.startswith("_") and each.name != "index"]
        return [
            found for part in parts for found in differences(getattr(one, part), getattr(other, part), f"{name}.{part}")
        ]
    return [] if one == other else [name]
