"""What an agent has in hand, as what the service takes. Pure; only an id is judged here, all else by the service."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from somabrain.client.answers import Action, ChanceAnswer, Fact, PredictAnswer
from somabrain.observations import SAFE_INTEGER

State = Mapping[str, Fact] | str | bytes | Sequence[float]
"""A state: facts, a text, or a vector as numbers or as little-endian float32."""

NO_FACTS = {"facts": "none"}
"""The state of an agent that knows nothing: the service takes no empty one."""

GOAL_PREFIX = "goal."
NAME_MAX = 250
"""Longest name of a fact that is told whole: the service takes 256, and a goal's has its prefix."""
ACTION_BYTES_MAX = 4096
"""Largest action that is told whole: half of what the service takes, which stores each `$` doubled."""

CANDIDATES_TOLD = 3
ACTION_TOLD_MAX = 80
_PERCENT = 100
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an episode: the state in which the action was taken, and what it earned.

    `ok` is what the agent says of the action itself, `turn` its decision that the step belongs to, by default the
    step's place.
    """

    state: State
    action: Action
    reward: float = 0.0
    ok: bool | None = None
    salient: bool = False
    turn: int | None = None


def checked_id(given_id: str) -> str:
    """The id. Raises `ValueError` of one that can't be an id."""
    if not _ID.fullmatch(given_id):
        raise ValueError(f"{given_id!r} is no id: 1 to 128 of A-Za-z0-9._:-")
    return given_id


def given(body: Mapping[str, Any]) -> dict[str, Any]:
    """What has a value."""
    return {name: value for name, value in body.items() if value is not None}


def state_of(state: State) -> dict[str, Any]:
    """The state as a body has it."""
    if isinstance(state, Mapping):
        return {"features": dict(state)}
    if isinstance(state, str):
        return {"text": state}
    if isinstance(state, bytes):
        return {"vector_b64": base64.b64encode(state).decode()}
    return {"vector": list(state)}


def step_body(step: Step) -> dict[str, Any]:
    """The step as a body has it."""
    body = {"state": state_of(step.state), "action": step.action, "reward": step.reward, "salient": step.salient}
    return given({**body, "ok": step.ok, "turn": step.turn})


def facts_of(facts: Mapping[str, Any]) -> dict[str, Fact]:
    """Facts as the service takes them. None is left out; what is no text, boolean or number is told as text."""
    return {_text(str(name))[:NAME_MAX]: _fact(value) for name, value in facts.items() if value is not None}


def number_of(value: float) -> float:
    """A number that JSON has: no NaN and no infinity, for which 0 stands."""
    return float(value) if math.isfinite(value) else 0.0


def _number(value: Real) -> Fact:
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return number if math.isfinite(number) and abs(number) <= SAFE_INTEGER else str(value)


def _text(value: str) -> str:
    """Text that UTF-8 has: half a surrogate pair becomes a question mark."""
    return value.encode(errors="replace").decode()


def _fact(value: Any) -> Fact:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Integral):
        whole = int(value)
        return whole if abs(whole) <= SAFE_INTEGER else str(value)
    if isinstance(value, Real):
        return _number(value)
    told = json_of(value)
    return told if isinstance(told, str) else json.dumps(told, sort_keys=True, ensure_ascii=False)


def roles_of(roles: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Roles as the service takes them. None is left out; what is no text or number is told as text."""
    return {name: str(value) if isinstance(value, bool) else value for name, value in facts_of(roles).items()}


def facts_with_goal(facts: Mapping[str, Fact], goal: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts of a state of a run after `goal`: runs after different goals are in different states."""
    return {**facts, **{GOAL_PREFIX + name: value for name, value in goal.items()}} or dict(NO_FACTS)


def action_of(call: Any) -> dict[str, Any] | str:
    """The action of a tool call, `{"name": …, "arguments": {…}}`.

    `call` is a tool call as the clients of language models have it (an object or a dict with `function.name` and
    `function.arguments`, or with `name` and `arguments` or `input`), a pair of name and arguments, or an action as it
    is: a text or a dict. Arguments given as JSON are read. Where they are too long, their SHA-256 stands for them.
    """
    if isinstance(call, str):
        return _text(call) if len(call.encode(errors="replace")) <= ACTION_BYTES_MAX else _digest(call)
    name, arguments = _parts(call)
    action = json_of(call) if name is None else {"name": _text(str(name)), "arguments": json_of(_read(arguments))}
    if not isinstance(action, dict):
        action = {"name": str(action)}
    text = json.dumps(action, sort_keys=True)
    if len(text) <= ACTION_BYTES_MAX:
        return action
    return {"name": _text(str(name or ""))[:ACTION_TOLD_MAX], "arguments_sha256": _digest(text)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _parts(call: Any) -> tuple[Any, Any]:
    """Name and arguments; no name where this is none of the known shapes."""
    if isinstance(call, tuple | list):
        return (call[0], call[1]) if len(call) == 2 else (None, None)
    inner = _member(call, "function")
    found = call if inner is None else inner
    name, arguments = _member(found, "name"), _member(found, "arguments")
    if arguments is None:
        arguments = _member(found, "input")
    known = inner is not None or arguments is not None or not isinstance(call, Mapping)
    return (name, arguments) if known else (None, None)


def _member(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _read(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        return json.loads(arguments) if arguments else {}
    except (ValueError, RecursionError):
        return arguments


def json_of(value: Any) -> Any:
    """The value as JSON that every reader takes; what is no JSON is told as text."""
    if isinstance(value, Mapping):
        return {_text(str(name)): json_of(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(item) for item in value]
    if value is None:
        return None
    return _fact(value) if isinstance(value, str | bool | Real) else _text(str(value))


def paragraph_of(answer: PredictAnswer, turns_left: int | None) -> str | None:
    """What runs before this one teach here, in a paragraph for a prompt; None where there were none."""
    if answer.episodes == 0:
        return None
    runs = "1 earlier run was" if answer.episodes == 1 else f"{answer.episodes} earlier runs were"
    where = "as long as this one, none in this situation" if answer.basis == "prior" else "in this situation"
    odds = f"{_percent(answer.success_probability)} (between {_percent(answer.lower)} and {_percent(answer.upper)})"
    parts = [f"From experience: {runs} {where}; the odds of success from here are {odds}."]
    if answer.expected_steps is not None:
        parts.append(f"Runs that succeeded took about {answer.expected_steps:.1f} more turns.")
    if turns_left is not None:
        parts.append(f"You have {turns_left} left.")
    if answer.candidates:
        told = "; ".join(_chance(chance) for chance in answer.candidates[:CANDIDATES_TOLD])
        parts.append(f"Of what was tried here: {told}.")
    return " ".join(parts)


def _chance(chance: ChanceAnswer) -> str:
    times = "once" if chance.executions == 1 else f"{chance.executions} times"
    return f"{_told(chance.action)} succeeded in {_percent(chance.success_probability)} (tried {times})"


def _told(action: Action) -> str:
    if isinstance(action, str):
        text = action
    elif set(action) == {"name", "arguments"}:
        text = f"{action['name']}({json.dumps(action['arguments'], ensure_ascii=False)})"
    else:
        text = json.dumps(action, ensure_ascii=False)
    return text if len(text) <= ACTION_TOLD_MAX else text[: ACTION_TOLD_MAX - 1] + "…"


def _percent(share: float) -> str:
    return f"{round(share * _PERCENT)} %"
