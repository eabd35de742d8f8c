"""The HTTP API on each engine: what each route does, and what it answers."""

from __future__ import annotations

import base64
import math
import struct
from itertools import pairwise
from typing import Any

import pytest
from starlette.testclient import TestClient

GOAL = {"features": {"at": "goal"}}
ROAD = {"features": {"at": "road"}}
LAKE = {"features": {"at": "lake"}}


def create(client: TestClient, option_id: str = "go", **changes: Any) -> Any:
    body = {"option_id": option_id, "name": "go", "target": GOAL, **changes}
    return client.post("/oak/option/create", json=body)


def record(client: TestClient, option_id: str = "go", **changes: Any) -> Any:
    body = {"start": ROAD, "final": GOAL, "rewards": [-1.0], **changes}
    return client.post(f"/oak/option/{option_id}/execution", json=body)


def plan(client: TestClient, start: Any = ROAD, target: Any = GOAL, **changes: Any) -> Any:
    response = client.post("/oak/plan", json={"start_state": start, "target_feature": target, **changes})
    assert response.status_code == 200, response.text
    return response.json()


def refused(response: Any, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "trace_id"} <= set(problem)
    assert problem["status"] == status
    return problem


def test_declare_record_plan(client: TestClient) -> None:
    created = create(client, policy={"tool": "walk"})
    assert created.status_code == 201
    assert (created.headers["location"], created.headers["etag"]) == ("/oak/option/go", '"1"')
    assert created.json()["utility"] == 0
    assert created.json()["success_rate"] is None
    answer = record(client, rewards=[-1, -1, 2]).json()
    earned = -1 - 0.99 + 0.99**2 * 2
    assert answer == {
        "option_id": "go",
        "start_prototype": 0,
        "outcome": 1,
        "success": True,
        "environment_reward": pytest.approx(earned),
        "feature_reward": 1.0,
        "utility": pytest.approx(1 + earned),
        "option": {"utility": pytest.approx(1 + earned), "executions": 1, "success_rate": 1.0},
        "model_version": 2,
    }
    found = plan(client)
    assert (found["reached"], found["reason"], found["options"], found["model_version"]) == (True, None, ["go"], 2)
    step = found["steps"][0]
    assert (step["from"], step["to"]) == (
        {"prototype": 0, "facts": {"at": "road"}},
        {"prototype": 1, "facts": {"at": "goal"}},
    )
    assert (step["policy"], step["executions"], step["probability"]) == ({"tool": "walk"}, 1, 1.0)
    doubt = 0.1 / 0.9
    cost = math.ceil(1e6 * -math.log(math.exp(-0.003 - 0.02) / (1 + doubt)) - 1e-3)
    assert found["cost"] == cost


def test_every_reason(client: TestClient) -> None:
    assert plan(client)["reason"] == "unknown_start"
    assert plan(client, start=GOAL)["reason"] == "already_at_target"
    create(client)
    record(client, final=LAKE, terminated_by="failure")
    unknown = plan(client, start={"features": {"at": "road", "lit": True}})
    assert unknown["reason"] == "unknown_start"
    assert unknown["nearest"][0] == {"prototype": 0, "facts": {"at": "road"}, "differs": ["lit"]}
    assert unknown["start"] == {"prototype": None, "similarity": 0.5}
    none = plan(client)
    assert (none["reason"], none["reached"], none["advice"], none["goal"]) == (
        "no_goal_state",
        False,
        "explore",
        {"matched": 0, "best_similarity": 0.0},
    )
    record(client)
    client.delete("/oak/option/go")
    assert plan(client)["reason"] == "no_options"
    create(client, "back")
    record(client, "back", start=GOAL, final=ROAD)
    assert plan(client)["reason"] == "unreachable"
    create(client, "hop")
    places = [{"features": {"at": name}} for name in ("road", "a", "b", "goal")]
    for here, there in pairwise(places):
        record(client, "hop", start=here, final=there)
    assert plan(client)["options"] == ["hop"] * 3
    short = plan(client, max_options=2)
    assert (short["reason"], short["cost"], short["steps"]) == ("unreachable_within_max_options", 0, [])
    assert short["policy_probability"] > 0.9
    met = plan(client, start=GOAL)
    assert (
        met["reached"],
        met["options"],
        met["success_probability"],
        met["policy_probability"],
        met["cost"],
        met["advice"],
    ) == (
        True,
        [],
        1.0,
        1.0,
        0,
        "follow",
    )


def test_a_partial_target_is_a_set_of_states(client: TestClient) -> None:
    create(client, target={"features": {"lit": True}})
    ends = [{"features": {"at": place, "lit": True}} for place in ("a", "b")]
    record(client, final=ends[0])
    record(client, final=ends[1])
    found = plan(client, target={"features": {"lit": True}})
    assert found["goal"]["matched"] == 2
    assert found["success_probability"] == 1.0
    unseen = plan(client, start={"features": {"at": "elsewhere", "lit": True}}, target={"features": {"lit": True}})
    assert unseen["reason"] == "already_at_target"


def test_failures_and_censored_runs(client: TestClient) -> None:
    create(client)
    failed = record(client, terminated_by="failure").json()
    assert (failed["outcome"], failed["success"]) == ("FAIL", False)
    assert len(client.get("/oak/states").json()["states"]) == 2
    cut = record(client, start={"features": {"at": "nowhere"}}, terminated_by="censored").json()
    assert (cut["outcome"], cut["start_prototype"], cut["option"]["executions"]) == (None, None, 1)
    assert len(client.get("/oak/states").json()["states"]) == 2
    option = client.get("/oak/option/go").json()
    assert (option["censored"], option["executions"], option["success_rate"], option["mean_duration"]) == (1, 1, 0, 1)


def test_replace_starts_rows_afresh_only_where_the_policy_changed(client: TestClient) -> None:
    create(client)
    record(client)
    body = {"name": "go", "target": GOAL}
    same = client.put("/oak/option/go", json={**body, "kappa": 3, "description": "d", "alpha": 0.5})
    assert (same.headers["etag"], same.json()["policy_version"], same.json()["utility"]) == ('"2"', 1, 2.0)
    assert len(client.get("/oak/option/go/model").json()["rows"]) == 1
    for version, change in enumerate(
        ({"gamma": 0.5}, {"policy": {"a": 1}}, {"termination": {"max_steps": 3}}, {"target": LAKE}), 2
    ):
        changed = client.put("/oak/option/go", json={**body, **change}).json()
        assert (changed["policy_version"], changed["utility"], changed["executions"]) == (version, 0, version - 1)
        assert client.get("/oak/option/go/model").json()["rows"] == []
        record(client)
        body = {**body, **change}
    assert client.put("/oak/option/go", json=body).json()["policy_version"] == 5


def test_versions_guard_a_replacement(client: TestClient) -> None:
    create(client)
    body = {"name": "go", "target": GOAL}
    for tag, status in (('"1"', 200), ('"1"', 412), ("*", 200), ('W/"3"', 412), ('"7", "3"', 200), ("3", 412)):
        response = client.put("/oak/option/go", json=body, headers={"If-Match": tag})
        assert response.status_code == status, tag
    refused(client.put("/oak/option/go", json=body, headers={"If-Match": '"99"'}), 412, "version_conflict")
    refused(client.put("/oak/option/none", json=body), 404, "option_not_found")
    refused(client.put("/oak/option/go", json={**body, "option_id": "other"}), 422, "invalid_request")


def test_retired_is_kept_but_not_used(client: TestClient) -> None:
    create(client)
    record(client)
    assert [client.delete("/oak/option/go").status_code for _ in range(2)] == [204, 204]
    refused(client.delete("/oak/option/none"), 404, "option_not_found")
    assert client.get("/oak/option/go").json()["status"] == "retired"
    assert client.get("/oak/option/go").json()["version"] == 2
    refused(record(client), 409, "option_retired")
    refused(create(client), 409, "option_exists")
    refused(client.put("/oak/option/go", json={"name": "x", "target": GOAL}), 409, "option_retired")
    assert client.get("/oak/options", params={"status": "active"}).json()["options"] == []
    assert plan(client)["reason"] == "no_options"


def test_pages(client: TestClient) -> None:
    names = ["B", "Z", "a", "b", "c", "z"]
    for name in reversed(names):
        create(client, name)
    seen, cursor = [], None
    while True:
        page = client.get("/oak/options", params={"limit": 4, **({"cursor": cursor} if cursor else {})}).json()
        seen += [option["option_id"] for option in page["options"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names
    for bad in ("x", "%00", "!!!!", base64.urlsafe_b64encode(b"a b\x00").decode()):
        refused(client.get("/oak/options", params={"cursor": bad}), 422, "invalid_request")
        refused(client.get("/oak/states", params={"cursor": bad}), 422, "invalid_request")


def test_a_batch_equals_the_same_runs_one_by_one(client: TestClient) -> None:
    runs = [
        {"option_id": "go", "start": ROAD, "final": final, "rewards": rewards, "terminated_by": ending}
        for final, rewards, ending in [
            (GOAL, [-1.0, -2.0], "target"),
            (LAKE, [-5.5], "failure"),
            (GOAL, [0.1] * 3, "failure"),
            (ROAD, [1e9], "timeout"),
            (GOAL, [0.0], "censored"),
        ]
    ]
    for namespace in ("single", "batch"):
        create(client, namespace=namespace)
    singles = [
        client.post(
            "/oak/option/go/execution",
            json={**{k: v for k, v in run.items() if k != "option_id"}, "namespace": "single"},
        ).json()
        for run in runs
    ]
    batch = client.post("/oak/executions", json={"executions": runs, "namespace": "batch"}).json()["results"]
    for one, other in zip(singles, batch, strict=True):
        assert one | {"model_version": 0} == other | {"model_version": 0}
    exports = [client.get("/oak/model", params={"namespace": name}).json() for name in ("single", "batch")]
    for export in exports:
        for option in export["options"]:
            option["created_at"] = option["updated_at"] = ""
    assert exports[0] == exports[1]


def test_a_batch_is_all_or_nothing_and_names_the_index(client: TestClient) -> None:
    create(client)
    run = {"option_id": "go", "start": ROAD, "final": GOAL, "rewards": [1]}
    problem = refused(
        client.post("/oak/executions", json={"executions": [run, {**run, "option_id": "none"}]}),
        404,
        "option_not_found",
    )
    assert problem["errors"][0]["loc"][:2] == ["executions", 1]
    bad = {**run, "start": {"vector": [0.0] * 256}}
    problem = refused(client.post("/oak/executions", json={"executions": [run, run, bad]}), 422, "invalid_request")
    assert problem["errors"][0]["loc"][:3] == ["executions", 2, "start"]
    assert client.get("/oak/states").json()["states"] == []
    assert client.get("/events").json()["next"] == 1


def test_idempotency(client: TestClient) -> None:
    key = {"Idempotency-Key": "k1"}
    first = client.post("/oak/option/create", json={"name": "x", "target": GOAL}, headers=key)
    again = client.post("/oak/option/create", json={"name": "x", "target": GOAL}, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert (again.headers["location"], again.headers["etag"]) == (first.headers["location"], first.headers["etag"])
    refused(
        client.post("/oak/option/create", json={"name": "y", "target": GOAL}, headers=key), 409, "idempotency_conflict"
    )
    assert len(client.get("/oak/options").json()["options"]) == 1
    option_id = first.json()["option_id"]
    body = {"start": ROAD, "final": GOAL, "rewards": [1]}
    answers = [client.post(f"/oak/option/{option_id}/execution", json=body, headers=key) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert client.get(f"/oak/option/{option_id}").json()["executions"] == 1
    refused(
        client.post("/oak/option/none/execution", json=body, headers={"Idempotency-Key": "e"}), 404, "option_not_found"
    )
    create(client, "none")
    assert client.post("/oak/option/none/execution", json=body, headers={"Idempotency-Key": "e"}).status_code == 200
    gone = [client.delete(f"/oak/option/{option_id}", headers={"Idempotency-Key": "d"}) for _ in range(2)]
    assert [response.status_code for response in gone] == [204, 204]
    refused(client.delete("/oak/option/x", headers={"Idempotency-Key": "a b"}), 422, "invalid_request")


def test_states_and_their_rows(client: TestClient) -> None:
    create(client)
    record(client)
    record(client, final=LAKE, terminated_by="failure")
    states = client.get("/oak/states").json()
    assert [(s["prototype"], s["facts"]["at"], s["visits"]) for s in states["states"]] == [
        (0, "road", 2),
        (1, "goal", 1),
        (2, "lake", 1),
    ]
    state = client.get("/oak/state/0").json()
    assert state["options"][0]["option_id"] == "go"
    assert sum(outcome["probability"] for outcome in state["options"][0]["outcomes"]) == pytest.approx(1)
    refused(client.get("/oak/state/3"), 404, "not_found")
    refused(client.get("/oak/state/x"), 422, "invalid_request")
    rows = client.get("/oak/option/go/model").json()
    assert [row["start"]["facts"] for row in rows["rows"]] == [{"at": "road"}]
    assert rows["rows"][0]["evidence"] == pytest.approx(2, abs=0.01)


def test_vectors(client: TestClient) -> None:
    east, north = [1.0] + [0.0] * 255, [0.0, 2.0] + [0.0] * 254
    packed = base64.b64encode(struct.pack("<256f", *east)).decode()
    create(client, target={"vector": north})
    record(client, start={"vector": east}, final={"vector": north})
    assert len(client.get("/oak/states").json()["states"]) == 2
    near = [1.0, 0.1] + [0.0] * 254
    found = plan(client, start={"vector_b64": packed}, target={"vector": north})
    assert found["options"] == ["go"]
    assert plan(client, start={"vector": near}, target={"vector": north})["start"]["similarity"] == pytest.approx(
        0.995037
    )
    mixed = plan(client, start={"vector": east}, target=GOAL)
    assert (mixed["reason"], mixed["goal"]["best_similarity"]) == ("no_goal_state", None)


def test_search(client: TestClient) -> None:
    create(client, "a", target={"features": {"at": "x", "lit": True}})
    create(client, "b", target={"features": {"at": "x"}})
    create(client, "c", target={"vector": [1.0] * 256})
    create(client, "d", target={"features": {"at": "y"}})
    client.delete("/oak/option/d")
    hits = client.post("/oak/option/search", json={"query": {"features": {"at": "x"}}}).json()["hits"]
    assert [(hit["option"]["option_id"], hit["similarity"]) for hit in hits] == [("b", 1.0), ("a", 0.5)]
    assert (
        len(client.post("/oak/option/search", json={"query": {"features": {"at": "x"}}, "top_k": 1}).json()["hits"])
        == 1
    )
    hits = client.post("/oak/option/search", json={"query": {"features": {"at": "x"}}, "min_similarity": 0.6}).json()[
        "hits"
    ]
    assert [hit["option"]["option_id"] for hit in hits] == ["b"]


def test_export_import_export_gives_the_same_bytes(client: TestClient) -> None:
    create(
        client,
        policy={"x": 0.1, "deep": [{"y": None}]},
        metadata={"\u0000": "ü"},
        target={"features": {"at": "goal", "n": 1.5}},
    )
    create(client, "v", target={"vector": list(range(256))})
    for number in range(30):
        record(client, final={"features": {"at": f"p{number % 7}"}}, rewards=[0.1 * number] * 3)
        record(client, "v", start={"vector": [number * 31 % 17 - 8.0 + i % 5 for i in range(256)]}, final=GOAL)
    client.delete("/oak/option/v")
    first = client.get("/oak/model").content
    answer = client.put(
        "/oak/model", params={"namespace": "copy"}, content=first, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert client.get("/oak/model", params={"namespace": "copy"}).content == first
    for option_id in ("go", "v"):
        one, two = (client.get(f"/oak/option/{option_id}", params={"namespace": n}).json() for n in ("default", "copy"))
        assert one == two
    aside = {"planning_ms": 0, "model_version": 0}
    one, two = (plan(client, target={"features": {"at": "p3"}}, namespace=n) | aside for n in ("default", "copy"))
    assert one == two
    problem = client.put(
        "/oak/model", params={"namespace": "copy"}, content=first, headers={"content-type": "application/json"}
    )
    refused(problem, 409, "namespace_not_empty")
    replaced = client.put(
        "/oak/model",
        params={"namespace": "copy", "mode": "replace"},
        content=first,
        headers={"content-type": "application/json"},
    )
    assert replaced.status_code == 200
    assert client.get("/oak/model", params={"namespace": "copy"}).content == first


def test_imports_are_checked(client: TestClient) -> None:
    create(client)
    record(client)
    model = client.get("/oak/model").json()

    def put(document: Any) -> Any:
        return client.put("/oak/model", params={"namespace": "x"}, json=document)

    refused(put({**model, "memory_dim": 128}), 409, "model_incompatible")
    refused(put({**model, "encoder": "other"}), 409, "model_incompatible")
    refused(put({**model, "format": "somabrain-model-9"}), 409, "model_incompatible")
    row = model["rows"][0]
    wrong = [
        {**model, "extra": 1},
        {**model, "rows": [{**row, "start": 9}]},
        {**model, "rows": [{**row, "option_id": "none"}]},
        {**model, "rows": [row, row]},
        {**model, "rows": [{**row, "outcomes": [[1, 0.5, 0.5]]}]},
        {**model, "rows": [{**row, "outcomes": [[1, 1, 1], [0, 0, 0]]}]},
        {**model, "rows": [{**row, "outcomes": [[1, 0.5, 0.9], ["FAIL", 0.5, 0]]}]},
        {**model, "rows": [{**row, "z": 0}]},
        {**model, "rows": [{**row, "outcomes": []}]},
        {**model, "prototypes": model["prototypes"][1:]},
        {**model, "prototypes": [model["prototypes"][0], {**model["prototypes"][0], "prototype": 1}]},
        {**model, "prototypes": [{"prototype": 0, "vector_b64": "AAAA", "visits": 0}], "rows": []},
        {**model, "options": model["options"] * 2},
        {**model, "options": [{**model["options"][0], "policy": {"x": 2**53}}]},
        {**model, "options": [{**model["options"][0], "created_at": "yesterday"}]},
        [],
        "x",
    ]
    for document in wrong:
        refused(put(document), 422, "invalid_request")
    assert client.get("/oak/namespaces").json()["namespaces"] == [
        {"namespace": "default", "prototypes": 2, "options": 1, "model_version": 2}
    ]


def test_namespaces_are_worlds_apart(client: TestClient) -> None:
    create(client, namespace="a")
    create(client, namespace="b")
    record(client, namespace="a")
    assert plan(client, namespace="a")["options"] == ["go"]
    assert plan(client, namespace="b")["reason"] == "unknown_start"
    assert [n["namespace"] for n in client.get("/oak/namespaces").json()["namespaces"]] == ["a", "b"]
    assert [client.delete("/oak/namespace/a").status_code for _ in range(2)] == [204, 204]
    assert plan(client, namespace="a")["reason"] == "unknown_start"
    assert [n["namespace"] for n in client.get("/oak/namespaces").json()["namespaces"]] == ["b"]
    types = [event["type"] for event in client.get("/events").json()["events"]]
    assert types == ["OptionCreated", "OptionCreated", "ExecutionRecorded", "NamespaceDeleted"]
    create(client, namespace="a")
    record(client, namespace="a", start=LAKE)
    assert plan(client, start=LAKE, namespace="a")["options"] == ["go"]
    assert plan(client, namespace="a")["reason"] == "unknown_start"


def test_events_feed(client: TestClient) -> None:
    for name in "abc":
        create(client, name)
    page = client.get("/events", params={"limit": 2}).json()
    assert ([e["sequence"] for e in page["events"]], page["next"], page["more"]) == ([1, 2], 2, True)
    rest = client.get("/events", params={"after": page["next"]}).json()
    assert ([e["sequence"] for e in rest["events"]], rest["next"], rest["more"]) == ([3], 3, False)
    idle = client.get("/events", params={"after": 3}).json()
    assert (idle["events"], idle["next"], idle["more"]) == ([], 3, False)
    assert page["events"][0]["payload"]["option_id"] == "a"
    assert "features" not in str(rest["events"][0]["payload"].get("start", ""))


def test_ids(client: TestClient) -> None:
    for bad in ("", "x" * 129, "a b", "ü", "a/b", "act:x", "disc:x", "goal:x", "a\n"):
        refused(create(client, bad), 422, "invalid_request")
    assert create(client, "A" * 128).status_code == 201
    made = client.post("/oak/option/create", json={"name": "x", "target": GOAL}).json()["option_id"]
    assert client.get(f"/oak/option/{made}").status_code == 200


def test_same_request_and_version_same_bytes(client: TestClient) -> None:
    create(client)
    record(client)
    body = {"start_state": ROAD, "target_feature": GOAL, "alternatives": 3}
    texts = {client.post("/oak/plan", json=body).text.rsplit(',"planning_ms"', 1)[0] for _ in range(3)}
    assert len(texts) == 1


def test_modes_are_told_apart(client: TestClient) -> None:
    body = {"start_state": ROAD, "target_feature": GOAL}
    refused(client.post("/oak/plan", json={**body, "mode": "fast"}), 422, "invalid_request")


def test_request_ids(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", headers={"X-Request-Id": "bad id"}).headers["x-request-id"] != "bad id"
    trace = "0af7651916cd43dd8448eb211c80319c"
    problem = client.get("/nope", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}).json()
    assert problem["trace_id"] == trace


def test_readiness_metrics_and_pages(client: TestClient) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
    create(client)
    record(client)
    plan(client)
    text = client.get("/metrics").text
    for name in (
        "option_created_total 1.0",
        'oak_plans_total{reason="",result="reached"} 1.0',
        "policy_decision_latency_seconds_count",
    ):
        assert name in text
    assert "swagger-ui-bundle.js" in client.get("/docs").text
    assert client.get("/docs/assets/swagger-ui.css").status_code == 200
    assert 'id="option_not_found"' in client.get("/docs/errors").text
