"""Input that is meant to hurt: on each engine it is taken as it is or refused, and the server goes on."""

from __future__ import annotations

import base64
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from tests.servers import somabrain

GOAL = {"features": {"at": "goal"}}
HOME = {"features": {"at": "home"}}
JSON = {"content-type": "application/json"}
TEXTS = [
    "\u0000",
    "a\u0000b",
    "\u2028\u2029",
    "\U0001f600",
    "\ufeff",
    "'; DROP TABLE options; --",
    "${jndi:x}",
    "\\",
    '"',
    "%00",
    "x" * 100_000,
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_kept_as_it_is(client: TestClient, text: str) -> None:
    body = {
        "option_id": "go",
        "name": text[:256],
        "description": text[:8192],
        "target": {"features": {"at": text}},
        "policy": {text[:1000]: [text]},
        "metadata": {text[:1000]: text[:1000]},
    }
    created = client.post("/oak/option/create", json=body)
    assert created.status_code == 201, created.text[:500]
    read = client.get("/oak/option/go").json()
    assert {name: read[name] for name in ("name", "description", "target", "policy", "metadata")} == {
        name: body[name] for name in ("name", "description", "target", "policy", "metadata")
    }
    run = {"start": {"features": {text[:256]: text}}, "final": {"features": {"at": text}}, "rewards": [1]}
    assert client.post("/oak/option/go/execution", json=run).status_code == 200
    plan = client.post("/oak/plan", json={"start_state": run["start"], "target_feature": body["target"]}).json()
    assert (plan["options"], plan["steps"][0]["to"]["facts"]) == (["go"], {"at": text})
    model = client.get("/oak/model").content
    headers = {"content-type": "application/json"}
    assert client.put("/oak/model?namespace=copy", content=model, headers=headers).status_code == 200
    assert client.get("/oak/model?namespace=copy").content == model
    assert client.get("/events").status_code == 200


def test_the_largest_facts_that_are_taken(client: TestClient) -> None:
    features: dict[str, Any] = {f"{n:03d}" + "n" * 253: "v" * 10_000 for n in range(64)}
    client.post("/oak/option/create", json={"option_id": "go", "name": "go", "target": {"features": features}})
    run = {"start": GOAL, "final": {"features": features}, "rewards": [1]}
    answer = client.post("/oak/option/go/execution", json=run)
    assert (answer.status_code, answer.json()["feature_reward"]) == (200, 1.0)


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": "k" * 256},
        {"Idempotency-Key": "a b"},
        {"Idempotency-Key": ""},
        {"If-Match": '"' + "9" * 1000 + '"'},
        {"If-Match": '"' + "9" * 2000 + '"'},
        {"If-Match": b'"\xb9"'},
    ],
)
def test_headers(client: TestClient, headers: dict[str, Any]) -> None:
    client.post("/oak/option/create", json={"option_id": "go", "name": "go", "target": GOAL})
    response = client.put("/oak/option/go", json={"name": "x", "target": GOAL}, headers=headers)
    assert response.status_code in {412, 422}, response.text
    assert client.get("/oak/option/go").json()["version"] == 1


EXTREMES = [
    {"rewards": [1e9] * 10_000},
    {"rewards": [-1e9] * 10_000},
    {"rewards": [5e-324]},
    {"rewards": [-0.0]},
    {"reward": -1e9, "duration": 1_000_000},
    {"reward": 1e9, "duration": 1.0},
]


ODDS = ("success_probability", "success_probability_lower", "policy_probability", "expected_reward", "cost")


def finite(document: Any) -> bool:
    """Whether a row has a number wherever it must have one: JSON can only write null for the others."""
    return all(isinstance(document[name], int | float) for name in ("duration", "reward", "utility", "evidence"))


@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 0.05, 1])
@pytest.mark.parametrize("gamma", [5e-324, 1])
def test_extreme_numbers_stay_numbers(client: TestClient, alpha: float, gamma: float) -> None:
    option = {"option_id": "go", "name": "go", "target": GOAL, "kappa": 1e6, "gamma": gamma}
    client.post("/oak/option/create", json={**option, "alpha": alpha})
    ways: list[dict[str, Any]] = [{"final": GOAL}, {"final": HOME}, {"final": GOAL, "terminated_by": "failure"}]
    runs = [{"option_id": "go", "start": HOME, **way, **numbers} for numbers in EXTREMES for way in ways]
    for last_alpha in (alpha, 5e-324, 1):
        assert client.put("/oak/option/go", json={**option, "alpha": last_alpha}).status_code == 200
        assert client.post("/oak/executions", json={"executions": runs}).status_code == 200
        rows = client.get("/oak/option/go/model").json()["rows"]
        assert rows
        assert all(map(finite, rows))
        plan = client.post("/oak/plan", json={"start_state": HOME, "target_feature": GOAL, "alternatives": 10})
        assert plan.status_code == 200
        assert all(isinstance(plan.json()[name], int | float) for name in ODDS)
        assert client.get("/oak/state/0").status_code == 200
        model = client.get("/oak/model").content
        copied = client.put("/oak/model?namespace=copy&mode=replace", content=model, headers=JSON)
        assert copied.status_code == 200, copied.text
        assert client.get("/oak/model?namespace=copy").content == model


def exported(client: TestClient) -> dict[str, Any]:
    """A model with an option that has run, exported."""
    vector = [1.0, *[0.0] * 255]
    client.post("/oak/option/create", json={"option_id": "go", "name": "go", "target": {"vector": vector}})
    for final in (HOME, GOAL):
        client.post("/oak/option/go/execution", json={"start": HOME, "final": final, "rewards": [1]})
        client.post("/oak/option/go/execution", json={"start": GOAL, "final": final, "rewards": [1]})
    model: dict[str, Any] = client.get("/oak/model").json()
    return model


NO_NUMBERS = base64.b64encode(b"\xff" * 1024).decode()
DOCTORED = [
    ("options", {"version": 2**31}),
    ("options", {"policy_version": 2**53 - 1}),
    ("options", {"created_at": "0001-01-01T00:00:00+14:00"}),
    ("options", {"updated_at": "9999-12-31T23:59:59-14:00"}),
    ("options", {"updated_at": "2026-W01-1T00:00:00Z"}),
    ("options", {"executions": 2**63}),
    ("options", {"target": {"vector_b64": "AACAPw=="}}),
    ("options", {"target": {"vector_b64": NO_NUMBERS}}),
    ("options", {"target": {"vector_b64": "AAA="}}),
    ("options", {"target": {"features": {"a": 2**53}}}),
    ("options", {"policy": {"a": 1e300}}),
    ("options", {"policy": {"a": [[[[2**64]]]]}}),
    ("prototypes", {"prototype": 2**31}),
    ("prototypes", {"visits": 2**53}),
    ("rows", {"executions": 2**53 - 1}),
    ("rows", {"duration": 1e308}),
    ("rows", {"reward": -1e308}),
    ("rows", {"z": 0}),
    ("rows", {"start": 2**53 - 1}),
    ("rows", {"outcomes": [[0, 1.0, 2.0]]}),
    ("rows", {"outcomes": [[2**40, 1.0, 1.0]]}),
]


@pytest.mark.parametrize(("part", "change"), DOCTORED)
def test_models_that_are_doctored(client: TestClient, part: str, change: dict[str, Any]) -> None:
    model = exported(client)
    model[part] = [{**entry, **change} for entry in model[part]]
    response = client.put("/oak/model?namespace=copy", json=model)
    assert response.status_code == 422, response.text
    assert client.get("/oak/model?namespace=copy").json()["options"] == []


def test_a_model_as_large_in_its_numbers_as_is_taken_can_be_worked_with(client: TestClient) -> None:
    model = exported(client)
    large = 2**52
    option = {"version": 10**9, "policy_version": 10**9, "executions": large, "successes": large, "steps": large}
    times = {"created_at": "0001-01-01T00:00:00Z", "updated_at": "9999-12-31T23:59:60.999999Z"}
    model["options"] = [{**entry, **option, **times} for entry in model["options"]]
    model["prototypes"] = [{**entry, "visits": large} for entry in model["prototypes"]]
    model["rows"] = [{**entry, "executions": 2**51, "reward": 1e14} for entry in model["rows"]]
    assert client.put("/oak/model?mode=replace", json=model).status_code == 200
    run = {"start": HOME, "final": GOAL, "rewards": [1]}
    assert client.post("/oak/option/go/execution", json=run).json()["option"]["executions"] == large + 1
    declared = {"name": "go", "target": GOAL}
    assert client.put("/oak/option/go", json=declared).json()["version"] == 10**9 + 1
    for path in ("/oak/options", "/oak/option/go/model", "/oak/states", "/oak/state/0", "/oak/model", "/events"):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/oak/option/go", "DELETE, GET, PUT"),
        ("/oak/option/create", "POST"),
        ("/oak/option/search", "POST"),
        ("/oak/model", "GET, PUT"),
    ],
)
def test_the_methods_of_an_address(client: TestClient, path: str, allowed: str) -> None:
    response = client.options(path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


def test_every_host_that_is_named_is_looked_at(client: TestClient) -> None:
    for hosts in (["localhost", "evil.example"], ["evil.example", "localhost"]):
        response = client.get("/oak/options", headers=[("host", host) for host in hosts])
        assert (response.status_code, response.json()["code"]) == (403, "bad_host")


def test_duplicate_names_are_the_last_one(client: TestClient) -> None:
    text = '{"name": "first", "name": "last", "option_id": "go", "target": {"features": {"a": 1, "a": 2}}}'
    created = client.post("/oak/option/create", content=text, headers={"content-type": "application/json"}).json()
    assert (created["name"], created["target"]) == ("last", {"features": {"a": 2}})


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/oak/options", "/oak/plan", "/events"])
def test_other_methods(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 405


OTHER_PATHS = ["//oak/options", "/oak//options", "/oak/options/", "/OAK/options", "/oak/options;x", "/oak/%6fptions%00"]


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_other_paths(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


RAW = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
    b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{}",
    b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"GET /oak/options HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\n b\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\nEvil: 1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a%0d%0aEvil: 1\r\n\r\n",
    b"GET /oak/options HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: \xff\xfe\r\n\r\n",
    b"GET /oak/options?namespace=%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /oak/option/%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 1000,
]


def test_a_body_in_pieces(tmp_path: Path) -> None:
    """Chunked and slow, eight at a time: each is taken when it is whole."""
    body = b'{"start_state": {"features": {"a": 1}}, "target_feature": {"features": {"a": 2}}}'
    head = b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with somabrain({}, tmp_path) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(8)]
        for connection in slow:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for place in range(len(body)):
            for connection in slow:
                connection.sendall(b"1\r\n" + body[place : place + 1] + b"\r\n")
            assert place or httpx.get(f"{server.url}/oak/options", timeout=10).status_code == 200
        for connection in slow:
            connection.sendall(b"0\r\n\r\n")
            assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")
            connection.close()


def test_broken_requests_do_not_reach_anybody_else(tmp_path: Path) -> None:
    with somabrain({}, tmp_path) as server:
        for raw in RAW:
            answer = b""
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
                connection.sendall(raw)
                connection.settimeout(0.5)
                with suppress(TimeoutError):  # the rest of the request is waited for
                    answer = connection.recv(65_536)
                connection.shutdown(socket.SHUT_WR)
            assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2")) or not answer, (raw[:80], answer[:200])
            assert b"evil" not in answer.lower()
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(50)]
        for connection in idle:
            connection.sendall(b"POST /oak/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        assert httpx.get(f"{server.url}/oak/options", timeout=10).status_code == 200
        for connection in idle:
            connection.close()
        assert httpx.get(f"{server.url}/oak/options", timeout=10).status_code == 200
        assert '"event": "defect"' not in server.log
