"""Chat messages, tau-bench runs and our own lines as episodes: what is known, what is not, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from somabrain.api.experience_schemas import ACTION_BYTES_MAX, STEPS_MAX, EpisodePart
from somabrain.errors import SomabrainError
from somabrain.oak.model_document import FACTS_MAX, LABEL_MAX
from somabrain.traces import Format, chat, converted, detected, episode, facts, model, parts_of, shapes
from somabrain.traces.results import worked

Json = dict[str, Any]


def call(own: str | None, name: str = "look", arguments: Any = "{}") -> Json:
    entry = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return entry if own is None else {"id": own, **entry}


def asks(*calls: Json) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def answers(own: str, content: Any = "fine", **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": own, "content": content, **more}


def body(document: Any, form: Format | None = None, *, arguments: bool = False) -> Json:
    (one,) = converted(document, form, arguments=arguments)
    assert one.refusal is None, one.refusal
    assert one.body is not None
    EpisodePart.model_validate_json(json.dumps(one.body))
    return one.body


def refusal(document: Any, form: Format | None = None, *, arguments: bool = False) -> SomabrainError:
    (one,) = converted(document, form, arguments=arguments)
    assert one.refusal is not None
    assert one.body is None
    return one.refusal


def worked_ones(document: Any) -> list[tuple[str, bool | None]]:
    return [(step["action"], step.get("ok")) for step in body(document)["steps"]]


def test_facts_are_what_succeeded_how_often_and_the_last_call() -> None:
    talk = [
        asks(call("1", "look")),
        answers("1"),
        asks(call("2", "book")),
        answers("2", "Error: full"),
        asks(call("3", "look"), call("4", "look")),
        answers("3"),
        answers("4"),
        {"role": "assistant", "content": "Done."},
    ]
    found = body({"messages": talk, "goal": {"city": "Oslo"}, "success": True})
    states = [step["state"]["features"] for step in found["steps"]] + [found["final"]["features"]]
    assert states == [
        {"goal.city": "Oslo", "last": ""},
        {"goal.city": "Oslo", "called.look": 1, "last": "look", "last_ok": "yes"},
        {"goal.city": "Oslo", "called.look": 1, "last": "book", "last_ok": "no"},
        {"goal.city": "Oslo", "called.look": 2, "last": "look", "last_ok": "yes"},
        {"goal.city": "Oslo", "called.look": 2, "last": "look", "last_ok": "yes", "outcome": "success"},
    ]
    assert [step["action"] for step in found["steps"]] == ["look", "book", "look", "look"]


def test_a_missing_result_is_unknown_and_not_failed() -> None:
    talk = [asks(call("1"), call("2", "book")), answers("2"), asks(call("3", "pay")), answers("3", None)]
    assert worked_ones(talk) == [("look", None), ("book", True), ("pay", None)]
    assert "called.look" not in body(talk)["final"]["features"]
    assert body([asks(call("1"))])["final"]["features"] == {"last": "look", "last_ok": "unknown"}


@pytest.mark.parametrize("reason", model.CUT_OFF)
def test_a_used_up_budget_is_cut_off_and_not_failed(reason: str) -> None:
    talk = [asks(call("1")), answers("1")]
    cut = body({"messages": talk, "success": False, "stop_reason": reason})
    assert (cut["terminated"], cut["success"], "outcome" in cut["final"]["features"]) == (False, False, False)
    failed = body({"messages": talk, "success": False, "stop_reason": "stop"})
    assert (failed["terminated"], failed["success"]) == (True, False)
    assert failed["final"]["features"]["outcome"] == "failure"
    done = body({"messages": talk, "success": True, "stop_reason": reason})
    assert (done["terminated"], done["success"]) == (True, True)
    unknown = body({"messages": talk})
    assert (unknown["terminated"], "success" in unknown) == (False, False)


def test_ids_that_repeat_are_answered_message_by_message() -> None:
    talk = [asks(call("x", "look")), asks(call("x", "book"), call("x", "pay")), answers("x", "Error: no"), answers("x")]
    assert worked_ones(talk) == [("look", None), ("book", False), ("pay", True)]
    same = [asks(call("x", "look"), call("x", "look")), answers("x"), answers("x")]
    assert worked_ones(same) == [("look", True), ("look", True)]


def test_a_result_before_its_call_is_refused_with_its_place() -> None:
    found = refusal({"messages": [answers("1"), asks(call("1"))]})
    assert (found.code, found.loc) == ("trace_order", ("messages", 0))
    assert "messages.0" in found.detail
    assert refusal([asks(call("1")), answers("1"), answers("1", "other")]).loc == (2,)
    assert refusal([asks(call("1")), answers("2")]).code == "trace_order"


def test_a_result_sent_twice_counts_once() -> None:
    assert worked_ones([asks(call("1")), answers("1"), answers("1")]) == [("look", True)]


def test_results_without_ids_go_to_open_calls_of_their_tool_and_old_calls_have_none() -> None:
    talk = [
        asks(call("1", "look"), call("2", "book")),
        {"role": "tool", "name": "book", "content": "Error: no"},
        {"role": "tool", "content": "fine"},
        {"role": "assistant", "function_call": {"name": "pay", "arguments": "{}"}},
        {"role": "function", "name": "pay", "content": "fine"},
    ]
    assert worked_ones(talk) == [("look", True), ("book", False), ("pay", True)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "Error: no seat"}, False),
        ({"content": "  error executing tool book: no seat"}, False),
        ({"content": "Traceback (most recent call last):\n"}, False),
        ({"content": "ValueError: no seat"}, False),
        ({"content": "requests.exceptions.HTTPError: 404"}, False),
        ({"content": '{"error": {"code": 404}}'}, False),
        ({"content": '{"isError": true, "content": []}'}, False),
        ({"content": '{"status": "failed"}'}, False),
        ({"content": {"success": False}}, False),
        ({"content": [{"type": "text", "text": "Error: no"}]}, False),
        ({"content": "fine", "is_error": True}, False),
        ({"content": "fine", "status": "error"}, False),
        ({"content": "Error: none", "status": "success"}, True),
        ({"content": ""}, True),
        ({"content": "[]"}, True),
        ({"content": "The error rate is 3 %"}, True),
        ({"content": "Errors found: 0"}, True),
        ({"content": '{"error": null, "status": "cancelled"}'}, True),
        ({"content": '{"error": '}, True),
        ({"content": [{"type": "text", "text": "fine"}, {"type": "image"}]}, True),
        ({"content": 7}, True),
        ({"content": []}, True),
        ({"content": None}, None),
        ({}, None),
    ],
)
def test_whether_a_tool_worked(message: Json, expected: bool | None) -> None:  # noqa: FBT001 - a table's column
    assert worked(message) is expected


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('{"a": {"b": [1, {"c": null}]}}', {"a": {"b": [1, {"c": None}]}}),
        ({"a": 1}, {"a": 1}),
        ("{not json", "{not json"),
        ("", ""),
        (None, {}),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        ('{"a": %s}' % ("9" * 30), '{"a": %s}' % ("9" * 30)),
        ('"\\ud800"', '"\\ud800"'),
        ("[" * 5000, "[" * 5000),
        ("[" * 200 + "]" * 200, "[" * 200 + "]" * 200),
    ],
)
def test_arguments_are_json_or_stay_text(given: Any, kept: Any) -> None:
    (one,) = chat.calls_of([asks(call("1", arguments=given))])
    assert one.arguments == kept


def test_arguments_are_part_of_an_action_only_where_asked() -> None:
    talk = [asks(call("1", arguments='{"city": "Oslo"}')), answers("1")]
    assert body(talk)["steps"][0]["action"] == "look"
    assert body(talk, arguments=True)["steps"][0]["action"] == {"tool": "look", "arguments": {"city": "Oslo"}}
    long = [asks(call("1", arguments="x" * 10_000_000)), answers("1")]
    assert body(long)["steps"][0]["action"] == "look"
    assert refusal(long, arguments=True).code == "trace_too_large"


def test_calls_know_the_number_of_their_message() -> None:
    talk = [asks(call("1"), call("2")), {"role": "assistant", "content": "hm"}, asks(call("3"))]
    assert [one.turn for one in chat.calls_of(talk)] == [0, 0, 2]


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [
        ([], "trace_format_unknown", "list"),
        ([1], "trace_format_unknown", "list"),
        (7, "trace_format_unknown", "neither"),
        ({}, "trace_format_unknown", "without"),
        ({"messages": "x"}, "trace_invalid", "messages: want a list, got a text"),
        ({"messages": [asks(call("1")), 7]}, "trace_invalid", "messages.1: want an object"),
        ({"messages": [{"role": "wizard"}]}, "trace_invalid", "messages.0.role"),
        ([asks(call("1")), {"role": 7}], "trace_invalid", "1.role"),
        ([asks(call("1", name=""))], "trace_invalid", "0.tool_calls.0.function.name"),
        ([asks(call("1", name="x" * 129))], "trace_invalid", "1 to 128"),
        ([asks(call("1", name="a\x00"))], "trace_invalid", "0.tool_calls.0.function.name"),
        ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], "trace_invalid", "0.tool_calls.0.function"),
        ({"messages": [asks(call("1"))], "success": "yes"}, "trace_invalid", "success"),
        ({"messages": [asks(call("1"))], "group": "x" * 257}, "trace_invalid", "group"),
        ({"messages": [asks(call("1"))], "goal": {"a": []}}, "trace_invalid", "goal.a"),
        ({"messages": [asks(call("1"))], "goal": dict.fromkeys("abcdefghijklm", 1)}, "trace_invalid", "12 facts"),
        ({"messages": []}, "trace_without_steps", "no tool call"),
        ([{"role": "user", "content": "hi"}], "trace_without_steps", "no tool call"),
        ([asks(*(call(None) for _ in range(10_001)))], "trace_too_large", "10000"),
        ({"traj": [asks(call("1"))], "reward": "1"}, "trace_invalid", "reward"),
        ({"steps": [], "final": {}}, "trace_without_steps", "no tool call"),
        ({"steps": [{"state": {}, "action": "a", "wrong": 1}], "final": {}}, "trace_invalid", "steps.0.wrong"),
        ({"steps": [{"state": {}, "action": "a"}]}, "trace_invalid", "final: want an object, got null"),
        ({"steps": [{"action": "a"}], "final": {}}, "trace_invalid", "steps.0.state"),
        ({"steps": [{"action": {}}], "final_state": {}}, "trace_invalid", "steps.0.action.name"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "trace_invalid", "surrogate"),
        ({"messages": [asks(call("1", arguments=float("nan")))]}, "trace_invalid", "not JSON"),
        ({"messages": [asks(call("1", arguments=2**64))]}, "trace_invalid", "not JSON"),
        ({"messages": [asks(call("1", arguments=b"x"))]}, "trace_invalid", "bytes"),
        ({"messages": [asks(call("1", arguments={7: 1}))]}, "trace_invalid", "name"),
    ],
)
def test_what_is_refused_says_why_and_where(document: Any, code: str, said: str) -> None:
    found = refusal(document)
    assert (found.code, said in found.detail) == (code, True), found.detail


def test_cycles_and_what_shares_itself_without_end_are_refused() -> None:
    talk: list[Any] = [asks(call("1"))]
    talk[0]["content"] = talk
    assert refusal(talk).code == "trace_too_large"
    wide: Any = "x"
    for _ in range(60):
        wide = [wide, wide]
    assert refusal({"messages": [asks(call("1", arguments=wide))]}).code == "trace_too_large"


def test_too_many_tools_for_the_facts_of_a_state_are_refused() -> None:
    def used(count: int) -> list[Json]:
        ids = [str(number) for number in range(count)]
        return [asks(*(call(own, f"tool {own}") for own in ids)), *(answers(own) for own in ids)]

    goal = dict.fromkeys("abcdefghijkl", 1)
    assert (
        len(body({"messages": used(model.TOOLS_MAX), "goal": goal, "success": True})["final"]["features"]) <= FACTS_MAX
    )
    assert refusal(used(model.TOOLS_MAX + 1)).code == "trace_too_large"


def test_the_id_is_the_traces_own_or_made_from_what_it_says() -> None:
    talk = [asks(call("1", arguments='{"a": 1}')), answers("1")]
    assert body({"messages": talk, "id": "run-7"})["episode_id"] == "run-7"
    odd = body({"messages": talk, "id": "run 7/ä"})["episode_id"]
    assert odd == body({"messages": [*talk, *talk], "id": "run 7/ä"})["episode_id"] == "trace:" + odd.split(":")[1]
    assert body(talk)["episode_id"] == "trace:JRIM5Z3VTJOU4XCPRICJ2MILNI"
    assert body([dict(reversed(list(message.items()))) for message in talk]) == body(talk)
    assert body([asks(call("1", arguments='{"a": 2}')), answers("1")])["episode_id"] != body(talk)["episode_id"]


def test_a_tau_bench_run_is_ended_by_the_user_or_by_a_tool_and_else_cut_off() -> None:
    talk = [asks(call("1")), answers("1")]
    stop = {"role": "user", "content": "Thanks ###STOP###"}
    moved = [asks(call("1", "transfer_to_human_agents")), answers("1", name="transfer_to_human_agents")]

    def ended(messages: list[Json], reward: float) -> tuple[Any, ...]:
        found = body({"task_id": 7, "trial": 0, "reward": reward, "info": {}, "traj": messages})
        assert found["group"] == "7"
        return found["terminated"], found.get("success")

    assert ended([*talk, stop], 1.0) == (True, True)
    assert ended([*talk, stop], 0.0) == (True, False)
    assert ended(moved, 0.0) == (True, False)
    assert ended(talk, 0.0) == (False, False)
    assert ended(talk, 1.0) == (True, True)


def test_our_own_lines_stay_as_they_are() -> None:
    line = {
        "steps": [{"state": {"features": {"at": "hall"}}, "action": {"take": "cup"}, "reward": -1, "turn": 3}],
        "final": {"features": {"at": "hall", "has": "cup"}},
        "success": True,
        "namespace": "elsewhere",
    }
    found = body(line)
    assert found["episode_id"].startswith("trace:")
    del found["episode_id"]
    kept = {name: value for name, value in line.items() if name != "namespace"}
    assert found == kept
    assert body({**line, "episode_id": "e1"})["episode_id"] == "e1"


def test_alfworld_lines_have_no_turn_counter_and_inferred_steps_are_unknown() -> None:
    line = {
        "episode_id": "e1",
        "agent": "a",
        "group": "g",
        "steps": [
            {"state": {"at": "none", "turn": 0}, "action": {"name": "goto", "args": ["cup 1"]}, "ok": False, "turn": 0},
            {"state": {"at": "none", "turn": 1}, "action": {"name": "take", "args": []}, "ok": True, "inferred": True},
        ],
        "final_state": {"at": "cup", "turn": 2},
        "success": False,
        "terminate": "max_steps",
        "target": "cup",
        "dest": "cup",
    }
    assert body({**line, "dest": "shelf"})["roles"] == {"target": "cup", "destination": "shelf"}
    assert body(line) == {
        "episode_id": "e1",
        "roles": {"target": "cup"},
        "agent": "a",
        "group": "g",
        "steps": [
            {"state": {"features": {"at": "none"}}, "action": "goto", "ok": False, "turn": 0},
            {"state": {"features": {"at": "none"}}, "action": "take", "turn": 1},
        ],
        "final": {"features": {"at": "cup"}},
        "terminated": False,
        "success": False,
    }
    assert body(line, arguments=True)["steps"][0]["action"] == {"tool": "goto", "arguments": ["cup 1"]}


def test_roles_are_told_as_they_are() -> None:
    talk = {"messages": [asks(call("1"))], "roles": {"user": "ann 7", "seats": 2}}
    assert body(talk)["roles"] == {"user": "ann 7", "seats": 2}
    assert "roles" not in body({**talk, "roles": {}})
    assert refusal({**talk, "roles": {"user": None}}).loc == ("roles", "user")
    assert refusal({**talk, "roles": {"user": True}}).loc == ("roles", "user")
    assert refusal({**talk, "roles": ["ann"]}).loc == ("roles",)


def test_formats_are_found_out_and_a_named_one_is_believed() -> None:
    talk = [asks(call("1"))]
    documents = {
        Format.OPENAI: {"messages": talk},
        Format.TAU_BENCH: {"traj": talk},
        Format.OTLP: {"resourceSpans": []},
        Format.SOMABRAIN: {"steps": [], "final": {}},
        Format.ALFWORLD: {"steps": [], "final_state": {}},
        Format.MINARI: {"observations": []},
    }
    assert {form: detected(document) for form, document in documents.items()} == {form: form for form in Format}
    assert detected(talk) is Format.OPENAI
    assert refusal({"traj": talk}, Format.OPENAI).detail == "messages: want a list, got null"
    assert parts_of(talk) == [talk]
    assert parts_of([{"messages": talk}, {"traj": talk}]) == [{"messages": talk}, {"traj": talk}]
    assert parts_of([]) == [[]]


def test_limits_are_those_of_the_service() -> None:
    assert (model.STEPS_MAX, episode.ACTION_BYTES_MAX, shapes.LABEL_MAX) == (STEPS_MAX, ACTION_BYTES_MAX, LABEL_MAX)
    fixed = [facts.LAST, facts.LAST_OK, facts.OUTCOME]
    assert model.TOOLS_MAX + model.GOAL_FACTS_MAX + len(fixed) <= FACTS_MAX
