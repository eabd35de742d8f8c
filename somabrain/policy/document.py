"""The document `{allow, deny, limit}` that the policy answers with, read the same way for every engine."""

from __future__ import annotations

from typing import Any

from somabrain.ports import Decision

ENTRY_POINT = "data.somabrain.option.decision"
"""The document that is asked for (DESIGN §8)."""

UNCLEAR = "the policy gave no clear decision"
"""The reason where the engine answered with anything but a decision."""


def read_decision(document: Any) -> Decision:
    """The decision in a policy's parsed answer; `document` is any JSON value.

    Allowed only by an object whose `allow` is true, with an empty list `deny` and `limit` null. Whatever
    contradicts itself or has another shape is a denial.
    """
    if not isinstance(document, dict):
        return Decision(allowed=False, reasons=(UNCLEAR,))
    reasons = _sentences(document.get("deny"))
    if reasons is None or "limit" not in document or not isinstance(document.get("allow"), bool):
        return Decision(allowed=False, reasons=(UNCLEAR,))
    limit = document["limit"]
    wait_s = _wait_s(limit)
    if limit is not None and wait_s is None:
        return Decision(allowed=False, reasons=(*reasons, UNCLEAR))
    if document["allow"] is True and not reasons and limit is None:
        return Decision(allowed=True)
    return Decision(allowed=False, reasons=reasons or (UNCLEAR,), retry_after_s=wait_s)


def _sentences(deny: Any) -> tuple[str, ...] | None:
    """The reasons, or `None` where they are not a list of strings."""
    if not isinstance(deny, list) or not all(isinstance(reason, str) for reason in deny):
        return None
    return tuple(deny)


def _wait_s(limit: Any) -> int | None:
    """Whole seconds of `{"retry_after_s": seconds}`; `None` for any other value."""
    if not isinstance(limit, dict):
        return None
    seconds = limit.get("retry_after_s")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        return None
    return seconds
