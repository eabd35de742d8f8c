"""Keyset cursors: opaque to callers, the last id of the page before."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from fastapi import Query

from somabrain.errors import InvalidRequestError
from somabrain.oak.model_document import OPTION_ID_PATTERN
from somabrain.tenancy import DEFAULT_NAMESPACE, NAME_PATTERN

PAGE_MAX = 200
NUMBER_MAX = 2**31 - 1
"""Largest number of a prototype: the database's INTEGER."""
PAGE_DEFAULT = 100

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Entries of a page.")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before.")]
NamespaceQuery = Annotated[str, Query(pattern=NAME_PATTERN, description="The namespace.")]

_OPTION_ID = re.compile(OPTION_ID_PATTERN)

__all__ = [
    "DEFAULT_NAMESPACE",
    "PAGE_DEFAULT",
    "Cursor",
    "Limit",
    "NamespaceQuery",
    "cursor_of",
    "number_after",
    "text_after",
]


def cursor_of(last: str | int) -> str:
    """The cursor after an entry."""
    return base64.urlsafe_b64encode(str(last).encode()).decode()


def text_after(cursor: str | None) -> str:
    """The option id that a page begins after; "" for the first. Raises `InvalidRequestError`."""
    if cursor is None:
        return ""
    text = _decoded(cursor)
    if not _OPTION_ID.fullmatch(text):
        raise _foreign()
    return text


def number_after(cursor: str | None) -> int:
    """The number that a page begins after; -1 for the first. Raises `InvalidRequestError`."""
    if cursor is None:
        return -1
    text = _decoded(cursor)
    if not text.isdecimal() or int(text) > NUMBER_MAX:
        raise _foreign()
    return int(text)


def _decoded(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise _foreign() from None


def _foreign() -> InvalidRequestError:
    return InvalidRequestError("cursor: it is not one that this service gave", loc=("cursor",))
