"""`POST /oak/traces` on each engine: each trace by itself, all that can be in one transaction, none twice."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

Json = dict[str, Any]


def talk(own: str, tool: str = "look", **more: Any) -> Json:
    call = {"id": "1", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    answer = {"role": "tool", "tool_call_id": "1", "content": "fine"}
    return {"id": own, "messages": [{"role": "assistant", "tool_calls": [call]}, answer], **more}


def span(trace: str, number: int) -> Json:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}
    fields = {"traceId": trace, "spanId": str(number), "startTimeUnixNano": str(number), "endTimeUnixNano": "9"}
    listed = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{**fields, "attributes": listed}]}]}]}


def results(client: TestClient, traces: list[Any], **more: Any) -> list[Json]:
    response = client.post("/oak/traces", json={"traces": traces, **more})
    assert response.status_code == 200, response.text
    found: list[Json] = response.json()["results"]
    return found


def episodes(client: TestClient) -> int:
    return int(client.get("/oak/diagnosis").json()["episodes"])


def test_each_trace_is_learned_or_refused_by_itself(client: TestClient) -> None:
    own = {"steps": [{"state": {"features": {"a": 2**60}}, "action": "go"}], "final": {"features": {"a": 1}}}
    wrong = {"steps": [{"state": {}, "action": "go"}], "final": {"features": {"a": 1}}}
    traces = [talk("run-1", success=True), 7, {"messages": [{"role": "wizard"}]}, own, wrong, talk("run-2")]
    found = results(client, traces)
    assert [one["trace"] for one in found] == [0, 1, 2, 3, 4, 5]
    assert [one["episode"] and one["episode"]["episode_id"] for one in found] == ["run-1", *[None] * 4, "run-2"]
    assert [one["refusal"] and one["refusal"]["code"] for one in found] == [
        None,
        "trace_format_unknown",
        "trace_invalid",
        "number_out_of_range",
        "invalid_request",
        None,
    ]
    assert found[2]["refusal"]["loc"] == ["messages", 0, "role"]
    assert episodes(client) == 2
    assert results(client, traces) == found
    assert episodes(client) == 2


def test_spans_are_put_together_over_the_documents(client: TestClient) -> None:
    found = results(client, [span("t1", 2), talk("run-1"), span("t1", 1), span("t2", 1)])
    told = [(one["trace"], one["episode"]["episode_id"], one["episode"]["transitions"]) for one in found]
    assert told == [(1, "run-1", 1), (2, "t1", 2), (3, "t2", 1)]


def test_what_the_model_can_not_take_refuses_the_request_and_names_the_trace(client: TestClient) -> None:
    results(client, [talk("run-1")])
    refused = client.post("/oak/traces", json={"traces": [talk("run-2"), 7, talk("run-1", tool="book")]})
    assert (refused.status_code, refused.json()["code"]) == (409, "episode_conflict")
    assert refused.json()["errors"][0]["loc"] == ["traces", 2]
    assert refused.json()["detail"].startswith("traces.2: another episode")
    assert episodes(client) == 1


def test_a_named_format_arguments_and_wrong_bodies(client: TestClient) -> None:
    [one] = results(client, [talk("run-1")], format="otlp")
    assert one["refusal"]["code"] == "trace_invalid"
    [one] = results(client, [talk("run-1")], format="openai", arguments=True)
    listed = client.get("/oak/options").json()["options"]
    assert [option["policy"] for option in listed] == [{"action": {"tool": "look", "arguments": {}}}]
    for wrong in ({"traces": []}, {"traces": [1] * 101}, {"traces": [1], "format": "xml"}, {"traces": [1], "more": 1}):
        assert client.post("/oak/traces", json=wrong).status_code == 422
    assert [one["refusal"]["code"] for one in results(client, [None], namespace="none")] == ["trace_format_unknown"]
    assert [one["namespace"] for one in client.get("/oak/namespaces").json()["namespaces"]] == ["default"]


def test_a_repeat_under_a_key_is_the_same_answer(client: TestClient) -> None:
    sent = {"json": {"traces": [talk("run-1"), 7]}, "headers": {"Idempotency-Key": "k"}}
    first = client.post("/oak/traces", **sent)
    assert client.post("/oak/traces", **sent).content == first.content
    assert episodes(client) == 1
