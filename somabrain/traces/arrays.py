"""Episodes of environments, with the fields of Minari's `EpisodeData`: observations, actions and rewards in lists.

There is one observation more than actions. The environment says nothing of success: `success` beside the lists does.
"""

from __future__ import annotations

from collections.abc import Mapping

from somabrain.observations import action_of_environment, facts_of_observation
from somabrain.traces.episode import check_steps, episode_id
from somabrain.traces.model import Body, Json
from somabrain.traces.shapes import label_at, list_at, outcome_at, refused, roles_at


def body_of(document: Mapping[str, Json]) -> Body:
    """The body. The world ended where the last step's `terminations` says so; a run that was truncated was cut off.

    Raises `TraceInvalidError` and its kinds, `TraceWithoutStepsError`, `TraceTooLargeError`.
    """
    actions = list_at(document.get("actions"), "actions")
    check_steps(len(actions))
    observations = _listed(document, "observations", len(actions) + 1)
    rewards = _listed(document, "rewards", len(actions))
    states = [_facts(observation, place) for place, observation in enumerate(observations)]
    steps = [
        {"state": states[place], "action": _action(action, place), "reward": _reward(rewards[place], place)}
        for place, action in enumerate(actions)
    ]
    roles = roles_at(document)
    labels = {"agent": label_at(document, "agent"), "group": label_at(document, "group")}
    success = outcome_at(document, "success")
    return {
        "episode_id": episode_id(label_at(document, "id"), document),
        "steps": steps,
        "final": states[-1],
        "terminated": _ended(document, len(actions)),
        **({"roles": roles} if roles else {}),
        **({} if success is None else {"success": success}),
        **{name: label for name, label in labels.items() if label is not None},
    }


def _listed(document: Mapping[str, Json], name: str, count: int) -> list[Json]:
    found = list_at(document.get(name), name)
    if len(found) != count:
        raise refused(f"want {count} of them, got {len(found)}", name)
    return found


def _ended(document: Mapping[str, Json], count: int) -> bool:
    """Whether the last step ended the world. No step before it may have."""
    flags = _listed(document, "terminations", count)
    for place, flag in enumerate(flags):
        if not isinstance(flag, bool):
            raise refused("want true or false", "terminations", place)
        if flag and place < count - 1:
            raise refused("the episode goes on after its end", "terminations", place)
    return bool(flags[-1])


def _reward(reward: Json, place: int) -> float:
    if isinstance(reward, bool) or not isinstance(reward, int | float):
        raise refused("want a number", "rewards", place)
    return float(reward)


def _facts(observation: Json, place: int) -> Body:
    try:
        return {"features": facts_of_observation(observation)}
    except ValueError as error:
        raise refused(str(error), "observations", place) from None


def _action(action: Json, place: int) -> str:
    try:
        return action_of_environment(action)
    except ValueError as error:
        raise refused(str(error), "actions", place) from None
