"""Who may do what, over HTTP: every mode, every role, and no route without a policy question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from somabrain.api.guard import ACTIONS, GuardedRoute
from somabrain.app import PUBLIC
from somabrain.auth.keys import KEY_BYTES, create_key
from somabrain.bootstrap import make_app
from somabrain.tenancy import TenantId
from tests.conftest import plain_settings

GOAL = {"features": {"at": "goal"}}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_key(path: Path, tenant: str, *roles: str) -> dict[str, str]:
    entropy = f"{tenant}-{'-'.join(roles)}".encode().ljust(KEY_BYTES, b"\0")
    key = create_key(
        path, tenant=TenantId(tenant), subject="agent", roles=roles, expires_at=None, now=NOW, entropy=entropy
    )
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Headers of a key for each tenant and role, and of one with no role."""
    path = tmp_path / "keys.json"
    roles = {"reader": ["brain_reader"], "writer": ["brain_writer"], "admin": ["brain_admin"], "nobody": ["other"]}
    return {
        f"{tenant}/{name}": make_key(path, tenant, *given) for tenant in ("a", "b") for name, given in roles.items()
    }


@pytest.fixture
def client(tmp_path: Path, keys: dict[str, dict[str, str]]) -> Iterator[TestClient]:
    """The application in mode keys."""
    assert keys
    settings = plain_settings(tmp_path, auth_mode="keys", somabrain_keys_file=tmp_path / "keys.json")
    with TestClient(make_app(settings)) as client:
        yield client


def test_every_route_is_public_by_name_or_asks_the_policy(tmp_path: Path) -> None:
    app = make_app(plain_settings(tmp_path))
    guarded = {route.operation_id for route in app.routes if isinstance(route, GuardedRoute)}
    open_paths = {getattr(route, "path", None) for route in app.routes if not isinstance(route, GuardedRoute)}
    assert guarded == set(ACTIONS)
    assert open_paths == PUBLIC


def test_a_route_of_an_unlisted_action_can_not_be_made() -> None:
    with pytest.raises(KeyError):
        GuardedRoute("/x", lambda: None, operation_id="unlisted").get_route_handler()


def requests() -> list[tuple[str, str, Any, str]]:
    """One request for each action, and the least role that may."""
    run = {"start": GOAL, "final": GOAL, "rewards": [1]}
    episode = {"steps": [{"state": GOAL, "action": "wait"}], "final": GOAL}
    plan = {"start_state": GOAL, "target_feature": GOAL}
    return [
        ("POST", "/oak/option/create", {"name": "x", "target": GOAL}, "writer"),
        ("GET", "/oak/option/x", None, "reader"),
        ("PUT", "/oak/option/x", {"name": "x", "target": GOAL}, "writer"),
        ("DELETE", "/oak/option/x", None, "writer"),
        ("GET", "/oak/options", None, "reader"),
        ("GET", "/oak/option/x/model", None, "reader"),
        ("POST", "/oak/option/search", {"query": GOAL}, "reader"),
        ("POST", "/oak/option/x/execution", run, "writer"),
        ("POST", "/oak/executions", {"executions": [{**run, "option_id": "x"}]}, "writer"),
        ("POST", "/oak/plan", plan, "reader"),
        ("POST", "/oak/act", {"state": GOAL, "target_feature": GOAL}, "reader"),
        ("POST", "/oak/predict", {"state": GOAL}, "reader"),
        ("GET", "/oak/calibration", None, "reader"),
        ("POST", "/oak/episode", episode, "writer"),
        ("POST", "/oak/episodes", {"episodes": [episode]}, "writer"),
        ("POST", "/oak/traces", {"traces": [episode]}, "writer"),
        ("POST", "/oak/episode/x/outcome", {"success": True}, "writer"),
        ("GET", "/oak/episode/x", None, "reader"),
        ("POST", "/oak/consolidate", {"wait": False}, "admin"),
        ("GET", "/oak/consolidation", None, "reader"),
        ("GET", "/oak/diagnosis", None, "reader"),
        ("GET", "/oak/states", None, "reader"),
        ("GET", "/oak/state/0", None, "reader"),
        ("GET", "/oak/namespaces", None, "reader"),
        ("DELETE", "/oak/namespace/x", None, "admin"),
        ("GET", "/oak/model", None, "admin"),
        ("PUT", "/oak/model", {}, "admin"),
        ("GET", "/events", None, "admin"),
        ("POST", "/memory/remember", {"content": "x", "memory_id": "x"}, "writer"),
        ("POST", "/memory/remember/batch", {"memories": [{"content": "x"}]}, "writer"),
        ("POST", "/memory/recall", {"query": {"text": "x"}}, "reader"),
        ("GET", "/memory/x", None, "reader"),
        ("DELETE", "/memory/x", None, "writer"),
    ]


def test_the_table_of_requests_covers_every_action(tmp_path: Path) -> None:
    routes = [route for route in make_app(plain_settings(tmp_path)).routes if isinstance(route, APIRoute)]
    covered = set()
    for method, path, _, _ in requests():
        for route in routes:
            if method in route.methods and route.path_regex.fullmatch(path):
                covered.add(route.operation_id)
                break
    assert covered == set(ACTIONS)


@pytest.mark.parametrize(("method", "path", "body", "least"), requests())
def test_roles(
    client: TestClient, keys: dict[str, dict[str, str]], method: str, path: str, body: Any, least: str
) -> None:
    order = ["nobody", "reader", "writer", "admin"]
    for role in order:
        response = client.request(method, path, json=body, headers=keys[f"a/{role}"])
        allowed = order.index(role) >= order.index(least)
        if allowed:
            assert response.status_code not in {401, 403}, (role, response.text)
        else:
            assert (response.status_code, response.json()["code"]) == (403, "forbidden"), (role, response.text)
    for headers in ({}, {"Authorization": "Bearer sb_wrong"}, {"Authorization": "Basic eDp5"}):
        response = client.request(method, path, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


def test_refusals_come_in_their_order(tmp_path: Path, keys: dict[str, dict[str, str]]) -> None:
    settings = plain_settings(tmp_path, auth_mode="keys", somabrain_keys_file=tmp_path / "keys.json", enable_oak=False)
    broken = {"content": b"{", "headers": {"content-type": "text/plain"}}
    with TestClient(make_app(settings)) as client:
        assert client.post("/oak/plan", **broken).status_code == 401
        for key, status in (("a/nobody", 403), ("a/reader", 404)):
            response = client.post("/oak/plan", content=b"{", headers={"content-type": "text/plain", **keys[key]})
            assert response.status_code == status
        assert response.json()["code"] == "oak_disabled"


def test_tenants_see_nothing_of_each_other(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    a, b = keys["a/admin"], keys["b/admin"]
    body = {"option_id": "x", "name": "secret-of-a", "target": GOAL}
    key = {"Idempotency-Key": "same"}
    assert client.post("/oak/option/create", json=body, headers={**a, **key}).status_code == 201
    run = {"start": {"features": {"at": "secret-of-a"}}, "final": GOAL, "rewards": [1]}
    assert client.post("/oak/option/x/execution", json=run, headers=a).status_code == 200
    for path in (
        "/oak/options",
        "/oak/states",
        "/oak/namespaces",
        "/oak/model",
        "/events",
        "/oak/option/x",
        "/oak/state/0",
    ):
        assert "secret-of-a" not in client.get(path, headers=b).text
        assert "secret-of-a" in client.get(path, headers=a).text or path == "/oak/namespaces"
    mine = client.post("/oak/option/create", json={**body, "name": "b"}, headers={**b, **key})
    assert (mine.status_code, mine.json()["name"]) == (201, "b")
    client.delete("/oak/namespace/default", headers=b)
    assert client.get("/oak/option/x", headers=a).json()["executions"] == 1


def test_the_reporter_is_the_subject_of_the_key(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    spoofed = {**keys["a/admin"], "X-Tenant": "b", "X-Subject": "root", "X-Forwarded-User": "root"}
    client.post("/oak/option/create", json={"name": "x", "target": GOAL}, headers=spoofed)
    assert client.get("/events", headers=keys["a/admin"]).json()["next"] == 1
    assert client.get("/events", headers=keys["b/admin"]).json()["next"] == 0


def test_oak_disabled(tmp_path: Path) -> None:
    with TestClient(make_app(plain_settings(tmp_path, enable_oak=False)), base_url="http://localhost") as client:
        for method, path, body, _ in requests():
            response = client.request(method, path, json=body)
            if not path.startswith("/oak"):
                assert response.is_success, (path, response.text)
            else:
                assert (response.status_code, response.json()["code"]) == (404, "oak_disabled"), path


def test_mode_none_answers_only_to_this_machine(tmp_path: Path) -> None:
    with TestClient(make_app(plain_settings(tmp_path)), base_url="http://localhost") as client:
        for host in ("localhost:9696", "127.0.0.1", "[::1]:9696"):
            assert client.get("/oak/options", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "0.0.0.0", "localhost.evil.example"):
            response = client.get("/oak/options", headers={"Host": host})
            assert (response.status_code, response.json()["code"]) == (403, "bad_host")
        for origin in ("http://evil.example", "null", "http://localhost.evil.example"):
            response = client.get("/oak/options", headers={"Origin": origin})
            assert (response.status_code, response.json()["code"]) == (403, "bad_origin")


def test_the_limit_of_the_policy(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path, policy_requests_per_minute=2)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        statuses = [client.get("/oak/options") for _ in range(6)]
        limited = [response for response in statuses if response.status_code == 429]
        assert limited
        assert limited[0].json()["code"] == "rate_limited"
        assert 1 <= int(limited[0].headers["retry-after"]) <= 60


def test_the_schema_documents_every_refusal(tmp_path: Path) -> None:
    described = make_app(plain_settings(tmp_path)).openapi()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if path in PUBLIC:
                continue
            documented = set(operation["responses"])
            assert {"401", "403", "422", "429", "503"} <= documented, (method, path)
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= documented, (method, path)
    assert json.dumps(described).count("HTTPValidationError") == 0


ONE_NAMESPACE = """package somabrain.option
import rego.v1
decision := {"allow": input.namespace == "mine", "deny": set(), "limit": null}
"""


def test_the_policy_sees_the_namespace_that_the_route_uses(tmp_path: Path) -> None:
    policy = tmp_path / "one.rego"
    policy.write_text(ONE_NAMESPACE)
    with TestClient(make_app(plain_settings(tmp_path, policy_path=policy)), base_url="http://localhost") as client:
        for method, path, body, _ in requests():
            if path in {"/oak/namespaces", "/events"}:
                continue
            if isinstance(body, dict) and body:
                mine = client.request(method, path, json={**body, "namespace": "mine"})
                elsewhere = client.request(method, path, params={"namespace": "mine"}, json=body)
                against = client.request(method, f"{path}?namespace=mine", json={**body, "namespace": "yours"})
            else:
                inside = path.replace("/namespace/x", "/namespace/mine")
                mine = client.request(method, inside, params={"namespace": "mine"}, json=body)
                elsewhere = client.request(method, path, json={"namespace": "mine"} if body is None else body)
                against = client.request(method, path, params={"namespace": "yours"}, json=body)
            assert mine.status_code != 403, (method, path, mine.text)
            assert (elsewhere.status_code, against.status_code) == (403, 403), (method, path)
