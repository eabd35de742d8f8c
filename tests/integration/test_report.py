"""What a report reads from the database: the runs as they were reported, on each engine."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import open_store
from somabrain.oak.learning import facts
from somabrain.oak.model import Facts
from somabrain.oak.reporting import actions_of, known_of, states_of
from somabrain.report import Findings, Known, findings
from somabrain.tenancy import Namespace, TenantId

LOCAL = TenantId("local")


def read(settings: Settings, namespace: str = "default", goal: Facts | None = None) -> Known:
    with open_store(settings) as store, store.read(LOCAL) as tx:
        record = tx.namespace(Namespace(namespace))
        assert record is not None
        return known_of(tx, record, goal=goal, progress=lambda _: None)


def named(settings: Settings, found: Findings) -> tuple[dict[int, Any], dict[int, str]]:
    with open_store(settings) as store, store.read(LOCAL) as tx:
        record = tx.namespace(Namespace(found.namespace))
        assert record is not None
        return states_of(tx, record, found), actions_of(tx, record, found)


def state(**values: Any) -> dict[str, Any]:
    return {"features": values}


def episode(number: int, way: str, *, success: bool | None, **changes: Any) -> dict[str, Any]:
    """From the door by `way` to a room of that name."""
    steps = [{"state": state(at="door"), "action": way}, {"state": state(at=way), "action": {"tool": "look"}}]
    final = state(at=f"end of {way}")
    return {"episode_id": f"run-{number}", "steps": steps, "final": final, "success": success, **changes}


def post(client: TestClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code < 300, answer.text
    return dict(answer.json())


def test_runs_are_read_as_they_were_reported(settings: Settings, client: TestClient) -> None:
    post(client, "/oak/episode", episode(1, "left", success=True, agent="ann", group="g"))
    post(client, "/oak/episode", episode(2, "right", success=False, terminated=True))
    post(client, "/oak/episode", episode(3, "right", success=None))
    post(client, "/oak/episode", episode(4, "right", success=None))
    post(client, "/oak/episode/run-3/outcome", {"success": True})
    together = episode(5, "left", success=None)
    together["steps"] = [{**step, "turn": 2} for step in together["steps"]]
    post(client, "/oak/episode", together)
    post(client, "/oak/episode", {**episode(6, "up", success=True), "namespace": "other"})
    found = read(settings)
    assert (found.namespace, found.prototypes, len(found.runs)) == ("default", 5, 5)
    assert [run.success for run in found.runs] == [True, False, True, None, None]
    assert [run.ended for run in found.runs] == [True, True, True, False, False]
    assert [list(run.states) for run in found.runs] == [[0, 1, 2], [0, 3, 4], [0, 3, 4], [0, 3, 4], [0, 1, 2]]
    assert [list(run.turns) for run in found.runs] == [[0, 1], [0, 1], [0, 1], [0, 1], [2, 2]]
    assert (found.runs[0].agent, found.runs[0].group, found.runs[1].agent) == ("ann", "g", None)
    assert {tool.action: tool.taken for tool in found.tools} == {0: 2, 1: 5, 2: 3}
    states, actions = named(settings, findings(found))
    assert states[0] == {"at": "door"}
    assert {actions[number] for number in (0, 1, 2)} == {"left", '{"tool":"look"}', "right"}


def test_a_goal_says_what_success_is(settings: Settings, client: TestClient) -> None:
    for number, way in enumerate(("left", "right", "left")):
        post(client, "/oak/episode", episode(number, way, success=None))
    post(client, "/oak/episode", episode(9, "right", success=True))
    assert [run.success for run in read(settings).runs] == [None, None, None, True]
    toward = read(settings, goal=facts({"at": "left"}))
    assert toward.goal == "at=left"
    assert [run.success for run in toward.runs] == [True, False, True, False]
    assert [list(run.states) for run in toward.runs] == [[0, 1], [0, 3, 4], [0, 1], [0, 3, 4]]
    assert [run.ended for run in toward.runs] == [True, False, True, True]
    assert not any(run.success for run in read(settings, goal=facts({"at": "moon"})).runs)


def test_a_namespace_that_began_anew_forgets_its_runs(settings: Settings, client: TestClient) -> None:
    post(client, "/oak/episode", episode(1, "left", success=True))
    assert client.delete("/oak/namespace/default").status_code == 204
    post(client, "/oak/episode", episode(2, "right", success=False))
    found = read(settings)
    assert [(run.success, list(run.states)) for run in found.runs] == [(False, [0, 1, 2])]
    model = client.get("/oak/model").json()
    put = client.put("/oak/model", params={"namespace": "copy"}, json=model)
    assert put.status_code < 300, put.text
    post(client, "/oak/episode", {**episode(3, "right", success=True), "namespace": "copy"})
    assert [(run.success, list(run.states)) for run in read(settings, "copy").runs] == [(True, [0, 1, 2])]


def test_skills_with_what_was_seen_and_what_is_expected(settings: Settings, client: TestClient) -> None:
    post(client, "/oak/option/create", {"option_id": "go", "name": "go in", "target": state(at="left")})
    for ending in ("target", "target", "failure"):
        run = {"start": state(at="door"), "final": state(at="left" if ending == "target" else "door")}
        post(client, "/oak/option/go/execution", {**run, "rewards": [-1, -1], "terminated_by": ending})
    for number in range(12):
        post(client, "/oak/episode", episode(number, "left", success=number % 4 > 0))
    post(client, "/oak/consolidate", {"wait": True, "timeout_s": 60})
    found = findings(read(settings))
    first, *rest = found.skills
    assert (first.name, first.source, first.executions, first.target) == ("go in", "declared", 3, {"at": "left"})
    assert first.success_rate == 2 / 3
    assert first.lower is not None
    assert first.upper is not None
    assert first.lower < 2 / 3 < first.upper
    assert first.evidence > 2.5
    discovered = [one for one in rest if one.source == "discovered"]
    assert discovered
    assert all(one.forecast is not None and 0 < one.forecast.probability <= 1 for one in discovered)
    end = next(one for one in discovered if one.target == {"at": "end of left"})
    assert end.forecast is not None
    assert (end.forecast.starts, end.executions, end.success_rate) == (2, 0, None)


def test_odds_that_were_told_live_are_in_it(settings: Settings, client: TestClient) -> None:
    for number in range(6):
        post(client, "/oak/episode", episode(number, "left", success=number % 2 == 0))
    asked = {"state": state(at="door"), "steps_taken": 0, "episode_id": "run-7"}
    told = post(client, "/oak/predict", asked)["success_probability"]
    assert findings(read(settings)).live.predictions == 0
    post(client, "/oak/episode", episode(7, "left", success=False))
    live = findings(read(settings)).live
    assert (live.predictions, live.episodes) == (1, 1)
    assert live.brier is not None
    assert abs(live.brier - told**2) < 1e-9


def test_what_roles_stood_for_is_told_by_their_names(settings: Settings, client: TestClient) -> None:
    body = episode(1, "to mug 1", success=True, roles={"thing": "mug 1"})
    body["steps"][0]["state"] = state(at="door", price="5 $")
    post(client, "/oak/episode", body)
    states, actions = named(settings, findings(read(settings)))
    assert states[0] == {"at": "door", "price": "5 $"}
    assert "thing" in actions[0]
    assert "mug 1" not in actions[0]
