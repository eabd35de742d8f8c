"""Nouns as JSON documents and back: what is stored, journalled, exported and answered. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from somabrain.errors import InvalidRequestError
from somabrain.oak.learning import facts, unit_vector
from somabrain.oak.model import (
    FAIL,
    Ending,
    Episode,
    Execution,
    Facts,
    Json,
    ModelRow,
    Option,
    OptionSpec,
    State,
    Step,
    Termination,
    Vector,
)

_MS_PER_S = 1000
_US_PER_MS = 1000

_RFC_3339 = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d):(?P<second>\d\d)(?P<rest>(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))",
    re.ASCII | re.IGNORECASE,
)
"""`date-time` of RFC 3339 §5.6."""


def timestamp(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    seconds, ms = divmod(at_ms, _MS_PER_S)
    known = datetime.fromtimestamp(seconds, UTC).replace(microsecond=ms * _US_PER_MS)
    return known.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_ms(text: str) -> int:
    """The inverse of `timestamp`; any RFC 3339 time. Raises `ValueError`."""
    known = moment(text)
    whole = known.replace(microsecond=0)
    return int(whole.timestamp()) * _MS_PER_S + known.microsecond // _US_PER_MS


def moment(text: str) -> datetime:
    """The time that an RFC 3339 text names; a leap second is the second before it. Raises `ValueError`."""
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        message = "a time is RFC 3339 with a zone"
        raise ValueError(message)
    second = "59" if parts["second"] == "60" else parts["second"]
    return datetime.fromisoformat(f"{parts['minute']}:{second}{parts['rest']}".upper())


def vector_base64(vector: Vector) -> str:
    """The vector's little-endian float32 in base64 (RFC 4648 §4)."""
    return base64.b64encode(vector.data).decode()


def vector_of_base64(text: str, dimension: int) -> Vector:
    """The unit vector of base64 little-endian float32 of any length > 0. Raises as `unit_vector`."""
    return unit_vector(_float32(text), dimension)


def _float32(text: str) -> np.typing.NDArray[np.float32]:
    try:
        data = base64.b64decode(text, validate=True)
        return np.frombuffer(data, dtype="<f4")
    except (binascii.Error, ValueError):
        message = "vector_b64 is base64 of little-endian float32"
        raise InvalidRequestError(message, loc=("vector_b64",)) from None


def state_document(state: State) -> dict[str, Json]:
    """`{"features": …}` or `{"vector_b64": …}`, exact, with the `text` that the vector was made from."""
    if isinstance(state, Facts):
        return {"features": dict(state.values)}
    packed: dict[str, Json] = {"vector_b64": vector_base64(state)}
    return packed if state.text is None else {**packed, "text": state.text}


def state_of_document(document: Mapping[str, Json]) -> State:
    """The state of a document that `state_document` made: a vector is taken bit for bit, not normalised again."""
    if "features" in document:
        return facts(document["features"])
    return Vector(data=_float32(document["vector_b64"]).tobytes(), text=document.get("text"))


def spec_document(spec: OptionSpec) -> dict[str, Json]:
    """What was declared of an option, exact."""
    return {
        "name": spec.name,
        "description": spec.description,
        "target": state_document(spec.target),
        "policy": dict(spec.policy),
        "termination": termination_document(spec.termination),
        "kappa": spec.kappa,
        "gamma": spec.gamma,
        "alpha": spec.alpha,
        "metadata": dict(spec.metadata),
    }


def termination_document(termination: Termination) -> dict[str, Json]:
    """The members that are set."""
    given = {"similarity": termination.similarity, "max_steps": termination.max_steps}
    return {name: value for name, value in given.items() if value is not None}


def spec_of_document(document: Mapping[str, Json]) -> OptionSpec:
    """The inverse of `spec_document`."""
    return OptionSpec(
        name=document["name"],
        description=document["description"],
        target=state_of_document(document["target"]),
        policy=document["policy"],
        termination=Termination(**document["termination"]),
        kappa=document["kappa"],
        gamma=document["gamma"],
        alpha=document["alpha"],
        metadata=document["metadata"],
    )


def option_document(option: Option, tau_s: float) -> dict[str, Any]:
    """The option as the API answers it and as its events carry it; `tau_s` by DESIGN §5.6."""
    return {
        "option_id": option.option_id,
        **spec_document(option.spec),
        "status": option.status.value,
        "source": option.source.value,
        "policy_version": option.policy_version,
        "tau_s": tau_s,
        "utility": option.utility,
        "executions": option.lifetime.executions,
        "censored": option.lifetime.censored,
        "success_rate": option.success_rate,
        "mean_duration": option.mean_duration,
        "version": option.version,
        "created_at": timestamp(option.created_at_ms),
        "updated_at": timestamp(option.updated_at_ms),
    }


def option_part(option: Option) -> dict[str, Any]:
    """An option with its lifetime counts, exact, as exported."""
    return {
        "option_id": option.option_id,
        **spec_document(option.spec),
        "status": option.status.value,
        "source": option.source.value,
        "version": option.version,
        "policy_version": option.policy_version,
        "created_at": timestamp(option.created_at_ms),
        "updated_at": timestamp(option.updated_at_ms),
        "executions": option.lifetime.executions,
        "successes": option.lifetime.successes,
        "steps": option.lifetime.steps,
        "censored": option.lifetime.censored,
    }


def row_part(row: ModelRow) -> dict[str, Any]:
    """A model row, exact, as exported; outcomes are [prototype or "FAIL", P, P~]."""
    moments = zip(row.outcomes, row.probability, row.reach, strict=True)
    return {
        "option_id": row.option_id,
        "start": row.start,
        "z": row.z,
        "executions": row.executions,
        "duration": row.duration,
        "reward": row.reward,
        "feature": row.feature,
        "outcomes": [["FAIL" if y == FAIL else y, p, reach] for y, p, reach in moments],
    }


def execution_document(run: Execution) -> dict[str, Json]:
    """A run as journalled."""
    rewards: dict[str, Json] = (
        {"reward": run.reward, "duration": run.duration} if run.rewards is None else {"rewards": list(run.rewards)}
    )
    return {
        "start": state_document(run.start),
        "final": state_document(run.final),
        **rewards,
        "terminated_by": run.ending.value,
        "occurred_at": run.occurred_at,
    }


def execution_of_document(document: Mapping[str, Json]) -> Execution:
    """The inverse of `execution_document`."""
    rewards = document.get("rewards")
    return Execution(
        start=state_of_document(document["start"]),
        final=state_of_document(document["final"]),
        rewards=None if rewards is None else tuple(rewards),
        reward=document.get("reward", 0.0),
        duration=document["duration"] if rewards is None else len(rewards),
        ending=Ending(document["terminated_by"]),
        occurred_at=document["occurred_at"],
    )


def episode_document(episode: Episode) -> dict[str, Json]:
    """An episode as journalled, its id apart; `roles` where it has any."""
    steps = []
    for step in episode.steps:
        said: dict[str, Json] = {} if step.ok is None else {"ok": step.ok}
        marked: dict[str, Json] = {"salient": True} if step.salient else {}
        turned: dict[str, Json] = {} if step.turn is None else {"turn": step.turn}
        moved = {"state": state_document(step.state), "action": step.action, "reward": step.reward}
        steps.append({**moved, **said, **marked, **turned})
    return {
        "steps": steps,
        "final": state_document(episode.final),
        "terminated": episode.terminated,
        "success": episode.success,
        "group": episode.group,
        "agent": episode.agent,
        "metadata": dict(episode.metadata),
        **({"roles": dict(episode.roles)} if episode.roles else {}),
    }


def episode_digest(document: Mapping[str, Json]) -> bytes:
    """SHA-256 of an episode's document, whatever the order of its members."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).digest()


def episode_of_document(document: Mapping[str, Json]) -> Episode:
    """The inverse of `episode_document`."""
    return Episode(
        steps=tuple(
            Step(
                state=state_of_document(step["state"]),
                action=step["action"],
                reward=step["reward"],
                ok=step.get("ok"),
                salient=step.get("salient", False),
                turn=step.get("turn"),
            )
            for step in document["steps"]
        ),
        final=state_of_document(document["final"]),
        terminated=document["terminated"],
        success=document["success"],
        group=document["group"],
        agent=document["agent"],
        metadata=document["metadata"],
        roles=document.get("roles", {}),
    )


def json_text(document: Mapping[str, Json]) -> str:
    """JSON text with escaped non-ASCII, so that any database text column holds it."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False)
