"""The client on a real server: every method, every refusal, and the recorder."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from somabrain.client import (
    Brain,
    ConflictError,
    GarbledError,
    InvalidError,
    NotFoundError,
    RefusedError,
    Step,
    UnavailableError,
)
from tests.misbehaving import answers, misbehaving, sleeps
from tests.servers import RunningServer, free_port, somabrain


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with somabrain({}, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def brain(server: RunningServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Brain]:
    """A namespace of each test's own; odds may take their time on a busy machine."""
    namespace = request.node.name[-64:].replace("[", "-").replace("]", "")
    with Brain(server.url, namespace=namespace, queue=tmp_path / "queue", deadline_s=10.0) as opened:
        yield opened


def recorded(brain: Brain, episode_id: str) -> list[tuple[dict[str, Any], Any, int, bool | None]]:
    """State, action, turn and ok of each step, as the service has it."""
    assert brain.flush()
    found = brain.reported_episode(episode_id)
    return [(step.state["features"], step.action, step.turn, step.ok) for step in found.steps]


def test_remember_and_recall(brain: Brain) -> None:
    stored = brain.remember("the key is under the mat", metadata={"room": "hall"}, importance=0.9, ttl_s=3600)
    assert (stored.metadata, stored.importance) == ({"room": "hall"}, 0.9)
    found = brain.recall("where is the key", top_k=1, filter={"room": "hall"}, min_score=0.0)
    assert [hit.memory_id for hit in found.hits] == [stored.memory_id]
    with pytest.raises(ValueError, match="frozen"):
        stored.content = "changed"  # type: ignore[misc]
    assert brain.memory(stored.memory_id) == stored
    brain.forget(stored.memory_id, idempotency_key="once")
    brain.forget(stored.memory_id, idempotency_key="once")
    with pytest.raises(NotFoundError, match="memory_not_found"):
        brain.memory(stored.memory_id)
    with pytest.raises(ValueError, match="is no id"):
        brain.forget("../oak/options")


def test_options_plan_and_act(brain: Brain, server: RunningServer) -> None:
    made = brain.create_option("go to the kitchen", {"at": "kitchen"}, option_id="k", termination={"max_steps": 5})
    assert made.termination.max_steps == 5
    run = {"start": {"features": {"at": "hall"}}, "final": {"features": {"at": "kitchen"}}, "rewards": [-1]}
    path = f"{server.url}/oak/option/k/execution"
    assert httpx.post(path, json={**run, "namespace": brain.namespace}).status_code == 200
    assert [option.option_id for option in brain.options(status="active", source="declared", limit=1).options] == ["k"]
    plan = brain.plan({"at": "hall"}, {"at": "kitchen"}, alternatives=1, mode="safe")
    assert plan.options == ("k",)
    assert plan.steps[0].from_.facts == {"at": "hall"}
    done = brain.act({"at": "kitchen"}, {"at": "kitchen"}, top_k=2)
    assert (done.done, done.reason) == (True, "already_at_target")


def test_every_kind_of_state(brain: Brain) -> None:
    vector = [1.0] + [0.0] * 255
    for state in ("a text", vector, struct.pack("<256f", *vector), {"at": "hall"}):
        assert brain.plan(state, state).reason == "already_at_target"


def test_episodes_odds_and_calibration(brain: Brain) -> None:
    steps = [Step(state={"at": "hall"}, action={"go": "apple 2"}, reward=-1.0, ok=True, turn=0)]
    for number in range(6):
        answer = brain.record_episode(
            steps,
            {"at": "kitchen"},
            episode_id=f"run-{number}",
            success=number != 0,
            agent="ann",
            group="g",
            roles={"object": "apple 2"},
            metadata={"seed": number},
        )
        assert answer.episode_id == f"run-{number}"
    odds = brain.predict({"at": "hall"}, agent="ann", steps_taken=0, episode_id="run-9", roles={"object": "mug 1"})
    assert odds.success_probability > 0.5
    assert (odds.basis, odds.episodes, odds.candidates[0].action) == ("state+steps+agent", 6, {"go": "mug 1"})
    brain.record_episode(steps, {"at": "kitchen"}, episode_id="run-9", agent="ann")
    brain.outcome("run-9", success=True)
    assert brain.flush()
    assert brain.calibration(agent="ann").predictions == 1
    assert [part.agent for part in brain.calibration().agents] == ["ann"]
    assert brain.reported_episode("run-9").outcome is not None


def test_a_refusal_has_the_services_code(brain: Brain) -> None:
    with pytest.raises(NotFoundError) as missing:
        brain.reported_episode("nobody")
    assert (missing.value.status, missing.value.code) == (404, "episode_not_found")
    with pytest.raises(InvalidError) as invalid:
        brain.remember("")
    assert invalid.value.code == "invalid_request"
    assert invalid.value.errors[0]["loc"] == ["content"]
    brain.create_option("go", {"at": "x"}, option_id="go")
    with pytest.raises(ConflictError) as conflict:
        brain.create_option("go", {"at": "y"}, option_id="go")
    assert conflict.value.code == "option_exists"


def test_a_repeat_with_its_key_gets_the_first_answer(brain: Brain) -> None:
    first = brain.remember("once", idempotency_key="k-1")
    assert brain.remember("once", idempotency_key="k-1") == first
    assert brain.remember("once").memory_id != first.memory_id
    with pytest.raises(RefusedError, match="idempotency_conflict"):
        brain.remember("twice", idempotency_key="k-1")


def test_what_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        Brain(f"http://127.0.0.1:{free_port()}", queue=tmp_path).options()
    with misbehaving(answers(b"{}")) as url, pytest.raises(GarbledError, match="OptionList"):
        Brain(url, queue=tmp_path).options()
    begun = time.monotonic()
    with misbehaving(sleeps) as url, pytest.raises(UnavailableError):
        Brain(url, queue=tmp_path, timeout_s=0.2).options()
    assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize("url", ["localhost:9696", "ftp://here", "http://", ""])
def test_what_is_no_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="address"):
        Brain(url, queue=tmp_path)


def test_the_recorder_tells_states_actions_and_turns(brain: Brain) -> None:
    @dataclass
    class Function:
        name: str
        arguments: str

    call = SimpleNamespace(id="1", function=Function("search", '{"city": "Rome"}'))
    with brain.episode(goal={"booked": True}, roles={"city": "Rome", "user": 7}, agent="a", budget=20) as ep:
        assert ep.odds({"page": "start", "seen": None}) == 0.5
        assert ep.advice({"page": "start", "seen": None}) == []
        with ep.step(call) as step:
            assert step.result("found", facts={"page": "list", "hits": [1, 2]}) == "found"
        with ep.step({"function": {"name": "open", "arguments": {"place": 1}}}) as step:
            step.result(None, facts={"page": "offer"}, ok=True)
        ep.odds({"page": "offer"})
        with ep.step(("book", {})) as step:
            step.result("booked", facts={"page": "done", "booked": True})
        assert ep.odds({"page": "done", "booked": True}) == 1.0
        ep.outcome(success=True)
    goal = {"goal.booked": True}
    assert recorded(brain, ep.id) == [
        ({"page": "start", **goal}, {"name": "search", "arguments": {"city": "Rome"}}, 0, None),
        ({"page": "list", "hits": "[1, 2]", **goal}, {"name": "open", "arguments": {"place": 1}}, 0, True),
        ({"page": "offer", **goal}, {"name": "book", "arguments": {}}, 1, None),
    ]
    found = brain.reported_episode(ep.id)
    assert found.final == {"features": {"page": "done", "booked": True, **goal}}
    assert (found.success, found.roles, found.agent) == (True, {"city": "Rome", "user": 7}, "a")


def test_an_exception_in_a_step_is_recorded_and_raised_as_it_is(brain: Brain) -> None:
    broken = ValueError("the tool broke")
    ep = brain.episode()
    with pytest.raises(ValueError, match="the tool broke") as raised, ep:
        ep.observe({"at": "start"})
        with ep.step("go"):
            raise broken
    assert raised.value is broken
    assert raised.value.__cause__ is None
    assert recorded(brain, ep.id) == [({"at": "start"}, "go", 0, False)]
    found = brain.reported_episode(ep.id)
    assert (found.success, found.metadata) == (None, {"raised": "ValueError"})


def test_a_step_that_failed_need_not_end_the_run(brain: Brain) -> None:
    with brain.episode(metadata={"try": 1}) as ep:
        with pytest.raises(KeyError), ep.step("one"):
            raise KeyError
        with ep.step("two") as step:
            step.result(None, facts={"at": "end"})
        ep.outcome(success=False)
    assert [ok for _, _, _, ok in recorded(brain, ep.id)] == [False, None]
    assert brain.reported_episode(ep.id).metadata == {"try": 1}


def test_an_outcome_days_later(brain: Brain) -> None:
    with brain.episode() as ep, ep.step("go"):
        assert ep.turns == 1
    ep.outcome(success=True)
    brain.outcome(ep.id, success=False)
    assert brain.flush()
    outcome = brain.reported_episode(ep.id).outcome
    assert outcome is not None
    assert outcome.success is True


def test_a_turn_begins_with_a_question_after_a_step_or_asked_again(brain: Brain) -> None:
    with brain.episode() as ep:
        for asked, turns in (("odds", 1), ("advice", 1), ("odds", 2), ("odds", 3), ("observe", 3)):
            getattr(ep, asked)({"at": "start"})
            assert ep.turns == turns
        with ep.step("one"), ep.step("two"):
            assert ep.turns == 3
        ep.advice({"at": "end"})
        assert ep.turns == 4


def test_advice_is_a_paragraph_with_its_numbers(brain: Brain) -> None:
    for number in range(8):
        with brain.episode(goal={"booked": True}) as ep:
            ep.observe({"page": "list"})
            with ep.step(("open", {"offer": number % 2})) as step:
                step.result(None, facts={"page": "offer", "booked": number % 2 == 0})
            ep.outcome(success=number % 2 == 0)
    assert brain.flush()
    with brain.episode(goal={"booked": True}, budget=5) as ep:
        [message] = ep.advice({"page": "list"}, role="user")
        assert ep.last is not None
        assert ep.last.answer is not None
        assert ep.last.answer.episodes == 8
        assert ep.last.answer.candidates[0].action == {"name": "open", "arguments": {"offer": 0}}
    assert message["role"] == "user"
    text = message["content"]
    assert text.startswith("From experience: 8 earlier runs were in this situation; the odds of success ")
    assert "You have 5 left." in text
    assert 'open({"offer": 0}) succeeded in' in text
    assert "\n" not in text


def test_a_run_without_a_step_is_not_posted(brain: Brain) -> None:
    with brain.episode() as ep:
        ep.observe({"at": "start"})
    assert brain.flush()
    with pytest.raises(NotFoundError):
        brain.reported_episode(ep.id)


def test_what_the_service_refuses_is_moved_aside_and_stops_nothing(brain: Brain, tmp_path: Path) -> None:
    with brain.episode(roles={"a": "same", "b": "same"}, episode_id="bad") as ep, ep.step("go"):
        assert ep.turns == 1
    with brain.episode(episode_id="good") as ep, ep.step("go"):
        assert ep.turns == 1
    assert recorded(brain, "good") == [({"facts": "none"}, "go", 0, None)]
    [item] = (tmp_path / "queue" / "refused").glob("*.json")
    assert json.loads(item.read_bytes())["body"]["episodes"][0]["episode_id"] == "bad"
    assert item.with_suffix(".txt").read_text().startswith("422 invalid_request")


def test_an_agents_odd_values_are_told_somehow(brain: Brain) -> None:
    facts = {"nan": float("nan"), "big": 2**70, "list": [1, {"a": None}], "path": Path("/x"), "none": None, "e": "é$"}
    with brain.episode(goal=facts, roles={"user": Path("/u"), "nobody": None}, metadata={"at": Path("/y")}) as ep:
        ep.odds(facts)
        with ep.step(("write", {"path": Path("/x"), "text": "x" * 10_000})) as step:
            step.result(None, facts=facts)
        with ep.step({"type": "tool_use", "name": "look", "input": {"at": (1, 2)}}):
            pass
    [(state, long, _, _), (_, look, _, _)] = recorded(brain, ep.id)
    assert {name: state[name] for name in facts if name in state} == {
        "nan": "nan",
        "big": str(2**70),
        "list": '[1, {"a": null}]',
        "path": "/x",
        "e": "é$",
    }
    assert set(long) == {"name", "arguments_sha256"}
    assert look == {"name": "look", "arguments": {"at": [1, 2]}}
    assert brain.reported_episode(ep.id).roles == {"user": "/u"}
