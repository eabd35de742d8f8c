"""The edges of learning from episodes: primitives as options, limits, wild numbers, many writers, other tenants."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.testclient import TestClient

from somabrain.bootstrap import make_app
from tests.conftest import plain_settings
from tests.integration.test_api import refused
from tests.integration.test_episodes import at, body, learned, model, post, step, stored, tell
from tests.integration.test_identity import make_key

WRITERS = 8


def test_primitives_are_options_of_the_service(sqlite_client: TestClient) -> None:
    client = sqlite_client
    goal = at("goal")
    client.post("/oak/option/create", json={"option_id": "mine", "name": "mine", "target": goal})
    learned(client, body("a", "goal"))
    [option] = client.get("/oak/options", params={"source": "primitive"}).json()["options"]
    path = f"/oak/option/{option['option_id']}"
    assert client.get(path).json() == option
    assert (option["source"], option["status"], option["policy"]) == ("primitive", "active", {"action": "go"})
    refused(client.put(path, json={"name": "x", "target": goal}), 409, "option_not_declared")
    refused(client.delete(path), 409, "option_is_primitive")
    run = {"start": at("a"), "final": goal, "rewards": [1]}
    refused(client.post(f"{path}/execution", json=run), 409, "option_is_primitive")
    hits = client.post("/oak/option/search", json={"query": goal, "min_similarity": -1}).json()["hits"]
    assert [hit["option"]["option_id"] for hit in hits] == ["mine"]
    declared = client.get("/oak/options", params={"source": "declared"}).json()["options"]
    assert [one["option_id"] for one in declared] == ["mine"]


def test_an_import_has_primitives_as_they_can_be(sqlite_client: TestClient) -> None:
    client = sqlite_client
    goal = at("goal")
    client.post("/oak/option/create", json={"option_id": "mine", "name": "mine", "target": goal})
    client.post("/oak/option/mine/execution", json={"start": at("a"), "final": goal, "rewards": [1]})
    learned(client, body("a", "goal"))
    model = client.get("/oak/model").json()
    [action] = model["primitives"]["actions"]
    wrong = [
        {**model, "rows": [{**model["rows"][0], "option_id": action}]},
        {**model, "options": [{**part, "status": "retired"} for part in model["options"]]},
    ]
    for document, part in zip(wrong, ("rows", "primitives"), strict=True):
        answer = client.put("/oak/model", params={"namespace": "x"}, json=document)
        assert refused(answer, 422, "invalid_request")["errors"][0]["loc"][0] == part
    assert client.put("/oak/model", params={"namespace": "x"}, json=model).status_code == 200


def test_primitives_take_no_room_from_options(tmp_path: Path) -> None:
    with TestClient(make_app(plain_settings(tmp_path, oak_max_options=2)), base_url="http://localhost") as client:
        learned(client, {"steps": [step("a", f"go {number}") for number in range(9)], "final": at("b")})
        spec = {"name": "x", "target": at("b")}
        assert [client.post("/oak/option/create", json=spec).status_code for _ in range(3)] == [201, 201, 409]


def test_limits_write_nothing(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path, oak_max_actions=2, oak_max_prototypes=3)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        learned(client, body("a", "b"))
        before = stored(client)
        crowd = {"steps": [step("a", "x"), step("a", "y")], "final": at("a")}
        problem = refused(client.post("/oak/episodes", json={"episodes": [body("a", "c"), crowd]}), 409, "action_limit")
        assert problem["errors"][0]["loc"][:2] == ["episodes", 1]
        refused(post(client, crowd), 409, "action_limit")
        refused(post(client, body("a", "c", "d")), 409, "state_limit")
        refused(client.post("/oak/episodes", json={"episodes": [body("a", "c"), body("d", "a")]}), 409, "state_limit")
        assert stored(client) == before
        full = learned(client, {"steps": [step("a", "x"), step("a", "go")], "final": at("c")})
        assert (full["prototypes_created"], full["actions_created"]) == (1, 1)


def test_texts_and_vectors_are_states(client: TestClient) -> None:
    east, near = [1.0] + [0.0] * 255, [1.0, 0.1] + [0.0] * 254
    north = [0.0, 2e15 / 3] + [0.0] * 254
    sent = {
        "steps": [
            {"state": {"vector": east}, "action": "go"},
            {"state": {"vector": near}, "action": "go"},
            {"state": {"text": "a long way to the station"}, "action": "go"},
        ],
        "final": {"vector": north},
        "success": True,
    }
    answer = learned(client, sent)
    assert (answer["prototypes_created"], answer["transitions"]) == (3, 3)
    rows = model(client)["primitives"]["rows"]
    assert [(row["start"], row["outcomes"]) for row in rows] == [(0, [[0, 1], [1, 1]]), (1, [[2, 1]])]
    found = client.post("/oak/plan", json={"start_state": {"vector": near}, "target_feature": {"vector": north}}).json()
    assert found["reached"], found


def test_rewards_that_are_no_rewards(sqlite_client: TestClient) -> None:
    episode = json.dumps({"steps": [step("a", reward=12345.5)], "final": at("b")})
    for text, code in (("NaN", "invalid_json"), ("1e999", "invalid_json"), ("-Infinity", "invalid_json")):
        headers = {"content-type": "application/json"}
        wrong = episode.replace("12345.5", text)
        refused(sqlite_client.post("/oak/episode", content=wrong, headers=headers), 400, code)
    for reward in (1.0000001e9, -1.0000001e9, 10**40):
        refused(
            post(sqlite_client, {"steps": [step("a", reward=reward)], "final": at("b")}), 422, "number_out_of_range"
        )
    assert stored(sqlite_client)[1] == 0
    for reward in (1e9, -1e9, 10**9, 1e-300):
        learned(sqlite_client, {"steps": [step("a", reward=reward)] * 3, "final": at("b")})
    row = model(sqlite_client)["primitives"]["rows"][0]
    assert (row["reward"], row["loss"]) == (3e9, 3e9)
    found = sqlite_client.post("/oak/plan", json={"start_state": at("a"), "target_feature": at("b")}).json()
    assert found["reached"]
    assert sqlite_client.post("/oak/consolidate", json={"wait": True}).json()["state"] == "idle"


def test_concurrent_identical_episodes_count_once(client: TestClient) -> None:
    sent = {**body("a", "b", "c"), "episode_id": "e"}
    other = {**body("a", "b", "x"), "episode_id": "e"}
    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(lambda one: post(client, one), [sent] * WRITERS))
        assert {answer.content for answer in answers} == {answers[0].content}
        outcomes = list(pool.map(lambda _: tell(client, "e", success=True), range(WRITERS)))
        mixed = list(pool.map(lambda one: post(client, one), [sent, other] * 4))
    assert sorted(one.status_code for one in outcomes) == [200] + [409] * (WRITERS - 1)
    assert [one.status_code for one in mixed] == [200, 409] * 4
    assert [row["outcomes"] for row in model(client)["primitives"]["rows"]] == [[[1, 1]], [[2, 1]]]
    assert client.get("/events").json()["next"] == 2


def test_concurrent_episodes_number_states_and_actions_without_gaps(client: TestClient) -> None:
    def live(number: int) -> int:
        episode = {"steps": [step(f"s{number % 5}", f"act {number % 7}")], "final": at(f"s{(number * 3) % 11}")}
        return int(learned(client, episode)["model_version"])

    with ThreadPoolExecutor(WRITERS) as pool:
        versions = list(pool.map(live, range(48)))
    assert sorted(versions) == list(range(1, 49))
    known = model(client)
    assert len(known["primitives"]["actions"]) == 7
    assert len(known["prototypes"]) == 11
    assert sum(count for row in known["primitives"]["rows"] for _, count in row["outcomes"]) == 48


def test_a_foreign_tenant_sees_and_changes_nothing(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    headers = {name: make_key(keys, name, "brain_admin") for name in ("alice", "bob")}
    settings = plain_settings(tmp_path, auth_mode="keys", somabrain_keys_file=keys)
    with TestClient(make_app(settings), base_url="http://localhost") as client:

        def become(name: str) -> None:
            client.headers.update(headers[name])

        become("alice")
        learned(client, {**body("secret", "goal"), "episode_id": "e"})
        client.post("/oak/consolidate", json={"wait": True})
        before = stored(client)
        become("bob")
        nothing = stored(client)
        refused(client.get("/oak/episode/e"), 404, "episode_not_found")
        refused(tell(client, "e", success=True), 404, "episode_not_found")
        assert client.get("/oak/consolidation").json()["result"] is None
        assert client.get("/oak/diagnosis").json()["episodes"] == 0
        assert client.post("/oak/consolidate", json={"wait": True}).json()["build"] == 0
        act = client.post("/oak/act", json={"state": at("secret"), "target_feature": at("goal")}).json()
        assert (act["reason"], act["action"]) == ("unknown_start", None)
        assert stored(client) == nothing
        assert learned(client, {**body("x", "y", "z"), "episode_id": "e"})["prototypes_created"] == 3
        assert tell(client, "e", success=True).status_code == 200
        client.delete("/oak/namespace/default")
        become("alice")
        assert stored(client) == before
        assert client.get("/oak/episode/e").json()["outcome"] is None


def test_metrics_count_an_episode_once(sqlite_client: TestClient) -> None:
    won = {**body("a", "b", success=True), "episode_id": "won"}
    for _ in range(3):
        learned(sqlite_client, won)
    batch = [won, {**body("a", "c"), "episode_id": "cut"}, {**body("a", "c"), "episode_id": "cut"}]
    sqlite_client.post("/oak/episodes", json={"episodes": batch}).raise_for_status()
    learned(sqlite_client, body("a", "b", success=False))
    text = sqlite_client.get("/metrics").text
    for outcome in ("success", "failure", "unknown"):
        assert f'oak_episodes_total{{outcome="{outcome}"}} 1.0' in text
