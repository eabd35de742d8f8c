"""The pattern of a packed vector: base64 (RFC 4648 §4) of little-endian float32 (IEEE 754), as JSON Schema can say it.

A float's last byte holds its sign and the seven high bits of its exponent. Where those seven are at most 0x57 the float
is below 2^49, so it is neither infinite nor not a number, and well within the magnitude that a component may have.
Three floats fill 16 characters; characters are counted from 0 in them.
"""

from __future__ import annotations

from collections.abc import Container
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


def _where(mask: int, allowed: Container[int]) -> str:
    """The characters whose values are `allowed` under `mask`, as a class with ranges."""
    values = [value for value in range(len(ALPHABET)) if value & mask in allowed]
    runs = groupby(enumerate(values), key=lambda item: (item[1] - item[0], ord(ALPHABET[item[1]]) - item[1]))
    spans = [[ALPHABET[value] for _, value in run] for _, run in runs]
    return "[" + "".join(span[0] if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans) + "]"


_ANY = _where(0, [0])

_FIRST = f"{_ANY}{{4}}{_where(0x1F, range(0x15 + 1))}"
"""Up to the first float's bits 31 to 26, in character 4."""

_BELOW, _AT = _where(0x7, range(0x5)), _where(0x7, [0x5])
"""Character 9 ends with the second float's bits 31 to 28; character 10 begins with bits 27 to 24."""

_SECOND = f"(?:{_BELOW}{_ANY}|{_AT}{_where(0x3C, range(0, 0x20, 4))})"

_THIRD = f"(?:{_where(1, [0])}{_ANY}|{_where(1, [1])}[A-X])"
"""Character 14 ends with the third float's bits 31 and 30; character 15, at most 0x17, has the others."""

_LAST_OF_ONE = _where(0xF, [0])
"""Before `==`: the last four bits are no one's."""

_EVEN = _where(0x3, [0])
_LAST_OF_TWO = f"(?:{_BELOW}{_EVEN}|{_AT}{_where(0x3F, range(0, 0x20, 4))})"
"""Before `=`: the last two bits are no one's."""
