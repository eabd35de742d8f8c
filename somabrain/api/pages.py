"""Keyset cursors, opaque to callers: what the page before ended with."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from somabrain.oak.model_document import OPTION_ID_PATTERN
from somabrain.tenancy import DEFAULT_NAMESPACE, NAME_PATTERN

PAGE_MAX = 200
NUMBER_MAX = 2**31 - 1
"""Largest number of a prototype: the database's INTEGER."""
PAGE_DEFAULT = 100

_OPTION = "option:"
_STATE = "state:"
OPTION_CURSOR_PATTERN = OPTION_ID_PATTERN.replace("^", f"^{_OPTION}", 1)
STATE_CURSOR_PATTERN = f"^{_STATE}[0-9]{{1,9}}$"
"""At most nine digits: more than any namespace has states, and below `NUMBER_MAX`."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Entries of a page.")]
OptionCursor = Annotated[
    str | None, Query(pattern=OPTION_CURSOR_PATTERN, description="`next_cursor` of the page before.")
]
StateCursor = Annotated[
    str | None, Query(pattern=STATE_CURSOR_PATTERN, description="`next_cursor` of the page before.")
]
NamespaceQuery = Annotated[str, Query(pattern=NAME_PATTERN, description="The namespace.")]

__all__ = [
    "DEFAULT_NAMESPACE",
    "NUMBER_MAX",
    "PAGE_DEFAULT",
    "Limit",
    "NamespaceQuery",
    "OptionCursor",
    "StateCursor",
    "option_after",
    "option_cursor",
    "state_after",
    "state_cursor",
]


def option_cursor(last: str) -> str:
    """The cursor after the option of this id."""
    return f"{_OPTION}{last}"


def option_after(cursor: str | None) -> str:
    """The option id that a page begins after; "" for the first."""
    return "" if cursor is None else cursor.removeprefix(_OPTION)


def state_cursor(last: int) -> str:
    """The cursor after the prototype of this number."""
    return f"{_STATE}{last}"


def state_after(cursor: str | None) -> int:
    """The number that a page begins after; -1 for the first."""
    return -1 if cursor is None else int(cursor.removeprefix(_STATE))
