"""The pattern of a packed vector: base64 (RFC 4648 §4) of little-endian float32 (IEEE 754), as JSON Schema can say it.

A float's last byte holds its sign and the seven high bits of its exponent. Where those seven are at most 0x57 the float
is below 2^49, so it is neither infinite nor not a number, and well within the magnitude that a component may have.
Three floats fill 16 characters; characters are counted from 0 in them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from string import ascii_lowercase, ascii_uppercase, digits

ALPHABET = ascii_uppercase + ascii_lowercase + digits + "+/"
"""The characters of base64 by their value."""

FLOATS = 3
"""Floats in a group: the fewest that end where a character ends."""


def packed_pattern(dimension: int) -> str:
    """What a `vector_b64` of `dimension` floats below 2^49 matches; a zero vector does too, which is refused."""
    groups, more = divmod(dimension, FLOATS)
    tail = ("", f"{_FIRST}{_LAST_OF_ONE}==", f"{_FIRST}{_ANY}{{4}}{_LAST_OF_TWO}=")[more]
    return f"^(?:{_FIRST}{_ANY}{{4}}{_SECOND}{_ANY}{{3}}{_THIRD}){{{groups}}}{tail}$"


def _class(allowed: Callable[[int], bool]) -> str:
    """The characters whose values are `allowed`, as a class with ranges."""
    values = [value for value in range(len(ALPHABET)) if allowed(value)]
    runs = groupby(enumerate(values), key=lambda item: (item[1] - item[0], ord(ALPHABET[item[1]]) - item[1]))
    spans = [[ALPHABET[value] for _, value in run] for _, run in runs]
    return "[" + "".join(span[0] if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans) + "]"


_ANY = _class(lambda _: True)

_FIRST = f"{_ANY}{{4}}{_class(lambda value: value & 0x1F <= 0x57 >> 2)}"
"""Up to the first float's bits 31 to 26, in character 4."""

_BELOW, _AT = _class(lambda value: value & 0x7 < 0x5), _class(lambda value: value & 0x7 == 0x5)
"""Character 9 ends with the second float's bits 31 to 28; character 10 begins with bits 27 to 24."""

_SECOND = f"(?:{_BELOW}{_ANY}|{_AT}{_class(lambda value: value >> 2 <= 0x7)})"

_THIRD = f"(?:{_class(lambda value: value & 1 == 0)}{_ANY}|{_class(lambda value: value & 1 == 1)}[A-X])"
"""Character 14 ends with the third float's bits 31 and 30; character 15, at most 0x17, has the others."""

_LAST_OF_ONE = _class(lambda value: value & 0xF == 0)
"""Before `==`: the last four bits are no one's."""

_EVEN = _class(lambda value: value & 0x3 == 0)
_LAST_OF_TWO = f"(?:{_BELOW}{_EVEN}|{_AT}{_class(lambda value: value & 0x3 == 0 and value >> 2 <= 0x7)})"
"""Before `=`: the last two bits are no one's."""
