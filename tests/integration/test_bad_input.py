"""Bad input gets a 4xx with a stable code, and nothing is written."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

GOAL = {"features": {"at": "goal"}}
JSON = {"content-type": "application/json"}


@pytest.fixture
def client(sqlite_client: TestClient) -> Iterator[TestClient]:
    """An application with one option; afterwards nothing more must have been written."""
    sqlite_client.post("/oak/option/create", json={"option_id": "go", "name": "go", "target": GOAL})
    yield sqlite_client
    assert sqlite_client.get("/events").json()["next"] == 1
    assert sqlite_client.get("/oak/states").json()["states"] == []


def packed(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


BAD_STATES: list[tuple[Any, str]] = [
    ({}, "invalid_request"),
    (None, "invalid_request"),
    ([], "invalid_request"),
    ("home", "invalid_request"),
    ({"features": {}}, "invalid_request"),
    ({"features": {f"f{n}": n for n in range(65)}}, "invalid_request"),
    ({"features": {"a": None}}, "invalid_request"),
    ({"features": {"a": [1]}}, "invalid_request"),
    ({"features": {"a": {"b": 1}}}, "invalid_request"),
    ({"features": {"a": 2**53}}, "number_out_of_range"),
    ({"features": {"a": 1e308}}, "number_out_of_range"),
    ({"features": {"x" * 257: 1}}, "invalid_request"),
    ({"vector": []}, "invalid_request"),
    ({"vector": [0.0] * 256}, "invalid_request"),
    ({"vector": [1.0] * 255}, "invalid_request"),
    ({"vector": [1.0] * 257}, "invalid_request"),
    ({"vector": ["1"] * 256}, "invalid_request"),
    ({"vector": [True] * 256}, "invalid_request"),
    ({"vector": [1e308] * 256}, "number_out_of_range"),
    ({"vector": [1.1e15] + [0] * 255}, "number_out_of_range"),
    ({"vector_b64": "not base64!"}, "invalid_request"),
    ({"vector_b64": "AAA="}, "invalid_request"),
    ({"vector_b64": packed(*[0.0] * 256)}, "invalid_request"),
    ({"vector_b64": packed(*[1.0] * 255)}, "invalid_request"),
    ({"vector_b64": packed(*[float("nan")] * 256)}, "number_out_of_range"),
    ({"vector_b64": packed(*[float("inf")] * 256)}, "number_out_of_range"),
    ({"vector_b64": 5}, "invalid_request"),
    ({"features": {"a": 1}, "vector": [1.0] * 256}, "invalid_request"),
    ({"features": {"a": 1}, "text": None}, "invalid_request"),
    ({"text": ""}, "invalid_request"),
    ({"text": 1}, "invalid_request"),
    ({"text": "x" * 65_537}, "invalid_request"),
    ({"text": "x", "features": {"at": "home"}}, "invalid_request"),
    ({"feature": {"a": 1}}, "invalid_request"),
]


@pytest.mark.parametrize(("state", "code"), BAD_STATES)
def test_states(client: TestClient, state: Any, code: str) -> None:
    run = {"start": state, "final": GOAL, "rewards": [1]}
    requests = [
        ("/oak/option/create", {"name": "x", "target": state}),
        ("/oak/option/go/execution", run),
        ("/oak/option/go/execution", {**run, "start": GOAL, "final": state}),
        ("/oak/executions", {"executions": [{**run, "option_id": "go"}]}),
        ("/oak/plan", {"start_state": state, "target_feature": GOAL}),
        ("/oak/plan", {"start_state": GOAL, "target_feature": state}),
        ("/oak/option/search", {"query": state}),
    ]
    for path, body in requests:
        response = client.post(path, json=body)
        assert (response.status_code, response.json()["code"]) == (422, code), (path, response.text)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rewards": []}, "invalid_request"),
        ({"rewards": [1] * 10_001}, "invalid_request"),
        ({"rewards": [1e9 + 1]}, "number_out_of_range"),
        ({"rewards": [-1e308]}, "number_out_of_range"),
        ({"rewards": ["1"]}, "invalid_request"),
        ({"rewards": [None]}, "invalid_request"),
        ({"rewards": [True]}, "invalid_request"),
        ({"rewards": [1], "reward": 1, "duration": 1}, "invalid_request"),
        ({"rewards": None}, "invalid_request"),
        ({"rewards": None, "reward": 1}, "invalid_request"),
        ({"rewards": None, "duration": 1}, "invalid_request"),
        ({"rewards": None, "reward": 1, "duration": 0}, "invalid_request"),
        ({"rewards": None, "reward": 1, "duration": 1_000_001}, "invalid_request"),
        ({"rewards": None, "reward": 1, "duration": 1.5}, "invalid_request"),
        ({"rewards": None, "reward": 2e9, "duration": 1}, "number_out_of_range"),
        ({"terminated_by": "luck"}, "invalid_request"),
        ({"terminated_by": None}, "invalid_request"),
        ({"occurred_at": "yesterday"}, "invalid_request"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "invalid_request"),
        ({"namespace": ""}, "invalid_request"),
        ({"namespace": "../x"}, "invalid_request"),
        ({"namespace": "a" * 65}, "invalid_request"),
        ({"namespace": "a\n"}, "invalid_request"),
        ({"namespace": 5}, "invalid_request"),
        ({"tenant": "bob"}, "invalid_request"),
        ({"reported_by": "bob"}, "invalid_request"),
    ],
)
def test_runs(client: TestClient, change: dict[str, Any], code: str) -> None:
    body = {"start": GOAL, "final": GOAL, "rewards": [1], **change}
    response = client.post(
        "/oak/option/go/execution", json={k: v for k, v in body.items() if v is not None or k != "rewards"}
    )
    assert (response.status_code, response.json()["code"]) == (422, code), response.text


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 257},
        {"name": None},
        {"kappa": -1},
        {"kappa": "1"},
        {"gamma": 0},
        {"gamma": 1.1},
        {"alpha": 0},
        {"alpha": 2},
        {"termination": {"similarity": 2}},
        {"termination": {"max_steps": 0}},
        {"termination": {"steps": 1}},
        {"termination": []},
        {"policy": []},
        {"policy": {"x": 2**53}},
        {"policy": {"x": 1e16}},
        {"metadata": {"x": "y" * 8192}},
        {"metadata": "x"},
        {"unknown": 1},
    ],
)
def test_declarations(client: TestClient, change: dict[str, Any]) -> None:
    response = client.post("/oak/option/create", json={"name": "x", "target": GOAL, **change})
    assert response.status_code == 422, response.text
    assert response.json()["code"] in {"invalid_request", "number_out_of_range"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        '{"name": NaN}',
        '{"x": Infinity}',
        '{"x": 1e999}',
        '"\\ud800"',
        "[" * 2000,
        '{"a": 1,}',
        "\x00",
        "{'a': 1}",
    ],
)
def test_what_is_no_json(client: TestClient, text: str) -> None:
    for path in ("/oak/option/create", "/oak/plan", "/oak/executions"):
        response = client.post(path, content=text.encode(), headers=JSON)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_json")
    response = client.put("/oak/model", content=text.encode(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")


def test_what_is_json_but_no_object(client: TestClient) -> None:
    for document in ("null", "1", '"x"', "[]", "true"):
        response = client.post("/oak/plan", content=document, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request"), document


def test_media_types(client: TestClient) -> None:
    body = json.dumps({"name": "x", "target": GOAL})
    for headers in (
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {},
        {**JSON, "content-encoding": "gzip"},
    ):
        response = client.post("/oak/option/create", content=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_large_bodies_are_refused_unread(client: TestClient) -> None:
    body = json.dumps({"name": "x", "target": GOAL, "description": "x" * (10 << 20)}).encode()
    response = client.post("/oak/option/create", content=body, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b" " * (1 << 20)

    response = client.post("/oak/option/create", content=chunks(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "path",
    ["/oak/option/..", "/oak/option/%2e%2e%2fx", "/oak/option/a%00b", "/oak/option/" + "a" * 129, "/oak/option/a%20b"],
)
def test_path_tricks(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code in {404, 422}
    assert response.json()["code"] in {"not_found", "invalid_request"}


@pytest.mark.parametrize(
    "query",
    [
        "namespace=",
        "namespace=..%2Fx",
        "limit=0",
        "limit=201",
        "limit=x",
        "status=gone",
        "source=x",
        "cursor=%00",
        "limit=1e1",
    ],
)
def test_queries(client: TestClient, query: str) -> None:
    response = client.get(f"/oak/options?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request"), response.text


@pytest.mark.parametrize("query", ["after=-1", "after=x", f"after={2**63}", f"after={10**30}", "limit=0", "limit=1001"])
def test_event_queries(client: TestClient, query: str) -> None:
    response = client.get(f"/events?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request"), response.text


@pytest.mark.parametrize("number", [-1, 2**31, 10**40])
def test_state_numbers(client: TestClient, number: int) -> None:
    assert client.get(f"/oak/state/{number}").status_code == 422


def test_batches(client: TestClient) -> None:
    run = {"option_id": "go", "start": GOAL, "final": GOAL, "rewards": [1]}
    for executions in ([], [run] * 1001, [{**run, "namespace": "x"}], {"0": run}):
        response = client.post("/oak/executions", json={"executions": executions})
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_methods_and_addresses(client: TestClient) -> None:
    response = client.patch("/oak/option/go")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in response.headers["allow"]
    for path in (
        "/",
        "/oak",
        "/oak/",
        "/oak/options/",
        "/metrics/x",
        "/docs/assets/../../etc/passwd",
        "/docs/assets/x.js",
    ):
        assert client.get(path).status_code in {404, 422}, path


def test_deeply_nested_metadata(client: TestClient) -> None:
    nested: Any = {}
    for _ in range(900):
        nested = {"a": nested}
    response = client.post("/oak/option/create", json={"name": "x", "target": GOAL, "metadata": nested})
    assert response.status_code == 422
