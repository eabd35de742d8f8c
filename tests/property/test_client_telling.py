"""Whatever an agent has in hand, what the recorder makes of it is a body that the service takes."""

from __future__ import annotations

import enum
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from somabrain.api.experience_schemas import ACTION_BYTES_MAX, EpisodeBatch
from somabrain.api.odds_schemas import PredictBody
from somabrain.client.answers import PredictAnswer
from somabrain.client.deadline import Deadline
from somabrain.client.recorder import Episode, Run
from somabrain.client.telling import action_of, facts_of, roles_of


class Colour(enum.Enum):
    RED = 1


ODD = st.sampled_from(
    [
        Colour.RED,
        Decimal("1.5"),
        Fraction(1, 3),
        Fraction(10**400),
        PurePosixPath("/x"),
        np.int64(7),
        np.float32(2),
        {1},
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=8) | ODD
UNPAIRED = st.text(st.characters(categories=["Cs", "L", "P"]), max_size=5)
VALUES = st.recursive(
    SCALARS | UNPAIRED, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
FACTS = st.dictionaries(st.text(max_size=5) | UNPAIRED | st.text(min_size=300, max_size=310), VALUES, max_size=5)
CALLS = (
    st.text(max_size=6000)
    | UNPAIRED
    | st.tuples(st.text(), FACTS | st.text())
    | FACTS
    | st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": st.text(), "arguments": FACTS | st.text()})})
    | VALUES
)


@given(facts=FACTS, goal=FACTS, call=CALLS, reward=st.floats(), agent=st.sampled_from(["a", Colour.RED]))
def test_the_service_takes_what_is_recorded(
    facts: dict[Any, Any], goal: dict[Any, Any], call: Any, reward: float, agent: Any
) -> None:
    asked: list[dict[str, Any]] = []
    posted: list[dict[str, Any]] = []

    def predict(body: dict[str, Any]) -> PredictAnswer:
        asked.append(body)
        return PredictAnswer(
            success_probability=0.5,
            lower=0.1,
            upper=0.9,
            expected_steps=None,
            episodes=1,
            basis="state",
            candidates=(),
            model_version=1,
            unbound=(),
        )

    run = Run(id="run-1", goal=facts_of(goal), agent=str(agent), budget=3)
    episode = Episode(run, predict=predict, deadline=Deadline(10.0), post=posted.append, tell_outcome=bool)
    with episode:
        assert episode.odds(facts) == 0.5
        with episode.step(call) as step:
            step.result(call, facts=facts, reward=max(-1e9, min(1e9, reward)))
        episode.outcome(success=True)
    PredictBody.model_validate_json(json.dumps(asked[0]))
    EpisodeBatch.model_validate_json(json.dumps({"episodes": posted}))


@given(call=CALLS)
def test_an_action_is_never_too_long(call: Any) -> None:
    assert len(json.dumps(action_of(call))) <= ACTION_BYTES_MAX


@given(roles=st.dictionaries(st.text("ab", min_size=1), SCALARS))
def test_roles_are_texts_and_numbers(roles: dict[str, Any]) -> None:
    found = roles_of(roles)
    assert set(found) == {name for name, value in roles.items() if value is not None}
    assert all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in found.values())


def test_the_known_shapes_of_a_tool_call_are_one_action() -> None:
    action = {"name": "open", "arguments": {"page": 1}}
    assert action_of(action) == action
    assert action_of(("open", {"page": 1})) == action
    assert action_of(["open", '{"page": 1}']) == action
    assert (
        action_of({"id": "7", "type": "function", "function": {"name": "open", "arguments": '{"page": 1}'}}) == action
    )
    assert action_of({"type": "tool_use", "id": "7", "name": "open", "input": {"page": 1}}) == action
    assert action_of({"take": "apple"}) == {"take": "apple"}
    assert action_of({"name": "open", "page": 1}) == {"name": "open", "page": 1}
    assert action_of(("look", "")) == {"name": "look", "arguments": {}}
    assert action_of(("say", "not JSON")) == {"name": "say", "arguments": "not JSON"}
