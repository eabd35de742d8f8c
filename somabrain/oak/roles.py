"""Roles: what a run is about, taken out of facts and actions where they are stored, and put back where told (ADR 13).

A stored text is a sequence of marks and of other characters. The marks: `$name` is a role, `${name}` the same as a text
where the role's value is a number, `$$` a dollar sign. Keys of objects are names, not values: they stay as they are.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import rfc8785

from somabrain.errors import InvalidRequestError, NumberOutOfRangeError
from somabrain.oak.model import Json

ROLES_MAX = 16
"""Most roles of a request."""
ROLE_NAME_PATTERN = "[A-Za-z_][A-Za-z0-9_]{0,63}"
ROLE_VALUE_MAX = 256
"""Longest value of a role, characters."""
ROLE_NUMBER_MAX = 2**53 - 1
"""Greatest magnitude of a role's number: that of a fact's."""

_NAME = re.compile(ROLE_NAME_PATTERN)
_MARK = re.compile(rf"\$(?:\$|(?P<bare>{ROLE_NAME_PATTERN})|{{(?P<braced>{ROLE_NAME_PATTERN})}})")
_WHOLE = re.compile(rf"\$({ROLE_NAME_PATTERN})")

RoleValue = str | int | float

_Span = tuple[int, int, str]
"""Where a role's value stands in a text, [begin, end), and the role's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A role's value as it stands in texts."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The roles of one request. Made by `roles`; where every role has its value, `told` undoes `bind` exactly.

    `values` by name, numbers as RFC 8785 writes them.
    """

    values: Mapping[str, RoleValue]
    _words: tuple[_Word, ...] = field(compare=False, repr=False)
    """The longest first, ties by name."""
    _numbers: Mapping[float, str] = field(compare=False, repr=False)
    """Names of the roles whose values are numbers, by value."""
    _digits: Mapping[str, str] = field(compare=False, repr=False)
    """The same by the number's text."""

    def bind(self, value: Json) -> Json:
        """The JSON value as it is stored.

        In its texts each whole-word occurrence of a role's value, the longest first, becomes `$name`, a dollar sign
        `$$`. A number equal to a role's becomes the text `$name`; a text that is nothing but that number, `${name}`.
        """
        if isinstance(value, str):
            return self._bound(value)
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            name = self._numbers.get(value)
            return value if name is None else f"${name}"
        if isinstance(value, list):
            return [self.bind(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self.bind(item) for key, item in value.items()}
        return value

    def restore(self, value: Json, unbound: set[str]) -> Json:
        """The stored value with this request's values put back; to `unbound` come the names that have none.

        They stay `$name`.
        """
        if isinstance(value, str):
            return self._unbound(value, unbound) if "$" in value else value
        if isinstance(value, list):
            return [self.restore(item, unbound) for item in value]
        if isinstance(value, Mapping):
            return {key: self.restore(item, unbound) for key, item in value.items()}
        return value

    def told(self, value: Json) -> Json:
        """As `restore`, without the names."""
        return self.restore(value, set())

    def _bound(self, text: str) -> str:
        if text in self._digits:
            return f"${{{self._digits[text]}}}"
        parts, at = [], 0
        for begin, end, name in self._spans(text):
            parts += [text[at:begin].replace("$", "$$"), f"${name}"]
            at = end
        return "".join([*parts, text[at:].replace("$", "$$")])

    def _spans(self, text: str) -> list[_Span]:
        """The values' places in the text, ascending, none over another."""
        spans: list[_Span] = []
        for word in self._words:
            if word.text in text:
                spans = sorted([*spans, *_free(word, text, spans)])
        return spans

    def _unbound(self, text: str, unbound: set[str]) -> RoleValue:
        whole = _WHOLE.fullmatch(text)
        if whole is not None and whole[1] in self.values:
            return self.values[whole[1]]

        def said(mark: re.Match[str]) -> str:
            name = mark["bare"] or mark["braced"]
            if name is None:
                return "$"
            if name not in self.values:
                unbound.add(name)
                return mark[0]
            return _text(self.values[name])

        return _MARK.sub(said, text)


def roles(values: Mapping[str, RoleValue]) -> Roles:
    """The roles with these values.

    Raises `InvalidRequestError` for more than `ROLES_MAX`, a name that is no `ROLE_NAME_PATTERN`, an empty or long
    text, a value that is neither text nor number, and two roles with one value, told apart by their texts;
    `NumberOutOfRangeError` for a number that is not finite or beyond `ROLE_NUMBER_MAX`.
    """
    if len(values) > ROLES_MAX:
        raise InvalidRequestError(f"a request has at most {ROLES_MAX} roles")
    known = {name: _value(name, value) for name, value in values.items()}
    names: dict[str, str] = {}
    for name, value in known.items():
        other = names.setdefault(_text(value), name)
        if other != name:
            raise InvalidRequestError(f"the roles {other!r} and {name!r} have one value", loc=(name,))
    words = (_Word(name=name, text=text) for text, name in names.items())
    numbers = {value: name for name, value in known.items() if not isinstance(value, str)}
    return Roles(
        values=known,
        _words=tuple(sorted(words, key=lambda word: (-len(word.text), word.name))),
        _numbers=numbers,
        _digits={_text(value): name for value, name in numbers.items()},
    )


def _value(name: str, value: RoleValue) -> RoleValue:
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"a role's name is {ROLE_NAME_PATTERN}", loc=(name,))
    if isinstance(value, str):
        if not 0 < len(value) <= ROLE_VALUE_MAX:
            raise InvalidRequestError(f"the role {name!r} is 1 to {ROLE_VALUE_MAX} characters", loc=(name,))
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequestError(f"the role {name!r} is neither a text nor a number", loc=(name,))
    if not abs(value) <= ROLE_NUMBER_MAX:
        raise NumberOutOfRangeError(f"the role {name!r} is beyond ±(2^53 - 1)", loc=(name,))
    number: int | float = json.loads(rfc8785.dumps(value))
    return number


def _text(value: RoleValue) -> str:
    """A role's value as it stands in a text: a number as RFC 8785 writes it."""
    return value if isinstance(value, str) else rfc8785.dumps(value).decode()


def _free(word: _Word, text: str, taken: list[_Span]) -> Iterator[_Span]:
    """Where the word stands in the text as a whole word, outside of `taken`, ascending, none over another."""
    pattern = re.compile(rf"(?<!\w){re.escape(word.text)}(?!\w)")
    ends = [end for _, end, _ in taken]
    found = pattern.search(text)
    while found is not None:
        begin, end = found.span()
        place = bisect_right(ends, begin)
        if place < len(taken) and taken[place][0] < end:
            end = ends[place]  # whatever begins before the end of what is in the way overlaps it too
        else:
            yield begin, end, word.name
        found = pattern.search(text, end)


NO_ROLES = roles({})
"""A request about nothing in particular."""
