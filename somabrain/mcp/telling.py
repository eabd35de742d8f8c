"""Refusals in words that a model can act on: the stable code, what is wrong, what to do. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from somabrain.client import (
    BrainError,
    BusyError,
    ConflictError,
    DeniedError,
    GarbledError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)

PROBLEMS_TOLD = 5
"""Most wrong arguments that one answer names."""

INVALID = "invalid_request"
"""The service's own code of a request that can't be what it claims."""
UNAVAILABLE = "unavailable"
GARBLED = "garbled"

_AGAIN_CHANGED = "Correct the arguments and call again; unchanged they are refused again."
_TO_DO: Mapping[type[BrainError], str] = {
    InvalidError: _AGAIN_CHANGED,
    DeniedError: "Don't call again: who runs this server has to give it a key that may do this.",
    NotFoundError: "Don't call again unchanged: there is no such thing here.",
    ConflictError: "Don't call again unchanged: what is stored stands against it.",
    BusyError: "Wait some seconds and call again, or go on without.",
    RefusedError: "Go on without.",
    GarbledError: "Go on without: who runs this server has to look at the address that it asks.",
    UnavailableError: "Go on without, or call again later.",
}
_TO_DO_FIRST: Mapping[str, str] = {
    "episode_conflict": "Another episode has this id: report this one under an id of its own.",
    "action_limit": "Use fewer different actions: leave out of them what differs in every run.",
    "state_limit": "Use fewer different states: leave out facts that differ in every run.",
    "oak_disabled": "Go on without: this service only remembers and recalls.",
}
"""By code, where the class says too little."""


def refused(error: BrainError, repeat: str | None) -> str:
    """What the service's refusal or silence means.

    `repeat`: how to repeat a write that may have happened, None for what only asks.
    """
    if isinstance(error, RefusedError):
        to_do = _TO_DO_FIRST.get(error.code) or _to_do(error)
        return f"{error.code}: {_sentence(error.detail)} {to_do}"
    if isinstance(error, UnavailableError) and repeat is not None:
        return f"{UNAVAILABLE}: {_sentence(str(error))} It may have been stored all the same. {repeat}"
    code = UNAVAILABLE if isinstance(error, UnavailableError) else GARBLED
    return f"{code}: {_sentence(str(error))} {_to_do(error)}"


def _to_do(error: BrainError) -> str:
    return next(said for kind, said in _TO_DO.items() if isinstance(error, kind))


def invalid(error: ValidationError) -> str:
    """What is wrong with the arguments; their values are not told."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(_problem(item) for item in found[:PROBLEMS_TOLD])
    more = f"; and {len(found) - PROBLEMS_TOLD} more" if len(found) > PROBLEMS_TOLD else ""
    return f"{INVALID}: {_sentence(told + more)} {_AGAIN_CHANGED}"


def _problem(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if where == "namespace":
        return "namespace: it is fixed where this server was started"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such argument"
    return f"{where}: {item['msg']}"


def no_json(arguments: Mapping[str, Any]) -> str | None:
    """Why these arguments are no JSON that every reader takes, or None."""
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return f"{INVALID}: a text holds half of a character (a lone surrogate). {_AGAIN_CHANGED}"
    except (ValueError, RecursionError):
        return f"{INVALID}: a number is not finite or too long, or values are nested too deep. {_AGAIN_CHANGED}"
    return None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
