"""Episodes of environments as Minari has them: converted whole, or refused with the place."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain.traces import Format, converted, detected

EPISODE: dict[str, Any] = {
    "id": "walk-1",
    "observations": [0, {"at": [1, 2]}, 4],
    "actions": [1, [0.5, True]],
    "rewards": [0, 1.5],
    "terminations": [False, True],
    "truncations": [False, False],
    "agent": "walker",
}


def test_an_episode_is_converted() -> None:
    assert detected(EPISODE) is Format.MINARI
    (found,) = converted(EPISODE)
    assert found.body == {
        "episode_id": "walk-1",
        "agent": "walker",
        "steps": [
            {"state": {"features": {"observation": 0}}, "action": "1", "reward": 0.0},
            {"state": {"features": {"at.0": 1, "at.1": 2}}, "action": "[0.5, true]", "reward": 1.5},
        ],
        "final": {"features": {"observation": 4}},
        "terminated": True,
    }


@pytest.mark.parametrize("success", [True, False])
def test_success_is_what_stands_beside_the_lists(*, success: bool) -> None:
    (found,) = converted({**EPISODE, "success": success})
    assert found.body is not None
    assert found.body["success"] is success


def test_a_truncated_episode_was_cut_off() -> None:
    (found,) = converted({**EPISODE, "terminations": [False, False], "truncations": [False, True]})
    assert found.body is not None
    assert found.body["terminated"] is False
    assert "success" not in found.body


def test_an_episode_without_an_id_has_always_the_same() -> None:
    bare = {name: value for name, value in EPISODE.items() if name != "id"}
    ids = {one.body["episode_id"] for _ in range(2) for one in converted(bare) if one.body}
    assert len(ids) == 1
    (other,) = converted({**bare, "rewards": [0, 2]})
    assert other.body is not None
    assert other.body["episode_id"] not in ids


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"observations": [0, 1]}, ("observations",)),
        ({"observations": None}, ("observations",)),
        ({"observations": [0, None, 4]}, ("observations", 1)),
        ({"observations": [0, list(range(65)), 4]}, ("observations", 1)),
        ({"observations": [0, [], 4]}, ("observations", 1)),
        ({"actions": [1, None]}, ("actions", 1)),
        ({"actions": {}}, ("actions",)),
        ({"rewards": [1]}, ("rewards",)),
        ({"rewards": [1, "2"]}, ("rewards", 1)),
        ({"rewards": [True, 1]}, ("rewards", 0)),
        ({"terminations": [True, True]}, ("terminations", 0)),
        ({"terminations": [False, 1]}, ("terminations", 1)),
        ({"terminations": []}, ("terminations",)),
        ({"success": "yes"}, ("success",)),
    ],
)
def test_what_is_no_episode_is_refused_with_its_place(changes: dict[str, Any], loc: tuple[str | int, ...]) -> None:
    (found,) = converted({**EPISODE, **changes})
    assert found.body is None
    assert found.refusal is not None
    assert found.refusal.loc == loc


def test_no_steps() -> None:
    (found,) = converted({"observations": [1], "actions": [], "rewards": [], "terminations": [], "truncations": []})
    assert found.refusal is not None
    assert found.refusal.code == "trace_without_steps"
