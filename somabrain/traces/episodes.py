"""Our own form: a line is what `POST /oak/episode` takes. And the lines of converted ALFWorld logs.

An ALFWorld line has bare facts as states, `final_state` in place of `final`, and `terminate`, the reason to stop. It is
about its `target` and its destination, `dest`.
"""

from __future__ import annotations

from collections.abc import Mapping

from somabrain.traces.episode import check_steps, ending, episode_id, with_turn
from somabrain.traces.model import CUT_OFF, Body, Json
from somabrain.traces.shapes import label_at, list_at, name_at, object_at, outcome_at, refused

FIELDS = frozenset(
    {"episode_id", "steps", "final", "terminated", "success", "group", "agent", "metadata", "namespace", "roles"}
)
STEP_FIELDS = frozenset({"state", "action", "reward", "ok", "salient", "turn"})
COUNTER = "turn"
"""The fact of ALFWorld states that is none: it counts, and makes states different that are the same."""


def body_of(document: Mapping[str, Json]) -> Body:
    """The body as it stands, with an id; the namespace is the caller's. Raises `TraceInvalidError` and its kinds.

    What is inside states, actions and numbers is for the service to judge.
    """
    _known(document, FIELDS)
    steps = []
    for place, item in enumerate(list_at(document.get("steps"), "steps")):
        step = dict(object_at(item, "steps", place))
        _known(step, STEP_FIELDS, "steps", place)
        object_at(step.get("state"), "steps", place, "state")
        steps.append(step)
    check_steps(len(steps))
    object_at(document.get("final"), "final")
    own = {name: value for name, value in document.items() if name != "namespace"}
    return {**own, "episode_id": episode_id(label_at(document, "episode_id"), document), "steps": steps}


def _known(document: Mapping[str, Json], fields: frozenset[str], *loc: str | int) -> None:
    unknown = sorted(set(document) - fields)
    if unknown:
        raise refused("no field of an episode", *loc, unknown[0])


def alfworld_body_of(document: Mapping[str, Json], *, arguments: bool) -> Body:
    """The body. An inferred step has no result that was seen, so it is not known to have worked.

    An action is its name; with `arguments` name and arguments. Raises `TraceInvalidError` and its kinds.
    """
    steps = []
    for place, item in enumerate(list_at(document.get("steps"), "steps")):
        step = object_at(item, "steps", place)
        action = object_at(step.get("action"), "steps", place, "action")
        name = name_at(action.get("name"), "steps", place, "action", "name")
        ok, inferred = step.get("ok"), step.get("inferred")
        told: Body = {
            "state": _state(step.get("state"), "steps", place, "state"),
            "action": {"tool": name, "arguments": action.get("args")} if arguments else name,
        }
        if isinstance(ok, bool) and not inferred:
            told["ok"] = ok
        steps.append(with_turn(told, step.get("turn", place)))
    check_steps(len(steps))
    stopped = document.get("terminate")
    return {
        "episode_id": episode_id(label_at(document, "episode_id"), document),
        "steps": steps,
        "final": _state(document.get("final_state"), "final_state"),
        **_roles(document),
        **ending(success=outcome_at(document, "success"), cut_off=stopped in CUT_OFF),
        **{
            name: label
            for name, label in (("agent", label_at(document, "agent")), ("group", label_at(document, "group")))
            if label is not None
        },
    }


def _roles(document: Mapping[str, Json]) -> Body:
    target, destination = label_at(document, "target"), label_at(document, "dest")
    found = {"target": target, "destination": None if destination == target else destination}
    named = {name: value for name, value in found.items() if value is not None}
    return {"roles": named} if named else {}


def _state(value: Json, *loc: str | int) -> Body:
    return {"features": {name: fact for name, fact in object_at(value, *loc).items() if name != COUNTER}}
