"""Observations of environments as facts, actions as text: nothing lost, nothing that JSON does not have."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from somabrain.observations import FACTS_MAX, action_of_environment, facts_of_observation


@pytest.mark.parametrize(
    ("observation", "facts"),
    [
        (np.int64(7), {"observation": 7}),
        (np.array([1, 2], dtype=np.int8), {"observation.0": 1, "observation.1": 2}),
        (np.array([[True], [False]]), {"observation.0.0": True, "observation.1.0": False}),
        (np.float32(0.5), {"observation": 0.5}),
        ((3, np.array([4])), {"observation.0": 3, "observation.1.0": 4}),
        ({"at": np.array([1, 2]), "door": {"open": np.bool_(1)}}, {"at.0": 1, "at.1": 2, "door.open": True}),
        (OrderedDict(mission="go"), {"mission": "go"}),
        ("text", {"observation": "text"}),
    ],
)
def test_a_facts_name_is_its_place(observation: Any, facts: dict[str, Any]) -> None:
    found = facts_of_observation(observation)
    assert found == facts
    assert [type(value) for value in found.values()] == [type(value) for value in facts.values()]


@given(st.integers(0, 10_000))
def test_an_observation_has_the_same_facts_as_its_json(seed: int) -> None:
    space = spaces.Dict(
        {
            "at": spaces.MultiDiscrete([5, 7]),
            "doors": spaces.MultiBinary([2, 2]),
            "inside": spaces.Tuple((spaces.Discrete(9), spaces.Text(4))),
            "speed": spaces.Box(-1, 1, (2,)),
        }
    )
    space.seed(seed)
    observation = space.sample()
    told = json.loads(json.dumps(observation, default=lambda array: array.tolist()))
    assert facts_of_observation(observation) == facts_of_observation(told)


@pytest.mark.parametrize(
    "observation",
    [
        math.nan,
        math.inf,
        2**53,
        -(2**53),
        1e300,
        None,
        {"a": None},
        [object()],
        [],
        {},
        {"a": [1], "a.0": 2},
        np.zeros(FACTS_MAX + 1),
    ],
)
def test_what_can_be_no_facts_is_refused(observation: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        facts_of_observation(observation)


def test_as_many_values_as_a_state_has_facts() -> None:
    assert len(facts_of_observation(np.zeros(FACTS_MAX))) == FACTS_MAX


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (np.int64(3), "3"),
        (3, "3"),
        ("left", "left"),
        (np.array([0.5, -1.0]), "[0.5, -1.0]"),
        ({"go": np.int8(1)}, '{"go": 1}'),
        ((1, np.array([2])), "[1, [2]]"),
    ],
)
def test_an_action_can_be_read_back_from_its_text(action: Any, text: str) -> None:
    assert action_of_environment(action) == text


@pytest.mark.parametrize("action", [math.nan, np.array([math.inf]), None, object(), [None]])
def test_what_can_be_no_action_is_refused(action: Any) -> None:
    with pytest.raises(ValueError, match="neither"):
        action_of_environment(action)
