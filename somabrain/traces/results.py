"""Whether a tool worked, from what it answered; and texts that may be JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from somabrain.errors import TraceInvalidError
from somabrain.traces.model import Json
from somabrain.traces.shapes import check_document

PARSED_MAX = 65_536
"""Longest text that is read as JSON, in characters; a longer one is a text."""

FAILED_WORDS = frozenset({"error", "errored", "failed", "failure"})
WORKED_WORDS = frozenset({"ok", "success", "succeeded"})
"""What a field `status` says of a result."""

_ERROR = re.compile(
    r"\s*(?:error\s*:|error (?:calling|executing|invoking|running)\b|traceback \(most recent call last\)|"
    r"[\w.]*(?:error|exception)\s*:)",
    re.IGNORECASE,
)


def worked(message: Mapping[str, Json]) -> bool | None:
    """Whether the tool whose result this message is worked; `None` where it has no content and does not say.

    Believed in this order: a field `is_error`, a field `status`, an error at the beginning of the content, and an
    object as content that has an `error`, or says that it is one. Every other content is a success.
    """
    said = _said(message)
    if said is not None:
        return said
    content = message.get("content")
    return None if content is None else content_worked(content)


def content_worked(content: Json) -> bool:
    """Whether a result with this content worked: a text, parts of a text, or JSON."""
    if isinstance(content, list) and any(isinstance(part, dict) and "text" in part for part in content):
        content = "".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    if isinstance(content, str):
        if _ERROR.match(content):
            return False
        content = parsed(content) if content.lstrip().startswith("{") else None
    if not isinstance(content, dict):
        return True
    said = _said(content)
    return not content.get("error") if said is None else said


def _said(document: Mapping[str, Json]) -> bool | None:
    for name, failed in (("is_error", True), ("isError", True), ("success", False), ("ok", False)):
        if document.get(name) is failed:
            return False
    status = document.get("status")
    word = status.lower() if isinstance(status, str) else ""
    return False if word in FAILED_WORDS else True if word in WORKED_WORDS else None


def parsed(text: str) -> Json:
    """The JSON in a text; the text itself where it is none that a document may hold, or longer than `PARSED_MAX`."""
    if len(text) > PARSED_MAX:
        return text
    try:
        value = json.loads(text)
        check_document(value)
    except (ValueError, RecursionError, TraceInvalidError):
        return text
    return value
