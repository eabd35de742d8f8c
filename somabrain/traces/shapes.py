"""What a parsed document may be, and its parts, each refused with its place."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import chain

from somabrain.errors import TraceInvalidError, TraceTooLargeError
from somabrain.traces.model import GOAL_FACTS_MAX, NAME_MAX, Json, Scalar

DEPTH_MAX = 100
"""Deepest nesting of a document; a cycle is deeper than any."""
NODES_MAX = 2_000_000
"""Most values of a document."""
INTEGER_BITS_MAX = 64
"""Largest whole number, in bits: what parsers of JSON keep whole."""
LABEL_MAX = 256
"""Longest agent or group, in characters, as `POST /oak/episode` takes it."""

_SHOWN = 80


def check_document(document: Json) -> None:
    """Raises `TraceTooLargeError` or `TraceInvalidError` unless it is JSON of bounded depth and size."""
    level: list[Json] = [document]
    count = 0
    for _ in range(DEPTH_MAX):
        count += len(level)
        if count > NODES_MAX:
            raise TraceTooLargeError(f"more than {NODES_MAX} values")
        deeper = [part for part in (_parts(value) for value in level) if part]
        if not deeper:
            return
        if sum(map(len, deeper)) > NODES_MAX:
            raise TraceTooLargeError(f"more than {NODES_MAX} values")
        level = list(chain.from_iterable(deeper))
    raise TraceTooLargeError(f"nested deeper than {DEPTH_MAX}")


def _parts(value: Json) -> Sequence[Json]:
    """The values inside a value that can be JSON."""
    if isinstance(value, str):
        _check_text(value)
        return ()
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise TraceInvalidError(f"a name that is {_kind(name)}, not text")
            _check_text(name)
        return list(value.values())
    if isinstance(value, list):
        return value
    number = isinstance(value, int) and value.bit_length() <= INTEGER_BITS_MAX
    if value is None or number or (isinstance(value, float) and math.isfinite(value)):
        return ()
    raise TraceInvalidError(f"{_kind(value)} that is not JSON")


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise TraceInvalidError("a lone surrogate, which is no Unicode text") from None


def object_at(value: Json, *loc: str | int) -> Mapping[str, Json]:
    """The value, an object."""
    if not isinstance(value, dict):
        raise refused(f"want an object, got {_kind(value)}", *loc)
    return value


def list_at(value: Json, *loc: str | int) -> list[Json]:
    """The value, a list."""
    if not isinstance(value, list):
        raise refused(f"want a list, got {_kind(value)}", *loc)
    return value


def text_at(value: Json, *loc: str | int) -> str:
    """The value, a text."""
    if not isinstance(value, str):
        raise refused(f"want a text, got {_kind(value)}", *loc)
    return value


def name_at(value: Json, *loc: str | int) -> str:
    """The value, the name of a tool: 1 to `NAME_MAX` characters, none of them a control character."""
    name = text_at(value, *loc)
    if not 0 < len(name) <= NAME_MAX or any(unicodedata.category(character) == "Cc" for character in name):
        raise refused(f"want a name of 1 to {NAME_MAX} characters, got {name[:_SHOWN]!r}", *loc)
    return name


def outcome_at(document: Mapping[str, Json], name: str) -> bool | None:
    """A field that is true, false, null or absent."""
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise refused(f"want true, false or null, got {_kind(value)}", name)
    return value


def label_at(document: Mapping[str, Json], *names: str) -> str | None:
    """The first of these fields that is there: a text of 1 to `LABEL_MAX` characters or a whole number."""
    for name in names:
        value = document.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None and value != "":
            if len(text_at(value, name)) > LABEL_MAX:
                raise refused(f"more than {LABEL_MAX} characters", name)
            return str(value)
    return None


def goal_at(document: Mapping[str, Json]) -> tuple[dict[str, Scalar], str | None]:
    """The goal's facts and its words: the field `goal` is an object of scalars, or a text."""
    goal = document.get("goal")
    if goal is None or isinstance(goal, str):
        return {}, goal
    facts: dict[str, Scalar] = {}
    for name, value in object_at(goal, "goal").items():
        if not isinstance(value, str | int | float | bool):
            raise refused(f"a fact is a text, a number or a boolean, got {_kind(value)}", "goal", name)
        facts[name_at(name, "goal")] = value
    if len(facts) > GOAL_FACTS_MAX:
        raise refused(f"more than {GOAL_FACTS_MAX} facts", "goal")
    return facts, None


def roles_at(document: Mapping[str, Json]) -> dict[str, str | int | float]:
    """The field `roles`: what the run is about, texts and numbers by name. The rest is for the service to judge."""
    found: dict[str, str | int | float] = {}
    for name, value in object_at(document.get("roles", {}), "roles").items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise refused(f"a role is a text or a number, got {_kind(value)}", "roles", name)
        found[name] = value
    return found


def refused(message: str, *loc: str | int) -> TraceInvalidError:
    """The refusal with its place, which the message names too."""
    where = ".".join(str(part)[:_SHOWN] for part in loc)
    return TraceInvalidError(f"{where}: {message}" if where else message, loc=loc)


def _kind(value: Json) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
