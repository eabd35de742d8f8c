"""Consolidation over HTTP: what is answered about it, and what plans and actions make of its options."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app
from tests.conftest import plain_settings
from tests.grids import GOAL, MOVES, cell, moved, walk, walks
from tests.integration.test_api import plan, refused

NEVER = 1_000_000
WAIT_S = 30.0


@pytest.fixture
def quiet(settings: Settings) -> Iterator[TestClient]:
    """The application on each engine, which consolidates only when it is asked to."""
    changed = settings.model_copy(update={"oak_consolidate_episodes": NEVER})
    with TestClient(make_app(changed), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[TestClient]:
    """The application on SQLite with options worked out of 60 walks."""
    settings = plain_settings(tmp_path, oak_consolidate_episodes=NEVER)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        client.post("/oak/episodes", json=walks(0, 60)).raise_for_status()
        consolidated(client)
        yield client


def consolidated(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/oak/consolidate", json={"wait": True, "timeout_s": WAIT_S, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def discovered(client: TestClient, **more: Any) -> dict[str, dict[str, Any]]:
    parameters = {"source": "discovered", "limit": 200, **more}
    return {one["option_id"]: one for one in client.get("/oak/options", params=parameters).json()["options"]}


def toward(client: TestClient, place: tuple[int, int]) -> str:
    """The discovered option that leads to a cell."""
    return next(name for name, one in discovered(client).items() if one["target"] == cell(place))


def act(client: TestClient, place: Any, target: Any, **more: Any) -> dict[str, Any]:
    response = client.post("/oak/act", json={"state": place, "target_feature": target, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_what_is_said_of_a_consolidation(quiet: TestClient) -> None:
    nothing = {
        "state": "idle",
        "done": 0,
        "total": 0,
        "requested": 0,
        "through_sequence": 0,
        "build": 0,
        "episodes_since": 0,
        "started_at": None,
        "finished_at": None,
        "problem": None,
        "result": None,
    }
    assert consolidated(quiet) == nothing
    assert quiet.get("/oak/consolidation", params={"namespace": "none"}).json() == nothing
    quiet.post("/oak/episodes", json=walks(0, 30)).raise_for_status()
    assert quiet.get("/oak/consolidation").json() == nothing | {"episodes_since": 30}
    first = consolidated(quiet)
    options = discovered(quiet)
    assert first["result"] | {"seconds": 0} == {
        "options": len(options),
        "created": len(options),
        "changed": 0,
        "retired": 0,
        "states": len(quiet.get("/oak/states").json()["states"]),
        "seconds": 0,
        "model_version": 30 + len(options) + 1,
    }
    assert first == first | {"state": "idle", "done": len(options), "total": len(options), "through_sequence": 30}
    assert (first["build"], first["episodes_since"], first["problem"]) == (1, 0, None)
    assert first["started_at"] <= first["finished_at"]
    assert quiet.get("/oak/consolidation").json() == first
    events = quiet.get("/events", params={"limit": 1000}).json()["events"]
    assert [event["type"] for event in events[30:]] == ["OptionCreated"] * len(options) + ["ModelConsolidated"]
    payload = events[-1]["payload"]
    assert payload == payload | {"through_sequence": 30, "build": 1, "created": len(options), "radius": 12}
    for option in options.values():
        assert (option["status"], option["version"], option["policy_version"]) == ("active", 1, 1)
        assert (option["executions"], option["success_rate"], option["utility"]) == (0, None, 0.0)
        assert option["name"] == ", ".join(f"{name}={value}" for name, value in option["target"]["features"].items())


def test_nothing_new_changes_nothing(quiet: TestClient) -> None:
    quiet.post("/oak/episodes", json=walks(0, 30)).raise_for_status()
    consolidated(quiet)
    before = quiet.get("/oak/model").content, quiet.get("/events", params={"limit": 1000}).content, discovered(quiet)
    for _ in range(3):
        answer = consolidated(quiet)
        assert answer["result"] | {"seconds": 0, "options": 0, "states": 0} == {
            "options": 0,
            "created": 0,
            "changed": 0,
            "retired": 0,
            "states": 0,
            "seconds": 0,
            "model_version": answer["through_sequence"],
        }
    after = quiet.get("/oak/model").content, quiet.get("/events", params={"limit": 1000}).content, discovered(quiet)
    assert after == before


def test_it_runs_by_itself_after_enough_episodes(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path, oak_consolidate_episodes=5)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        client.post("/oak/episodes", json=walks(0, 4)).raise_for_status()
        time.sleep(3 * settings.oak_consolidation_interval_s)
        assert client.get("/oak/consolidation").json()["build"] == 0
        for due, first in ((5, 4), (10, 5)):
            client.post("/oak/episodes", json=walks(first, due - first)).raise_for_status()
            deadline = time.monotonic() + WAIT_S
            while (found := client.get("/oak/consolidation").json())["build"] < due / 5:
                assert time.monotonic() < deadline, found
                time.sleep(0.02)
            assert (found["build"], found["episodes_since"]) == (due / 5, 0)


def test_requests_that_are_no_requests(quiet: TestClient) -> None:
    for wrong in (
        {"wait": 1},
        {"timeout_s": 0},
        {"timeout_s": 601},
        {"timeout_s": "1"},
        {"x": 1},
        {"namespace": "a b"},
    ):
        refused(quiet.post("/oak/consolidate", json=wrong), 422, "invalid_request")


def test_plans_go_over_options(grid: TestClient) -> None:
    found = plan(grid, cell((0, 0)), cell(GOAL))
    assert found["reached"]
    assert {step["source"] for step in found["steps"]} & {"discovered", "goal"}
    assert found["steps"][-1]["to"]["facts"] == cell(GOAL)["features"]
    assert 0.9 < found["policy_probability"] <= 1
    assert plan(grid, cell((0, 0)), {"features": {"x": 4}})["reached"]


def test_acting_comes_to_the_goal(grid: TestClient) -> None:
    steps = []
    for start in ((0, 0), (0, 4), (1, 2)):
        place, running = start, None
        for _ in range(100):
            found = act(grid, cell(place), cell(GOAL), top_k=20, **({} if running is None else {"option_id": running}))
            assert found["action"] in MOVES
            assert found["reason"] is None
            assert found["switched"] == (running not in {None, found["option_id"]})
            assert found["candidates"]
            assert 0 < found["success_probability"] <= 1
            running = found["option_id"]
            place = moved(place, found["action"])
            steps.append(found["source"])
            if place == GOAL:
                break
        assert place == GOAL
        done = act(grid, cell(place), cell(GOAL), option_id=running)
        assert (done["done"], done["action"], done["reason"]) == (True, None, "already_at_target")
    assert {"discovered", "goal"} & set(steps)


def test_there_is_no_way(grid: TestClient) -> None:
    nowhere = act(grid, {"features": {"x": 9, "y": 9}}, cell(GOAL))
    assert (nowhere["action"], nowhere["option_id"], nowhere["reason"], nowhere["done"]) == (
        None,
        None,
        "unknown_start",
        False,
    )
    assert act(grid, cell((0, 0)), cell((9, 9)))["reason"] == "no_goal_state"
    assert act(grid, cell(GOAL), cell((0, 0)))["reason"] == "unreachable"
    assert act(grid, {"features": {"x": 9, "y": 9}}, {"features": {"x": 9}})["done"]
    assert act(grid, cell((0, 0)), cell(GOAL), namespace="none")["reason"] == "unknown_start"


def test_an_option_that_leads_elsewhere_is_left(grid: TestClient) -> None:
    away = toward(grid, (1, 2))
    found = act(grid, cell((3, 3)), cell(GOAL), option_id=away)
    assert found["switched"]
    assert found["option_id"] != away
    for unknown in ("disc:NONE", "act:NONE", "goal:NONE", "none"):
        found = act(grid, cell((3, 3)), cell(GOAL), option_id=unknown)
        assert (found["switched"], found["action"] in MOVES) == (True, True)
    toward_goal = toward(grid, GOAL)
    assert not act(grid, cell((3, 4)), cell(GOAL), option_id=toward_goal)["switched"]
    grid.delete(f"/oak/option/{toward_goal}")
    assert act(grid, cell((3, 4)), cell(GOAL), option_id=toward_goal)["switched"]


def test_exploring_tries_what_is_untried(quiet: TestClient) -> None:
    unknown = {"state": cell((0, 0)), "target_feature": cell(GOAL), "mode": "explore"}
    assert quiet.post("/oak/act", json=unknown).json()["reason"] is not None
    place, tried = (0, 0), set()
    seen = {"steps": [{"state": cell((1, 1)), "action": move} for move in sorted(MOVES)], "final": cell((1, 1))}
    quiet.post("/oak/episode", json=seen).raise_for_status()
    elsewhere = act(quiet, cell((0, 0)), cell(GOAL), mode="explore")
    assert (elsewhere["reason"], elsewhere["action"] in MOVES) == (None, True)
    for _ in range(100):
        found = act(quiet, cell(place), cell(GOAL), mode="explore")
        if found["done"]:
            break
        assert found["action"] in MOVES, found
        there = moved(place, found["action"])
        tried.add((place, found["action"]))
        step = {"steps": [{"state": cell(place), "action": found["action"]}], "final": cell(there), "terminated": False}
        quiet.post("/oak/episode", json=step).raise_for_status()
        place = there
    assert found["done"], found
    assert len(tried) < 100


def test_runs_of_an_option_join_its_prediction(grid: TestClient) -> None:
    option_id, start = toward(grid, GOAL), cell((3, 4))
    version = discovered(grid)[option_id]["version"]
    run = {"start": start, "final": cell((0, 0)), "rewards": [-1.0] * 3, "terminated_by": "failure"}
    left = []
    for _ in range(60):
        left.append(act(grid, start, cell(GOAL), option_id=option_id)["switched"])
        grid.post(f"/oak/option/{option_id}/execution", json=run).raise_for_status()
    assert not left[0]
    assert left == sorted(left)
    assert left[-1]
    after = discovered(grid)[option_id]
    assert (after["executions"], after["success_rate"], after["mean_duration"]) == (60, 0.0, 3.0)
    assert (after["version"], after["policy_version"]) == (version, 1)
    rows = grid.get(f"/oak/option/{option_id}/model", params={"limit": 200}).json()["rows"]
    executed = [row for row in rows if row["source"] == "executed"]
    assert [(row["start"]["facts"], row["executions"]) for row in executed] == [(start["features"], 60)]
    assert len(rows) > 5
    refused(grid.put(f"/oak/option/{option_id}", json={"name": "x", "target": cell(GOAL)}), 409, "option_not_declared")


def test_runs_from_where_an_option_has_no_policy(grid: TestClient) -> None:
    """An agent may run an option anywhere; where the service knows no action of it, it names none."""
    option_id = toward(grid, (1, 2))
    far = {"features": {"x": 50, "y": 50}}
    run = {"start": far, "final": cell((1, 2)), "rewards": [1.0]}
    for _ in range(3):
        grid.post(f"/oak/option/{option_id}/execution", json=run).raise_for_status()
    for start in (far, cell(GOAL)):
        grid.post(f"/oak/option/{option_id}/execution", json={**run, "start": start}).raise_for_status()
        found = plan(grid, start, cell((1, 2)))
        assert found["options"] == [option_id]
        doing = act(grid, start, cell((1, 2)), top_k=20)
        assert (doing["option_id"], doing["action"]) == (option_id, None)
        assert not act(grid, start, cell((1, 2)), option_id=option_id)["switched"]


def test_what_the_user_retired_stays_retired(grid: TestClient) -> None:
    some = sorted(discovered(grid))[:3]
    for name in some:
        assert grid.delete(f"/oak/option/{name}").status_code == 204
    model = grid.get("/oak/model").content
    for turn in range(3):
        grid.post("/oak/episodes", json=walks(60 + turn, 1)).raise_for_status()
        consolidated(grid)
        assert not set(some) & set(discovered(grid, status="active"))
    assert all(
        one["status"] == "retired" and one["version"] == 2 for name, one in discovered(grid).items() if name in some
    )
    refused(
        grid.post(
            f"/oak/option/{some[0]}/execution", json={"start": cell((0, 0)), "final": cell(GOAL), "rewards": [1]}
        ),
        409,
        "option_retired",
    )
    headers = {"content-type": "application/json"}
    grid.put("/oak/model", params={"namespace": "copy"}, content=model, headers=headers).raise_for_status()
    assert grid.get("/oak/model", params={"namespace": "copy"}).content == model
    consolidated(grid, namespace="copy")
    assert not set(some) & set(discovered(grid, namespace="copy", status="active"))


def test_declared_options_take_the_room_of_discovered_ones(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path, oak_consolidate_episodes=NEVER, oak_max_options=4)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        client.post("/oak/episodes", json=walks(0, 30)).raise_for_status()
        consolidated(client)
        assert len(discovered(client, status="active")) == 4
        for number in range(4):
            spec = {"option_id": f"mine{number}", "name": "x", "target": cell((0, number))}
            assert client.post("/oak/option/create", json=spec).status_code == 201
            consolidated(client)
            assert len(discovered(client, status="active")) <= 3 - number
        refused(client.post("/oak/option/create", json={"name": "x", "target": cell(GOAL)}), 409, "option_limit")
        client.delete("/oak/option/mine0")
        client.post("/oak/episode", json=walk(50)).raise_for_status()
        consolidated(client)
        active = client.get("/oak/options", params={"status": "active", "limit": 200}).json()["options"]
        assert sum(one["source"] != "primitive" for one in active) <= 4
        assert plan(client, cell((0, 0)), cell(GOAL))["reached"]


def test_an_exported_model_plans_the_same(grid: TestClient) -> None:
    model = grid.get("/oak/model").content
    headers = {"content-type": "application/json"}
    grid.put("/oak/model", params={"namespace": "copy"}, content=model, headers=headers).raise_for_status()
    assert grid.get("/oak/model", params={"namespace": "copy"}).content == model
    aside = {"planning_ms": 0, "model_version": 0}
    for place in ((0, 0), (1, 4), (3, 1)):
        one, two = (plan(grid, cell(place), cell(GOAL), namespace=name) | aside for name in ("default", "copy"))
        assert one == two
    assert consolidated(grid, namespace="copy")["result"]["changed"] == 0
    assert grid.get("/oak/model", params={"namespace": "copy"}).content == model
