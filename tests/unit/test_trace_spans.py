"""OTLP JSON of the semantic conventions for generative AI as episodes."""

from __future__ import annotations

from random import Random
from typing import Any

from benchmarks.hostile_traces import spans, spoilt
from somabrain.traces import Converted, converted, converted_spans, without_contents

Json = dict[str, Any]
START = 1_700_000_000_000_000_000


def value(given: Any) -> Json:
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {kinds[type(given)]: str(given) if type(given) is int else given}


def span(number: int, operation: str | None = "execute_tool", *, trace: str = "t1", **fields: Any) -> Json:
    attributes = {"gen_ai.operation.name": operation} if operation else {}
    if operation == "execute_tool":
        attributes |= {"gen_ai.tool.name": "look", "gen_ai.tool.call.id": f"c{number}"}
    attributes |= fields.pop("attributes", {})
    return {
        "traceId": trace,
        "spanId": f"s{number}",
        "startTimeUnixNano": str(START + number),
        "endTimeUnixNano": str(START + number + 1),
        "attributes": [{"key": name, "value": value(given)} for name, given in attributes.items()],
        **fields,
    }


def document(*spans: Any) -> Json:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def bodies(*spans: Any) -> list[Json]:
    found = converted(document(*spans))
    assert [one.refusal for one in found if one.refusal] == []
    return [one.body for one in found if one.body is not None]


def codes(found: list[Converted]) -> list[str | None]:
    return [None if one.refusal is None else one.refusal.code for one in found]


def test_a_call_worked_unless_it_says_otherwise_or_has_not_ended() -> None:
    (found,) = bodies(
        span(1),
        span(2, status={"code": 1}, attributes={"gen_ai.tool.call.result": "Error: handled"}),
        span(3, status={"code": 2}),
        span(4, status={"code": "STATUS_CODE_ERROR"}),
        span(5, attributes={"error.type": "timeout"}),
        span(6, endTimeUnixNano="0"),
        span(7, attributes={"gen_ai.tool.call.result": "Error: no seat"}),
        span(8, attributes={"gen_ai.tool.call.result": '{"seat": "7A"}'}),
    )
    assert [step.get("ok") for step in found["steps"]] == [True, True, False, False, False, None, False, True]
    assert (found["episode_id"], found["agent"], found["terminated"]) == ("t1", "shop", False)
    assert "success" not in found


def test_order_is_that_of_the_clock_and_a_span_sent_twice_counts_once() -> None:
    first, second = span(1), span(2, attributes={"gen_ai.tool.name": "book"})
    assert bodies(second, first, second) == bodies(first, second)
    assert [step["action"] for step in bodies(second, first)[0]["steps"]] == ["look", "book"]
    (found,) = converted(document(first, span(1, status={"code": 2})))
    assert found.refusal is not None
    assert found.refusal.code == "trace_order"


def test_a_conversation_is_one_trace_and_others_are_their_own() -> None:
    talk = {"gen_ai.conversation.id": "talk 1"}
    found = bodies(
        span(1, "chat", trace="t1", attributes=talk),
        span(2, trace="t1"),
        span(3, trace="t2", attributes=talk),
        span(4, trace="t3"),
    )
    assert [len(one["steps"]) for one in found] == [2, 1]
    assert found[0]["episode_id"].startswith("trace:")
    assert found[1]["episode_id"] == "t3"


def test_a_trace_may_stand_in_several_documents() -> None:
    found = converted_spans([document(span(2)), document(span(9, trace="t2")), document(span(1))])
    assert [(number, one.body and len(one.body["steps"])) for number, one in found] == [(2, 2), (1, 1)]


def test_an_agent_that_says_ok_succeeded_and_one_that_failed_was_cut_off() -> None:
    def ended(**fields: Any) -> tuple[Any, ...]:
        agent = span(0, "invoke_agent", attributes={"gen_ai.agent.name": "clerk"}, **fields)
        (found,) = bodies(agent, span(1, parentSpanId="s0"))
        assert found["agent"] == "clerk"
        return found["terminated"], found.get("success")

    assert ended(status={"code": 1}) == (True, True)
    assert ended(status={"code": 2}) == (False, None)
    assert ended() == (False, None)


def test_a_tools_span_within_that_of_the_same_call_is_that_call() -> None:
    same = {"gen_ai.tool.call.id": "c1"}
    assert len(bodies(span(1), span(2, parentSpanId="s1", attributes=same))[0]["steps"]) == 1
    assert len(bodies(span(1), span(2, parentSpanId="s1"))[0]["steps"]) == 2
    assert len(bodies(span(1, parentSpanId="s2"), span(2, parentSpanId="s1"))[0]["steps"]) == 2


def test_one_bad_span_spoils_its_trace_alone() -> None:
    found = converted(
        document(span(1), span(2, startTimeUnixNano="soon"), span(3, trace="t2"), 7, span(4, None, trace="t4"))
    )
    assert codes(found) == ["trace_invalid", "trace_invalid", None]
    assert found[0].loc == ("resourceSpans", 0, "scopeSpans", 0, "spans", 1, "startTimeUnixNano")[:6]
    broken = {"resourceSpans": [{"scopeSpans": 7}, *document(span(1))["resourceSpans"]]}
    assert codes(converted(broken)) == ["trace_invalid", None]
    assert codes(converted({"resourceSpans": []})) == ["trace_without_steps"]
    assert codes(converted(document(span(1, "chat")))) == ["trace_without_steps"]
    assert codes(converted({"resourceSpans": 7})) == ["trace_invalid"]


def test_attributes_of_every_kind_are_read_and_arguments_kept() -> None:
    nested = {"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}}]}}
    tool = span(1)
    tool["attributes"].append({"key": "gen_ai.tool.call.arguments", "value": nested})
    (one,) = converted(document(tool), arguments=True)
    assert one.body is not None
    assert one.body["steps"][0]["action"] == {"tool": "look", "arguments": {"a": [1]}}
    (text,) = converted(document(span(1, attributes={"gen_ai.tool.call.arguments": '{"a": 1}'})), arguments=True)
    assert text.body is not None
    assert text.body["steps"][0]["action"] == {"tool": "look", "arguments": {"a": 1}}


def test_without_contents_the_traces_are_the_same() -> None:
    talk = {"gen_ai.input.messages": "x" * 10_000, "gen_ai.tool.call.result": "Error: no"}
    full = document(span(1, attributes=talk, events=[{"name": "exception"}], name="execute_tool look"), span(2, "chat"))
    light = without_contents(full)
    assert converted(light) == converted(full)
    assert len(str(light)) < len(str(full)) - 10_000
    random = Random(5)
    for number in range(2000):
        odd = spans(random, number)
        for _ in range(number % 3):
            odd = spoilt(odd, random)
        light_ones = [one.body for one in converted(without_contents(odd), arguments=True)]
        assert all(one.body in light_ones for one in converted(odd, arguments=True) if one.body)


def test_what_a_run_is_about_and_what_it_is_to_reach() -> None:
    about = {"somabrain.role.user": "mia 7", "somabrain.role.order": 41, "somabrain.goal.refunded": True}
    given = document(span(1, "invoke_agent", attributes=about), span(2, attributes={"somabrain.role.user": "mia 7"}))
    (found,) = converted(given)
    assert found.body is not None
    assert found.body["roles"] == {"user": "mia 7", "order": 41}
    assert found.body["steps"][0]["state"]["features"]["goal.refunded"] is True
    assert converted(without_contents(given)) == [found]


def test_spans_that_contradict_each_other_about_the_run_are_refused() -> None:
    (found,) = converted(
        document(span(1, attributes={"somabrain.role.user": "a"}), span(2, attributes={"somabrain.role.user": "b"}))
    )
    assert found.refusal is not None
    assert found.refusal.code == "trace_invalid"
    assert "somabrain.role.user" in found.refusal.detail
    listed = span(1)
    listed["attributes"].append({"key": "somabrain.role.user", "value": {"arrayValue": {}}})
    (found,) = converted(document(listed))
    assert found.refusal is not None
    assert found.refusal.code == "trace_invalid"
