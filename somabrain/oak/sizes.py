"""How much memory values take: what caches of them are bounded by."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

SAMPLE = 16
"""Of a container of more items, what that many refer to is measured for all of them."""

_GOLDEN = (5**0.5 - 1) / 2
"""Its multiples modulo 1 lie evenly, and in step with no pattern (Weyl's criterion)."""

_OURS = __name__.partition(".")[0] + "."


def size_of(value: object, *apart: object) -> int:
    """Bytes of `value` with all that it refers to, in CPython; without the objects `apart` and what their fields hold.

    An estimate: what the items of large containers refer to is measured for some of them; integers, which are mostly
    shared, count nothing; of objects those of this package are looked into.
    """
    seen = {id(held) for one in apart for held in (one, *_held(one))}
    return _sizes([value], seen)


def _sizes(values: Iterable[Any], seen: set[int]) -> int:
    """Of values that are not `seen` yet, which they are then. They must not be made for the purpose: ids are reused."""
    fresh = []
    for one in values:
        if id(one) not in seen:
            seen.add(id(one))
            fresh.append(one)
    own = sum(map(_own_size, fresh))
    if len(fresh) <= SAMPLE:
        return own + sum(_beyond(one, seen) for one in fresh)
    places = (int(number * _GOLDEN % 1 * len(fresh)) for number in range(SAMPLE))
    return own + round(len(fresh) / SAMPLE * sum(_beyond(fresh[place], seen) for place in places))


def _own_size(value: Any) -> int:
    if isinstance(value, int | Enum | type):
        return 0
    views_bytes = isinstance(value, np.ndarray) and not value.flags.owndata and not isinstance(value.base, np.ndarray)
    return sys.getsizeof(value) + (value.nbytes if views_bytes else 0)


def _beyond(value: Any, seen: set[int]) -> int:
    """What `value` refers to."""
    if isinstance(value, np.ndarray):
        return _sizes([value.base], seen) if isinstance(value.base, np.ndarray) else 0
    if isinstance(value, Mapping):
        return _sizes(value.keys(), seen) + _sizes(value.values(), seen)
    if isinstance(value, list | tuple | set | frozenset):
        return _sizes(value, seen)
    if isinstance(value, Enum | type) or not type(value).__module__.startswith(_OURS):
        return 0
    return _sizes(_held(value), seen)


def _held(value: Any) -> Iterable[Any]:
    """What the fields of an object of this package hold."""
    if is_dataclass(value):
        return [getattr(value, one.name) for one in fields(value)]
    held: Mapping[str, Any] = getattr(value, "__dict__", {})
    return held.values()
