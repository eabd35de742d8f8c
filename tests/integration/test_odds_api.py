"""Odds over HTTP: what runs teach, what is told of them while they last, and how that is scored once they ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from somabrain.bootstrap import make_app
from tests.conftest import plain_settings
from tests.integration.test_api import refused


def at(place: str, **more: Any) -> dict[str, Any]:
    return {"features": {"at": place, **more}}


def run(episode_id: str, *places: str, success: bool | None, agent: str | None = None, **more: Any) -> dict[str, Any]:
    """An episode through places, one step from each to the next; the last is its end."""
    steps = [{"state": at(place), "action": f"from {place}"} for place in places[:-1]]
    labels = {} if agent is None else {"agent": agent}
    return {"episode_id": episode_id, "steps": steps, "final": at(places[-1]), "success": success, **labels, **more}


def post(client: TestClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def predict(client: TestClient, place: str, **more: Any) -> dict[str, Any]:
    return post(client, "/oak/predict", {"state": at(place), **more})


def calibration(client: TestClient, **parameters: str) -> dict[str, Any]:
    response = client.get("/oak/calibration", params=parameters)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def taught(client: TestClient) -> None:
    """Forty runs: by the left door 9 of 10 succeed, by the right one 1 of 10; bob takes the right door always."""
    for number in range(20):
        for door, agent, lucky in (("left", "ann", number % 10 != 0), ("right", "bob", number % 10 == 0)):
            body = run(f"{door}-{number}", "start", door, "won" if lucky else "lost", success=lucky, agent=agent)
            post(client, "/oak/episode", body)


def test_runs_about_other_things_are_the_same_run(client: TestClient) -> None:
    for number in range(10):
        thing = f"thing {number}"
        step = {"state": {"features": {"seen": thing}}, "action": {"take": thing, "into": "$bag"}}
        body = {"steps": [step], "final": {"features": {"held": thing}}, "success": number < 8}
        post(client, "/oak/episode", {**body, "roles": {"object": thing}})
    asked = {"state": {"features": {"seen": "cup"}}, "roles": {"object": "cup"}}
    found = post(client, "/oak/predict", asked)
    assert (found["basis"], found["episodes"], found["unbound"]) == ("state", 10, [])
    assert found["candidates"][0]["action"] == {"take": "cup", "into": "$bag"}
    renamed = post(client, "/oak/predict", {"state": {"features": {"seen": "cup"}}})
    assert renamed["basis"] == "prior"
    twice = {**asked, "roles": {"object": "cup", "other": "cup"}}
    refused(client.post("/oak/predict", json=twice), 422, "invalid_request")


def test_before_any_run_the_odds_are_even(client: TestClient) -> None:
    found = predict(client, "start", agent="ann", steps_taken=0, steps_left=3)
    assert found == {
        "success_probability": 0.5,
        "lower": pytest.approx(0.211, abs=0.001),
        "upper": pytest.approx(0.789, abs=0.001),
        "expected_steps": None,
        "episodes": 0,
        "basis": "prior",
        "candidates": [],
        "model_version": 0,
        "unbound": [],
    }
    assert client.get("/oak/namespaces").json()["namespaces"] == []


def test_odds_follow_where_a_run_is_and_who_runs_it(client: TestClient) -> None:
    taught(client)
    start, left, right = (predict(client, place) for place in ("start", "left", "right"))
    assert left["success_probability"] > 0.8 > start["success_probability"] > 0.2 > right["success_probability"]
    assert (start["basis"], start["episodes"], start["expected_steps"]) == ("state", 40, 2.0)
    assert (left["basis"], left["episodes"], left["expected_steps"]) == ("state", 20, 1.0)
    assert [one["action"] for one in start["candidates"]] == ["from start"]
    assert start["candidates"][0] == {
        "action": "from start",
        "success_probability": start["success_probability"],
        "executions": 40,
    }
    ann, bob = (predict(client, "start", agent=agent, steps_taken=0) for agent in ("ann", "bob"))
    assert ann["basis"] == bob["basis"] == "state+steps+agent"
    assert ann["success_probability"] > 0.75
    assert bob["success_probability"] < 0.25
    late = predict(client, "start", steps_taken=7)
    assert (late["basis"], late["episodes"]) == ("state", 40)
    unknown = predict(client, "elsewhere", agent="bob")
    assert (unknown["basis"], unknown["episodes"]) == ("prior", 40)
    assert unknown["success_probability"] < predict(client, "elsewhere")["success_probability"]


def test_a_budget_too_small_leaves_little(client: TestClient) -> None:
    taught(client)
    free, tight = predict(client, "start", steps_taken=0), predict(client, "start", steps_taken=0, steps_left=1)
    assert tight["success_probability"] < 0.1 * free["success_probability"]
    assert predict(client, "start", steps_taken=0, steps_left=2)["success_probability"] == pytest.approx(
        free["success_probability"], rel=0.1
    )


def test_a_state_that_meets_the_target_has_got_there(client: TestClient) -> None:
    taught(client)
    found = predict(client, "right", target_feature=at("right"))
    assert (found["success_probability"], found["lower"], found["upper"], found["expected_steps"]) == (1, 1, 1, 0)
    assert predict(client, "right", target_feature=at("left"))["success_probability"] < 0.2


def test_steps_of_one_turn_were_decided_together(client: TestClient) -> None:
    body = run("e", "a", "b", "c", "end", success=True)
    for step, turn in zip(body["steps"], (0, 0, 1), strict=True):
        step["turn"] = turn
    post(client, "/oak/episode", body)
    assert predict(client, "a", steps_taken=0)["expected_steps"] == 2.0
    assert predict(client, "b")["basis"] == "prior"
    assert predict(client, "c", steps_taken=1)["basis"] == "state+steps"
    told = client.get("/oak/episode/e").json()
    assert [step["turn"] for step in told["steps"]] == [0, 0, 1]
    body["steps"][2]["turn"] = 2
    refused(client.post("/oak/episode", json=body), 409, "episode_conflict")
    body["steps"][1]["turn"] = 3
    refused(client.post("/oak/episode", json={**body, "episode_id": "f"}), 422, "invalid_request")


def test_an_outcome_that_comes_late_teaches_the_same(client: TestClient) -> None:
    for namespace, late in (("now", False), ("late", True)):
        for number in range(6):
            body = run(f"e{number}", "a", "b", "end", success=None if late else number < 4, agent="ann")
            post(client, "/oak/episode", {**body, "namespace": namespace, "terminated": number < 4})
            if late:
                assert predict(client, "a", namespace=namespace)["episodes"] == number
                told = {"success": number < 4, "namespace": namespace}
                post(client, f"/oak/episode/e{number}/outcome", told)
    asked = {"agent": "ann", "steps_taken": 1, "steps_left": 1}
    now, late = (predict(client, "b", namespace=name, **asked) for name in ("now", "late"))
    assert {**now, "model_version": 0} == {**late, "model_version": 0}


def test_told_odds_are_scored_when_the_outcome_comes(client: TestClient) -> None:
    taught(client)
    good = [
        predict(client, place, agent="ann", steps_taken=k, episode_id="x") for k, place in enumerate(("start", "left"))
    ]
    bad = predict(client, "right", agent="bob", steps_taken=1, episode_id="y")
    assert calibration(client)["predictions"] == 0
    post(client, "/oak/episode", run("x", "start", "left", "won", success=True, agent="ann"))
    post(client, "/oak/episode", run("y", "start", "right", "lost", success=None, agent="bob"))
    assert calibration(client)["predictions"] == 2
    post(client, "/oak/episode/y/outcome", {"success": False})
    found = calibration(client)
    told = [one["success_probability"] for one in good]
    assert (found["agent"], found["episodes"], found["successes"], found["predictions"]) == (None, 2, 1, 3)
    squares = sum((1 - p) ** 2 for p in told) + bad["success_probability"] ** 2
    assert found["brier"] == pytest.approx(squares / 3)
    assert sum(one["predictions"] for one in found["reliability"]) == 3
    stops = {one["threshold"]: one for one in found["stopping"]}
    assert (stops[0.2]["stopped"], stops[0.2]["steps_saved"], stops[0.2]["successes_lost"]) == (1, 0.25, 0.0)
    assert [(one["agent"], one["predictions"]) for one in found["agents"]] == [("ann", 2), ("bob", 1)]
    shown = {
        line.split("{")[0]: float(line.rsplit(" ", 1)[1])
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("oak_prediction_")
    }
    assert shown["oak_prediction_brier"] == pytest.approx(found["brier"])
    assert shown["oak_prediction_calibration_error"] == pytest.approx(found["calibration_error"])
    assert calibration(client, agent="bob")["brier"] == pytest.approx(bad["success_probability"] ** 2)
    assert calibration(client, agent="nobody")["brier"] is None
    predict(client, "start", episode_id="x")
    post(client, "/oak/episode", run("x", "start", "left", "won", success=True, agent="ann"))
    assert calibration(client)["predictions"] == 3


def test_reported_twice_by_two_it_counts_once(client: TestClient) -> None:
    predict(client, "a", episode_id="e0")
    bodies = [run(f"e{number}", "a", "b", "end", success=number % 2 == 0, agent="ann") for number in range(10)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: client.post("/oak/episode", json=body).status_code, bodies * 3))
    assert answers == [200] * 30
    assert predict(client, "a")["episodes"] == 10
    assert calibration(client)["predictions"] == 1


def test_export_and_import_keep_the_odds(sqlite_client: TestClient) -> None:
    taught(sqlite_client)
    exported = sqlite_client.get("/oak/model").content
    sqlite_client.put(
        "/oak/model",
        params={"namespace": "copy"},
        content=exported,
        headers={"content-type": "application/json"},
    ).raise_for_status()
    assert sqlite_client.get("/oak/model", params={"namespace": "copy"}).content == exported
    asked = {"agent": "bob", "steps_taken": 1, "steps_left": 1}
    here, there = (predict(sqlite_client, "right", namespace=name, **asked) for name in ("default", "copy"))
    assert {**here, "model_version": 0} == {**there, "model_version": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"state": 10**6},
        {"kind": 4},
        {"successes": 10**6},
        {"episodes": 0},
        {"agent": "x" * 257},
    ],
)
def test_an_import_of_counts_that_cannot_be_is_refused(sqlite_client: TestClient, change: dict[str, Any]) -> None:
    taught(sqlite_client)
    model = sqlite_client.get("/oak/model").json()
    for odds in ([{**model["odds"][0], **change}], [model["odds"][1], model["odds"][0]]):
        answer = sqlite_client.put("/oak/model", params={"namespace": "copy"}, json={**model, "odds": odds})
        refused(answer, 422, "invalid_request")


def test_a_deleted_namespace_has_no_odds(client: TestClient) -> None:
    taught(client)
    predict(client, "start", episode_id="open")
    client.delete("/oak/namespace/default").raise_for_status()
    found = predict(client, "start")
    assert (found["episodes"], found["basis"]) == (0, "prior")
    assert calibration(client)["episodes"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"state": {}},
        {"steps_taken": -1},
        {"steps_taken": 10_001},
        {"steps_left": 1.5},
        {"steps_left": True},
        {"agent": ""},
        {"agent": 7},
        {"episode_id": "a b"},
        {"target_feature": {"features": {"at": float("1e16")}}},
        {"roads": {}},
    ],
)
def test_bad_input_is_refused_and_nothing_is_kept(sqlite_client: TestClient, change: dict[str, Any]) -> None:
    body = {"state": at("a"), "episode_id": "e", **change}
    code = "number_out_of_range" if "target_feature" in change else "invalid_request"
    refused(sqlite_client.post("/oak/predict", json=body), 422, code)
    post(sqlite_client, "/oak/episode", run("e", "a", "end", success=True))
    assert calibration(sqlite_client)["predictions"] == 0


def test_odds_are_the_same_after_a_restart(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with TestClient(make_app(plain_settings(tmp_path)), base_url="http://localhost") as client:
            if not found:
                taught(client)
            found.append(predict(client, "start", agent="ann", steps_taken=0))
    assert found[0] == found[1]


def test_vectors_find_their_state(sqlite_client: TestClient) -> None:
    dimension = plain_settings(Path()).memory_dim
    near, far = ([float(k == place) for k in range(dimension)] for place in (0, 1))
    step = {"state": {"vector": near}, "action": "go"}
    post(sqlite_client, "/oak/episode", {"steps": [step], "final": {"vector": far}, "success": True})
    close = [1.0, 0.01, *near[2:]]
    found = post(sqlite_client, "/oak/predict", {"state": {"vector": close}})
    assert (found["basis"], found["episodes"]) == ("state", 1)
    other = post(sqlite_client, "/oak/predict", {"state": {"vector": [0.0, 0.0, 1.0, *near[3:]]}})
    assert other["basis"] == "prior"
