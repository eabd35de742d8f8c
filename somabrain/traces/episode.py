"""A trace as the body of `POST /oak/episode`, under an id that is the same whenever the trace is converted."""

from __future__ import annotations

import json
import re
from base64 import b32encode
from hashlib import blake2b

from somabrain.errors import TraceTooLargeError, TraceWithoutStepsError
from somabrain.traces.facts import OUTCOME, states
from somabrain.traces.model import STEPS_MAX, Body, Call, Json, Trace

TOLD_MAX = 1000
"""What is kept of a goal's words, in characters."""
ACTION_BYTES_MAX = 8192
"""Largest action, as JSON: what `POST /oak/episode` takes."""

DIGEST_PREFIX = "trace:"
"""What the id of a trace begins with that has none of its own."""

_DIGEST_BYTES = 16
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def body_of(trace: Trace, *, arguments: bool) -> Body:
    """The body. An action is the tool's name; with `arguments` an object of name and arguments.

    A run that was cut off, or whose outcome is not known, neither failed nor ended. Raises `TraceWithoutStepsError`,
    `TraceTooLargeError`.
    """
    check_steps(len(trace.calls))
    found = states(trace.calls, trace.goal)
    steps = []
    for place, call in enumerate(trace.calls):
        step = {"state": {"features": found[place]}, "action": _action(call, place, arguments=arguments)}
        steps.append(with_turn(step if call.ok is None else {**step, "ok": call.ok}, call.turn))
    final, body = found[-1], ending(success=trace.success, cut_off=trace.cut_off)
    if body["terminated"]:
        final = {**final, OUTCOME: "success" if body["success"] else "failure"}
    body |= {"episode_id": trace.episode_id, "steps": steps, "final": {"features": final}}
    if trace.roles:
        body["roles"] = dict(trace.roles)
    labels = {"agent": trace.agent, "group": trace.group}
    body |= {name: label for name, label in labels.items() if label is not None}
    return body if trace.told is None else {**body, "metadata": {"goal": trace.told[:TOLD_MAX]}}


def ending(*, success: bool | None, cut_off: bool) -> Body:
    """The fields that say how a run ended.

    A run that was cut off has not come to an end of its own, so that its last step did not fail by it; that it did not
    succeed is said all the same, where the trace says so: the odds of later runs are counted from it.
    """
    ended = bool(success) or (success is False and not cut_off)
    return {"terminated": ended} if success is None else {"terminated": ended, "success": success}


def with_turn(step: Body, turn: Json) -> Body:
    """The step with the number of the message that it belongs to."""
    return {**step, "turn": turn}


def check_steps(count: int) -> None:
    """Raises unless there are 1 to `STEPS_MAX` steps."""
    if count == 0:
        raise TraceWithoutStepsError
    if count > STEPS_MAX:
        raise TraceTooLargeError(f"{count} steps, more than {STEPS_MAX}")


def episode_id(own: str | None, document: Json) -> str:
    """The trace's own id where it can be one, else made from that, else from the whole document.

    `document` has passed `check_document`. Its canonical form is JSON with sorted names and no spaces; the id is base32
    (RFC 4648 §6) of its BLAKE2b-128 (RFC 7693).
    """
    if own and _ID.fullmatch(own):
        return own
    canonical = json.dumps(own or document, sort_keys=True, separators=(",", ":"))
    digest = blake2b(canonical.encode(), digest_size=_DIGEST_BYTES).digest()
    return DIGEST_PREFIX + b32encode(digest).decode().rstrip("=")


def _action(call: Call, place: int, *, arguments: bool) -> Json:
    if not arguments:
        return call.name
    action = {"tool": call.name, "arguments": call.arguments}
    if len(json.dumps(action, ensure_ascii=False).encode()) > ACTION_BYTES_MAX:
        raise TraceTooLargeError(f"call {place} ({call.name}) has more than {ACTION_BYTES_MAX} bytes of arguments")
    return action
