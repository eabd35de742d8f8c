"""The policy of DESIGN §8 in Python, written from its words: what `option.rego` must decide on any JSON value."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from typing import Any

LADDER = ("brain_reader", "brain_writer", "brain_admin")

ACTIONS = {
    "brain_reader": {
        "option_get",
        "option_list",
        "option_model_get",
        "option_search",
        "plan",
        "act",
        "episode_get",
        "consolidation_get",
        "diagnosis_get",
        "state_list",
        "state_get",
        "namespace_list",
        "memory_recall",
        "memory_get",
    },
    "brain_writer": {
        "option_create",
        "option_replace",
        "option_retire",
        "execution_record",
        "execution_record_batch",
        "episode_record",
        "episode_record_batch",
        "trace_record_batch",
        "episode_outcome",
        "memory_remember",
        "memory_remember_batch",
        "memory_forget",
    },
    "brain_admin": {"consolidate", "model_export", "model_import", "event_list", "namespace_delete"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a document passes, and the wait where a limit refuses it."""

    allowed: bool
    retry_after_s: int | None


def verdict(document: Any) -> Verdict:
    """The verdict on any JSON value."""
    if not isinstance(document, dict):
        return Verdict(allowed=False, retry_after_s=None)
    wait_s = _wait_s(document.get("usage"))
    allowed = (
        wait_s is None
        and _request_is_well_formed(document)
        and _caller_may(document.get("user"), document.get("tenant"), document.get("action"))
        and _rates(document.get("usage")) is not None
    )
    return Verdict(allowed=allowed, retry_after_s=wait_s)


def permitted(role: str) -> set[str]:
    """Every action that `role` may do."""
    if role not in LADDER:
        return set()
    return set().union(*(ACTIONS[step] for step in LADDER[: LADDER.index(role) + 1]))


def _request_is_well_formed(document: dict[str, Any]) -> bool:
    path, resource = document.get("path"), document.get("resource")
    return (
        document.get("method") in ("GET", "PUT", "POST", "DELETE")
        and isinstance(path, list)
        and len(path) > 0
        and all(isinstance(part, str) for part in path)
        and _is_name(document.get("namespace"))
        and isinstance(resource, dict)
        and isinstance(resource.get("kind"), str)
        and len(resource["kind"]) > 0
        and "id" in resource
        and (resource["id"] is None or isinstance(resource["id"], str))
    )


def _caller_may(user: Any, tenant: Any, action: Any) -> bool:
    if not isinstance(user, dict) or not isinstance(action, str):
        return False
    subject, roles = user.get("subject"), user.get("roles")
    return (
        isinstance(subject, str)
        and len(subject) > 0
        and _is_name(tenant)
        and tenant == user.get("tenant")
        and isinstance(roles, list)
        and all(isinstance(role, str) for role in roles)
        and any(action in permitted(role) for role in roles)
    )


def _is_name(value: Any) -> bool:
    alphabet = set(string.ascii_letters + string.digits + "._-")
    return isinstance(value, str) and 1 <= len(value) <= 64 and set(value) <= alphabet


def _rates(usage: Any) -> tuple[float, float] | None:
    if not isinstance(usage, dict):
        return None
    seen, limit = usage.get("requests_last_minute"), usage.get("requests_per_minute_max")
    return (seen, limit) if _is_number(seen) and _is_number(limit) else None


def _wait_s(usage: Any) -> int | None:
    rates = _rates(usage)
    if rates is None or rates[0] <= rates[1]:
        return None
    reset = usage.get("seconds_to_reset")
    return max(1, math.ceil(reset)) if _is_number(reset) and reset <= 60 else 60


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
