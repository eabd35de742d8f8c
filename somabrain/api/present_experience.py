"""Episodes and consolidation as answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from somabrain.api.writes import rounded
from somabrain.oak.consolidating import Standing
from somabrain.oak.diagnosis import Diagnosis
from somabrain.oak.documents import timestamp
from somabrain.oak.episodes import Reported, salient_documents
from somabrain.oak.model import Json
from somabrain.oak.naming import Told
from somabrain.oak.outcomes import Outcome
from somabrain.oak.roles import roles
from somabrain.ports import JournalEntry


def episode(value: Reported) -> dict[str, Any]:
    """What an episode taught."""
    return {
        "episode_id": value.episode_id,
        "prototypes_created": value.prototypes_created,
        "prototypes_known": value.prototypes_known,
        "transitions": value.transitions,
        "actions_created": value.actions_created,
        "salient": salient_documents(value.salient),
        "model_version": value.model_version,
    }


def outcome(value: Outcome) -> dict[str, Any]:
    """An outcome that was told."""
    return {
        "episode_id": value.episode_id,
        "success": value.success,
        "reward": rounded(value.reward),
        "model_version": value.model_version,
    }


def reported_episode(
    entry: JournalEntry, told: Mapping[str, Json] | None, outcome_sequence: int | None
) -> dict[str, Any]:
    """An episode as it was reported, and the outcome that was told after it."""
    request = entry.event.request or {}
    numbers, values = request["prototypes"], request.get("roles", {})
    put_back = roles(values).told
    known = None
    if told is not None:
        known = {
            **{name: told[name] for name in ("episode_id", "success", "reward")},
            "model_version": outcome_sequence,
        }
    return {
        "episode_id": request["episode_id"],
        "steps": [
            {
                "state": _shown(step["state"], put_back),
                "prototype": number,
                "action": put_back(step["action"]),
                "reward": step["reward"],
                "ok": step.get("ok"),
                "salient": step.get("salient", False),
                "turn": step.get("turn", place),
            }
            for place, (step, number) in enumerate(zip(request["steps"], numbers[:-1], strict=True))
        ],
        "final": _shown(request["final"], put_back),
        "final_prototype": numbers[-1],
        **{name: request[name] for name in ("terminated", "success", "group", "agent", "metadata")},
        "roles": values,
        "outcome": known,
        "reported_at": timestamp(entry.event.timestamp_ms),
    }


def consolidation(value: Standing) -> dict[str, Any]:
    """How far it has come."""
    record = value.record
    result = record.result
    return {
        "state": value.state,
        "done": record.done,
        "total": record.total,
        "requested": record.requested,
        "through_sequence": record.through,
        "build": record.build,
        "episodes_since": value.episodes_since,
        "started_at": None if record.started_at_ms is None else timestamp(record.started_at_ms),
        "finished_at": None if record.finished_at_ms is None else timestamp(record.finished_at_ms),
        "problem": record.problem,
        "result": {name: value for name, value in result.items() if name != "parameters"} or None,
    }


def diagnosis(value: Diagnosis) -> dict[str, Any]:
    """What makes a world hard to learn."""
    found = asdict(value)
    found["new_states_per_step"] = [rounded(rate) for rate in value.new_states_per_step]
    found["findings"] = [{**one, "value": rounded(one["value"])} for one in found["findings"]]
    return found


def _shown(state: Mapping[str, Json], told: Told) -> dict[str, Json]:
    """A state as the caller gave it: the text, where there was one."""
    if "text" in state:
        return {"text": state["text"]}
    return {"features": told(state["features"])} if "features" in state else dict(state)
