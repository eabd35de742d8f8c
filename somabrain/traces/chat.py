"""OpenAI chat messages with tool calls: a list of them, or an object that has it as `messages`.

Beside `messages` an object may have `id`, `goal` (facts or words), `roles`, `group`, `agent` (or `model`), `success`,
and `stop_reason`; other fields are left alone. Calls of the older `function_call` are calls too.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from somabrain.errors import TraceOrderError
from somabrain.traces.episode import episode_id
from somabrain.traces.model import CUT_OFF, Call, Json, Trace
from somabrain.traces.results import parsed, worked
from somabrain.traces.shapes import (
    goal_at,
    label_at,
    list_at,
    name_at,
    object_at,
    outcome_at,
    refused,
    roles_at,
    text_at,
)

SPEAKERS = frozenset({"system", "developer", "user"})
"""Roles whose messages neither call nor answer."""
SHOWN_MAX = 40
"""What a refusal shows of a text, in characters."""


def trace_of(document: Json) -> Trace:
    """The trace. Raises `TraceInvalidError`, `TraceOrderError`."""
    if isinstance(document, list):
        return Trace(episode_id=episode_id(None, document), calls=calls_of(document))
    goal, told = goal_at(document)
    return Trace(
        episode_id=episode_id(label_at(document, "id", "episode_id"), document),
        calls=calls_of(list_at(document.get("messages"), "messages"), "messages"),
        goal=goal,
        roles=roles_at(document),
        told=told,
        success=outcome_at(document, "success"),
        cut_off=document.get("stop_reason") in CUT_OFF,
        agent=label_at(document, "agent", "model"),
        group=label_at(document, "group"),
    )


def calls_of(messages: Sequence[Json], *loc: str | int) -> tuple[Call, ...]:
    """The calls in the order of the messages; what no result tells of is not known to have worked.

    Ids of calls may repeat: a result answers the latest message that has an open call of its id, the first such call
    in it. Raises `TraceOrderError` for a result without an open call, unless it repeats the last one word for word.
    """
    opened: list[_Opened] = []
    index = _Index()
    turn = -1
    last: Json = None
    for place, item in enumerate(messages):
        message = object_at(item, *loc, place)
        role = text_at(message.get("role"), *loc, place, "role")
        if role == "assistant":
            turn += 1
            asked = [_Opened(id=own, call=call) for own, call in _requested(message, turn, *loc, place)]
            opened += asked
            index.add(asked)
        elif role in {"tool", "function"}:
            one = index.first(message, *loc, place)
            if one is not None:
                one.call, one.answered = replace(one.call, ok=worked(message)), True
            elif message != last:
                raise _unasked(message, *loc, place)
        elif role not in SPEAKERS:
            raise refused(f"no role of a chat message: {role[:SHOWN_MAX]!r}", *loc, place, "role")
        last = message
    return tuple(one.call for one in opened)


@dataclass(slots=True, kw_only=True)
class _Opened:
    """A call, and whether its result was met."""

    id: str | None
    call: Call
    answered: bool = False


class _Index:
    """The open calls by what a result may name: an id, a tool, or nothing."""

    def __init__(self) -> None:
        self._messages: defaultdict[tuple[str, str], list[deque[_Opened]]] = defaultdict(list)

    def add(self, asked: Sequence[_Opened]) -> None:
        """Adds the calls of one message."""
        fresh: dict[tuple[str, str], deque[_Opened]] = {}
        for one in asked:
            keys = [("tool", one.call.name), ("any", "")] + ([] if one.id is None else [("id", one.id)])
            for key in keys:
                fresh.setdefault(key, deque()).append(one)
        for key, calls in fresh.items():
            self._messages[key].append(calls)

    def first(self, message: Mapping[str, Json], *loc: str | int) -> _Opened | None:
        """The call that a result answers: the first open one of the latest message that has any."""
        answers, name = message.get("tool_call_id"), message.get("name")
        key = ("any", "") if name is None else ("tool", text_at(name, *loc, "name"))
        if answers is not None:
            key = ("id", text_at(answers, *loc, "tool_call_id"))
        messages = self._messages[key]
        while messages:
            calls = messages[-1]
            while calls and calls[0].answered:
                calls.popleft()
            if calls:
                return calls[0]
            messages.pop()
        return None


def _requested(message: Mapping[str, Json], turn: int, *loc: str | int) -> list[tuple[str | None, Call]]:
    """The calls of an assistant's message, with their ids."""
    found = []
    listed = message.get("tool_calls")
    for place, item in enumerate([] if listed is None else list_at(listed, *loc, "tool_calls")):
        where = (*loc, "tool_calls", place)
        entry = object_at(item, *where)
        own = entry.get("id")
        function = object_at(entry.get("function", entry.get("custom")), *where, "function")
        call = _call(function, turn, *where, "function")
        found.append((None if own is None else text_at(own, *where, "id"), call))
    older = message.get("function_call")
    if older is not None:
        found.append((None, _call(object_at(older, *loc, "function_call"), turn, *loc, "function_call")))
    return found


def _call(function: Mapping[str, Json], turn: int, *loc: str | int) -> Call:
    arguments = function.get("arguments", function.get("input"))
    if isinstance(arguments, str):
        arguments = parsed(arguments)
    name = name_at(function.get("name"), *loc, "name")
    return Call(name=name, arguments={} if arguments is None else arguments, ok=None, turn=turn)


def _unasked(message: Mapping[str, Json], *loc: str | int) -> TraceOrderError:
    where, named = ".".join(str(part) for part in loc), message.get("tool_call_id") or message.get("name")
    of = f" of {str(named)[:SHOWN_MAX]!r}" if named else ""
    return TraceOrderError(f"{where}: the result{of} has no open call before it", loc=loc)
