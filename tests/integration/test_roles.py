"""Roles over HTTP: what is learned with one thing serves another, and every answer tells the request's own values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app
from tests.conftest import plain_settings
from tests.integration.test_api import refused
from tests.integration.test_replay import replayed

APPLE = {"object": "apple 2", "place": "fridge 1"}
MUG = {"object": "mug 1", "place": "fridge 1"}
BOOK = {"object": "book 7", "place": "shelf 3"}


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    """SQLite, and consolidation only where it is asked for."""
    return plain_settings(tmp_path, oak_consolidate_episodes=1_000_000)


@pytest.fixture
def client(chosen: Settings) -> Iterator[TestClient]:
    """The application."""
    with TestClient(make_app(chosen), base_url="http://localhost") as client:
        yield client


def see(**facts: Any) -> dict[str, Any]:
    return {"features": facts}


def put(roles: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An episode in which the object is taken from the table and put in the place."""
    thing, place = roles["object"], roles["place"]
    return {
        "steps": [
            {"state": see(holding="nothing", on="table"), "action": {"do": "take", "what": [thing]}},
            {"state": see(holding=thing, on="nothing"), "action": f"put {thing} in {place}"},
        ],
        "final": see(holding="nothing", on=place),
        "success": True,
        "roles": roles,
        **more,
    }


def posted(client: TestClient, path: str, body: Any) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def planned(client: TestClient, roles: dict[str, Any] | None, **more: Any) -> Any:
    """The plan to where the object is in its place; its alternative takes the actions one by one."""
    body = {
        "start_state": see(holding="nothing", on="table"),
        "target_feature": see(on=(roles or {}).get("place", "nowhere")),
        "alternatives": 1,
        **({} if roles is None else {"roles": roles}),
        **more,
    }
    return posted(client, "/oak/plan", body)


def by_action(found: Any) -> list[dict[str, Any]]:
    """The steps of a plan that takes the actions one by one."""
    steps: list[dict[str, Any]] = found["alternatives"][0]["steps"]
    assert {step["source"] for step in steps} == {"primitive"}
    return steps


def stored(client: TestClient) -> Any:
    return json.loads(client.get("/oak/model").content)


def test_two_things_teach_one_skill(client: TestClient) -> None:
    first = posted(client, "/oak/episode", put(APPLE))
    second = posted(client, "/oak/episode", put(MUG))
    assert (first["prototypes_created"], first["actions_created"]) == (3, 2)
    assert (second["prototypes_created"], second["prototypes_known"], second["actions_created"]) == (0, 3, 0)
    states = [state["facts"] for state in client.get("/oak/states").json()["states"]]
    assert states == [
        {"holding": "nothing", "on": "table"},
        {"holding": "$object", "on": "nothing"},
        {"holding": "nothing", "on": "$place"},
    ]
    options = client.get("/oak/options").json()["options"]
    assert sorted(option["name"] for option in options) == ["put $object in $place", '{"do":"take","what":["$object"]}']
    assert {option["executions"] for option in options} == {2}


def test_a_plan_tells_this_requests_values(client: TestClient) -> None:
    posted(client, "/oak/episodes", {"episodes": [put(APPLE), put(MUG)]})
    found = planned(client, BOOK)
    assert (found["reached"], found["unbound"]) == (True, [])
    assert found["steps"][0]["to"]["facts"] == {"holding": "nothing", "on": "shelf 3"}
    steps = by_action(found)
    assert [step["policy"] for step in steps] == [
        {"action": {"do": "take", "what": ["book 7"]}},
        {"action": "put book 7 in shelf 3"},
    ]
    assert [step["name"] for step in steps] == ['{"do":"take","what":["book 7"]}', "put book 7 in shelf 3"]
    assert steps[0]["to"]["facts"] == {"holding": "book 7", "on": "nothing"}
    assert steps[1]["to"]["facts"] == {"holding": "nothing", "on": "shelf 3"}
    assert steps[1]["executions"] == 2
    assert "$" not in json.dumps(found)


def test_act_tells_this_requests_values(client: TestClient) -> None:
    posted(client, "/oak/episode", put(APPLE))
    body = {
        "state": see(holding="book 7", on="nothing"),
        "target_feature": see(on="shelf 3"),
        "top_k": 5,
        "roles": BOOK,
    }
    doing = posted(client, "/oak/act", body)
    assert (doing["action"], doing["unbound"]) == ("put book 7 in shelf 3", [])
    assert {one["action"] for one in doing["candidates"]} == {"put book 7 in shelf 3"}
    assert "$" not in json.dumps(doing)
    there = posted(client, "/oak/act", {**body, "state": see(holding="nothing", on="shelf 3")})
    assert (there["done"], there["action"], there["unbound"]) == (True, None, [])


def test_what_has_no_value_is_told_by_its_name(client: TestClient) -> None:
    posted(client, "/oak/episode", put(APPLE))
    found = planned(client, {"place": "shelf 3"})
    assert found["unbound"] == ["object"]
    assert by_action(found)[1]["policy"] == {"action": "put $object in shelf 3"}
    lost = planned(client, None)
    assert (lost["reason"], lost["unbound"]) == ("no_goal_state", ["object", "place"])
    assert lost["frontier"][0]["actions"] == ["put $object in $place"]
    unknown = planned(client, BOOK, start_state=see(holding="book 7"))
    assert unknown["reason"] == "unknown_start"
    assert unknown["nearest"][0]["facts"] == {"holding": "book 7", "on": "nothing"}
    assert unknown["nearest"][0]["differs"] == ["on"]
    tried = {"state": see(holding="nothing", on="table"), "target_feature": see(on="x"), "mode": "explore"}
    doing = posted(client, "/oak/act", tried)
    assert (doing["action"], doing["name"]) == ("put $object in $place", "put $object in $place")
    assert doing["unbound"] == ["object", "place"]
    doing = posted(client, "/oak/act", tried | {"roles": BOOK})
    assert (doing["action"], doing["name"]) == ("put book 7 in shelf 3", "put book 7 in shelf 3")
    assert (doing["policy"], doing["unbound"]) == ({"action": "put book 7 in shelf 3"}, [])


def test_a_discovered_option_is_named_by_this_requests_values(client: TestClient) -> None:
    posted(client, "/oak/episodes", {"episodes": [put(APPLE) for _ in range(3)]})
    assert posted(client, "/oak/consolidate", {"wait": True})["result"]["options"] > 0
    [known] = [
        option
        for option in client.get("/oak/options?source=discovered").json()["options"]
        if option["target"]["features"]["on"] == "$place"
    ]
    assert known["name"] == "holding=nothing, on=$place"
    doing = posted(
        client,
        "/oak/act",
        {
            "state": see(holding="nothing", on="table"),
            "target_feature": see(on="shelf 3"),
            "roles": BOOK,
            "option_id": known["option_id"],
        },
    )
    assert doing["action"] == {"do": "take", "what": ["book 7"]}
    assert doing["name"] in {"holding=nothing, on=shelf 3", '{"do":"take","what":["book 7"]}'} | {doing["option_id"]}
    assert doing["unbound"] == []


def test_an_episode_is_given_back_as_it_was_reported(client: TestClient) -> None:
    body = put(APPLE, episode_id="apple")
    first = posted(client, "/oak/episode", body)
    again = client.get("/oak/episode/apple").json()
    assert [(step["state"], step["action"]) for step in again["steps"]] == [
        (step["state"], step["action"]) for step in body["steps"]
    ]
    assert (again["final"], again["roles"]) == (body["final"], APPLE)
    assert posted(client, "/oak/episode", body) == first
    refused(client.post("/oak/episode", json=put(MUG, episode_id="apple")), 409, "episode_conflict")
    bare = {name: value for name, value in body.items() if name != "roles"}
    refused(client.post("/oak/episode", json=bare), 409, "episode_conflict")
    posted(client, "/oak/episode", {**bare, "episode_id": "bare"})
    assert client.get("/oak/episode/bare").json()["roles"] == {}
    open_ended = {name: value for name, value in body.items() if name != "success"} | {"episode_id": "open"}
    posted(client, "/oak/episode", open_ended)
    posted(client, "/oak/episode/open/outcome", {"success": True})
    assert client.get("/oak/episode/open").json()["outcome"]["success"] is True


def test_runs_and_a_target_about_roles(client: TestClient) -> None:
    declared = {
        "option_id": "put",
        "name": "put $object",
        "target": see(on="fridge 1"),
        "policy": {"say": "$object for $$5"},
        "roles": APPLE,
    }
    created = client.post("/oak/option/create", json=declared)
    assert created.status_code == 201
    assert created.json()["target"] == see(on="$place")
    run = {"start": see(on="table"), "final": see(on="fridge 1"), "rewards": [1]}
    first = posted(client, "/oak/option/put/execution", {**run, "roles": APPLE})
    assert first["feature_reward"] == 1.0
    other = {**run, "final": see(on="shelf 3"), "roles": BOOK, "option_id": "put"}
    [second] = posted(client, "/oak/executions", {"executions": [other]})["results"]
    assert (second["outcome"], second["feature_reward"]) == (first["outcome"], 1.0)
    found = planned(client, MUG, start_state=see(on="table"))
    [step] = found["steps"]
    assert (step["to"]["facts"], step["executions"]) == ({"on": "fridge 1"}, 2)
    assert (step["name"], step["policy"]) == ("put $object", {"say": "$object for $$5"})
    assert found["unbound"] == []
    replaced = client.put("/oak/option/put", json={**declared, "target": see(on="shelf 3"), "roles": BOOK})
    assert (replaced.json()["target"], replaced.json()["policy_version"]) == (see(on="$place"), 1)


@pytest.mark.parametrize("roles", [None, {}, {"object": "apple 2"}])
@pytest.mark.parametrize("price", ["$5", "$$", "$object", "${object}", "a$"])
def test_a_dollar_sign_comes_back(client: TestClient, price: str, roles: dict[str, str] | None) -> None:
    about = {} if roles is None else {"roles": roles}
    paid = see(price=price, paid=True)
    episode = {
        "episode_id": "pay",
        "steps": [{"state": see(price=price), "action": {"pay": [price]}}],
        "final": paid,
        **about,
    }
    posted(client, "/oak/episode", episode)
    assert stored(client)["prototypes"][0]["features"] == {"price": price.replace("$", "$$")}
    assert [state["facts"] for state in client.get("/oak/states").json()["states"]] == [
        see(price=price)["features"],
        paid["features"],
    ]
    [option] = client.get("/oak/options").json()["options"]
    assert (option["policy"], option["name"]) == (
        {"action": {"pay": [price]}},
        json.dumps({"pay": [price]}).replace(" ", ""),
    )
    assert client.get(f"/oak/option/{option['option_id']}").json() == option
    detail = client.get("/oak/state/0").json()
    assert (detail["facts"], detail["options"][0]["outcomes"][1]["facts"]) == ({"price": price}, paid["features"])
    assert client.get("/oak/episode/pay").json()["steps"][0]["action"] == {"pay": [price]}
    for asked in ({}, {"roles": {"object": "mug 1"}}):
        found = posted(client, "/oak/plan", {"start_state": see(price=price), "target_feature": paid, **asked})
        assert found["steps"][0]["policy"] == {"action": {"pay": [price]}}
        assert (found["steps"][0]["to"]["facts"], found["unbound"]) == (paid["features"], [])
    declared = {"option_id": "pay", "name": price, "target": see(price=price), "policy": {"say": price}}
    created = client.post("/oak/option/create", json=declared).json()
    assert (created["target"], created["policy"], created["name"]) == (see(price=price), {"say": price}, price)
    run = {"start": see(price="none"), "final": see(price=price), "rewards": [1], **about}
    assert posted(client, "/oak/option/pay/execution", run)["feature_reward"] == 1.0
    [hit, *_] = posted(client, "/oak/option/search", {"query": see(price=price), "min_similarity": 0.9})["hits"]
    assert (hit["similarity"], hit["option"]["target"]) == (1.0, see(price=price))


def test_numbers_come_back_as_numbers(client: TestClient) -> None:
    def floor(number: int) -> dict[str, Any]:
        return {
            "episode_id": f"to-{number}",
            "steps": [{"state": see(at=0), "action": {"press": number, "label": str(number)}}],
            "final": see(at=number, sign=f"floor {number}"),
            "roles": {"floor": number},
        }

    posted(client, "/oak/episodes", {"episodes": [floor(3), floor(9)]})
    assert len(client.get("/oak/states").json()["states"]) == 2
    assert client.get("/oak/episode/to-9").json()["steps"][0]["action"] == {"press": 9, "label": "9"}
    found = posted(client, "/oak/plan", {"start_state": see(at=0), "target_feature": see(at=5), "roles": {"floor": 5}})
    assert found["steps"][0]["policy"] == {"action": {"press": 5, "label": "5"}}
    assert found["steps"][0]["to"]["facts"] == {"at": 5, "sign": "floor 5"}


def test_texts_and_vectors_stay_as_they_are(client: TestClient) -> None:
    episode = {
        "steps": [{"state": {"text": "the apple 2 costs $5"}, "action": "go"}],
        "final": {"text": "nobody is anywhere"},
        "roles": {"object": "apple 2"},
    }
    posted(client, "/oak/episode", episode)
    assert client.get("/oak/state/0").json()["text"] == "the apple 2 costs $5"
    found = posted(
        client,
        "/oak/plan",
        {
            "start_state": {"text": "the apple 2 costs $5"},
            "target_feature": {"text": "nobody is anywhere"},
            "roles": {"object": "mug 1"},
        },
    )
    assert (found["steps"][0]["from"]["text"], found["unbound"]) == ("the apple 2 costs $5", [])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"a": "x", "b": "x"}, "invalid_request"),
    ({"a": 7, "b": "7"}, "invalid_request"),
    ({f"r{number}": f"v{number}" for number in range(17)}, "invalid_request"),
    ({"a b": "x"}, "invalid_request"),
    ({"a": ""}, "invalid_request"),
    ({"a": True}, "invalid_request"),
    ({"a": None}, "invalid_request"),
    ({"a": ["x"]}, "invalid_request"),
    ({"a": 2**60}, "number_out_of_range"),
]


@pytest.mark.parametrize(("roles", "code"), REFUSED)
def test_what_can_be_no_roles_is_refused(client: TestClient, roles: dict[str, Any], code: str) -> None:
    client.post("/oak/option/create", json={"option_id": "go", "name": "go", "target": see(at="b")})
    run = {"start": see(at="a"), "final": see(at="b"), "rewards": [1], "roles": roles}
    moved = {"steps": [{"state": see(at="a"), "action": "go"}], "final": see(at="b"), "roles": roles}
    fine = {name: value for name, value in moved.items() if name != "roles"}
    bodies: dict[str, Any] = {
        "/oak/plan": {"start_state": see(at="a"), "target_feature": see(at="b"), "roles": roles},
        "/oak/act": {"state": see(at="a"), "target_feature": see(at="b"), "roles": roles},
        "/oak/episode": moved,
        "/oak/episodes": {"episodes": [fine, moved]},
        "/oak/option/go/execution": run,
        "/oak/executions": {"executions": [{**run, "option_id": "go"}]},
        "/oak/option/create": {"option_id": "on", "name": "on", "target": see(at="b"), "roles": roles},
    }
    for path, body in bodies.items():
        problem = refused(client.post(path, json=body), 422, code)
        assert "roles" in problem["errors"][0]["loc"], path
    assert client.get("/oak/states").json()["states"] == []


def test_an_item_of_a_batch_is_refused_by_its_place(client: TestClient) -> None:
    twins = put(APPLE) | {"roles": {"a": "x", "b": "x"}}
    problem = refused(client.post("/oak/episodes", json={"episodes": [put(APPLE), twins]}), 422, "invalid_request")
    assert problem["errors"][0]["loc"] == ["episodes", 1, "roles", "b"]


def test_an_action_is_no_larger_stored(client: TestClient) -> None:
    def moved(action: str, **more: Any) -> Any:
        body = {"steps": [{"state": see(at="a"), "action": action}], "final": see(at="b"), **more}
        return client.post("/oak/episode", json=body)

    assert moved("7 " * 4000).status_code == 200
    problem = refused(moved("7 " * 4000, roles={"n" * 64: "7"}), 422, "invalid_request")
    assert problem["errors"][0]["loc"] == ["steps", 0, "action"]


def test_as_many_roles_as_there_may_be(client: TestClient) -> None:
    most = {f"r{number}": f"thing {number}" for number in range(16)}
    action = " ".join(most.values())
    posted(
        client,
        "/oak/episode",
        {"steps": [{"state": see(at="a"), "action": action}], "final": see(at="b"), "roles": most},
    )
    [option] = client.get("/oak/options").json()["options"]
    assert option["name"] == " ".join(f"$r{number}" for number in range(16))


def test_the_export_keeps_what_is_stored(client: TestClient) -> None:
    posted(client, "/oak/episode", put(APPLE | {"object": "apple $2"}))
    model = client.get("/oak/model").content
    assert b'"put $object in $place"' in model
    copied = client.put("/oak/model?namespace=copy", content=model, headers={"content-type": "application/json"})
    assert copied.status_code == 200
    assert client.get("/oak/model?namespace=copy").content == model
    found = planned(client, BOOK, namespace="copy")
    assert by_action(found)[1]["policy"] == {"action": "put book 7 in shelf 3"}
    assert client.get("/oak/diagnosis").status_code == 200


def test_after_a_restart_and_in_a_replay(chosen: Settings, tmp_path: Path) -> None:
    with TestClient(make_app(chosen), base_url="http://localhost") as client:
        posted(client, "/oak/episode", put(APPLE, episode_id="apple"))
    with TestClient(make_app(chosen), base_url="http://localhost") as client:
        assert by_action(planned(client, BOOK))[1]["policy"] == {"action": "put book 7 in shelf 3"}
        assert client.get("/oak/episode/apple").json()["final"] == see(holding="nothing", on="fridge 1")
        assert posted(client, "/oak/episode", put(MUG))["prototypes_created"] == 0
    before, again = replayed(chosen, tmp_path / "scratch")
    assert before == again
