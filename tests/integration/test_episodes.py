"""Episodes over HTTP, on each engine: what they teach, what they refuse, and that nothing counts twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.integration.test_api import refused

STEPS_MAX = 10_000


def at(place: Any, **more: Any) -> dict[str, Any]:
    return {"features": {"at": place, **more}}


def step(place: Any, action: Any = "go", **more: Any) -> dict[str, Any]:
    return {"state": at(place), "action": action, **more}


def body(*places: Any, **more: Any) -> dict[str, Any]:
    """An episode that goes from place to place."""
    return {"steps": [step(place) for place in places[:-1]], "final": at(places[-1]), **more}


def post(client: TestClient, episode: dict[str, Any], **headers: str) -> Any:
    return client.post("/oak/episode", json=episode, headers=headers)


def learned(client: TestClient, episode: dict[str, Any]) -> dict[str, Any]:
    response = post(client, episode)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def tell(client: TestClient, episode_id: str, **outcome: Any) -> Any:
    return client.post(f"/oak/episode/{episode_id}/outcome", json=outcome)


def model(client: TestClient, namespace: str = "default") -> dict[str, Any]:
    """The exported model, without the times of its options."""
    document: dict[str, Any] = client.get("/oak/model", params={"namespace": namespace}).json()
    for option in document["options"]:
        option["created_at"] = option["updated_at"] = ""
    return document


def stored(client: TestClient) -> tuple[bytes, int]:
    """All that an episode could have changed."""
    return client.get("/oak/model").content, client.get("/events", params={"limit": 1000}).json()["next"]


def test_what_an_episode_teaches(client: TestClient) -> None:
    episode = {**body("a", "b", "a", "b", "c"), "episode_id": "one", "group": "g", "agent": "x"}
    episode["steps"][2] |= {"action": "jump", "reward": -2, "ok": False}
    answer = learned(client, episode)
    novel = [{"step": number, "reason": "novelty", "prototype": place} for number, place in ((0, 1), (3, 2))]
    assert answer == {
        "episode_id": "one",
        "prototypes_created": 3,
        "prototypes_known": 0,
        "transitions": 4,
        "actions_created": 2,
        "salient": novel,
        "model_version": 1,
    }
    again = learned(client, body("a", "b", "d"))
    assert (again["prototypes_created"], again["prototypes_known"], again["actions_created"]) == (1, 2, 0)
    assert (again["transitions"], again["model_version"]) == (2, 2)
    assert len(again["episode_id"]) == 36
    known = model(client)
    rows = [(row["start"], row["action"], row["outcomes"]) for row in known["primitives"]["rows"]]
    assert rows == [(0, 0, [[1, 2]]), (0, 1, [[1, 1]]), (1, 0, [[0, 1], [2, 1], [3, 1]])]
    jump = known["primitives"]["rows"][1]
    assert (jump["reward"], jump["loss"], jump["refused"]) == (-2.0, 2.0, 1)
    arrivals = [(one["visits"], one["arrivals"], one["endings"]) for one in known["prototypes"]]
    assert arrivals == [(3, 1, 0), (3, 3, 0), (1, 1, 0), (1, 1, 0)]


def test_an_episode_is_given_back_as_it_was_sent(client: TestClient) -> None:
    vector = [3.0, 4.0] + [0.0] * 254
    sent: dict[str, Any] = {
        "episode_id": "x",
        "steps": [
            {"state": at(1.5, lit=True), "action": {"do": ["x", None, 1]}, "reward": 0.1, "ok": False, "salient": True},
            {"state": {"text": "a kitchen\u0000 \U0001f600"}, "action": "", "ok": True},
            {"state": {"vector": vector}, "action": "go"},
        ],
        "final": at("end"),
        "terminated": True,
        "success": None,
        "group": "g",
        "agent": "a",
        "metadata": {"deep": [{"y": None}]},
    }
    learned(client, sent)
    found = client.get("/oak/episode/x").json()
    states = [one.pop("state") for one in found["steps"]]
    assert states[:2] == [one["state"] for one in sent["steps"][:2]]
    assert [one["prototype"] for one in found["steps"]] == [0, 1, 2]
    assert found["final_prototype"] == 3
    shown = [{name: one[name] for name in ("action", "reward", "ok", "salient")} for one in found["steps"]]
    quiet = {"reward": 0.0, "ok": None, "salient": False}
    assert shown == [quiet | {name: one[name] for name in one if name != "state"} for one in sent["steps"]]
    for name in ("episode_id", "final", "terminated", "success", "group", "agent", "metadata"):
        assert found[name] == sent[name]
    assert found["outcome"] is None
    repeated = {**sent, "steps": [*sent["steps"][:2], {"state": states[2], "action": "go"}]}
    assert learned(client, repeated)["model_version"] == 1
    tell(client, "x", reward=-0.25)
    outcome = {"episode_id": "x", "success": None, "reward": -0.25, "model_version": 2}
    assert client.get("/oak/episode/x").json()["outcome"] == outcome
    refused(client.get("/oak/episode/none"), 404, "episode_not_found")
    refused(client.get("/oak/episode/x", params={"namespace": "other"}), 404, "episode_not_found")


def test_ten_thousand_steps_and_no_more(sqlite_client: TestClient) -> None:
    longest = body(*(number % 100 for number in range(STEPS_MAX + 1)))
    answer = learned(sqlite_client, longest)
    assert (answer["transitions"], answer["prototypes_created"]) == (STEPS_MAX, 100)
    before = stored(sqlite_client)
    refused(post(sqlite_client, body(*range(STEPS_MAX + 2))), 422, "invalid_request")
    refused(post(sqlite_client, body("a")), 422, "invalid_request")
    refused(sqlite_client.post("/oak/episodes", json={"episodes": [body(1, 2)] * 101}), 422, "invalid_request")
    assert stored(sqlite_client) == before
    hundred = sqlite_client.post("/oak/episodes", json={"episodes": [body(1, 2)] * 100})
    assert [one["model_version"] for one in hundred.json()["results"]] == list(range(2, 102))


def test_the_same_episode_changes_nothing(client: TestClient) -> None:
    sent = {**body("a", "b"), "episode_id": "e", "metadata": {"x": 1, "y": [1.0]}}
    sent["steps"][0] |= {"action": {"do": 1, "what": 2.5}, "reward": 2}
    first = post(client, sent)
    before = stored(client)
    turned = {
        "metadata": {"y": [1], "x": 1.0},
        "episode_id": "e",
        "final": sent["final"],
        "namespace": "default",
        "terminated": False,
        "steps": [{"salient": False, "reward": 2.0, "ok": None, "action": {"what": 2.5, "do": 1.0}, "state": at("a")}],
    }
    for repeat in (sent, turned):
        again = post(client, repeat)
        assert (again.status_code, again.content) == (200, first.content)
    tell(client, "e", success=True)
    told = stored(client)
    assert post(client, sent).content == first.content
    batch = client.post("/oak/episodes", json={"episodes": [{**body("z", "y"), "episode_id": "n"}, sent, sent]}).json()
    assert batch["results"][1:] == [first.json()] * 2
    assert batch["results"][0]["model_version"] == 3
    assert told[1] == 2
    assert client.get("/events").json()["next"] == 3
    twice = {**body("z", "q"), "episode_id": "twice"}
    batch = client.post("/oak/episodes", json={"episodes": [twice, twice]}).json()["results"]
    assert batch[0] == batch[1]
    assert (batch[0]["prototypes_created"], batch[0]["model_version"]) == (1, 4)
    assert before[1] == 1


def test_another_episode_under_a_known_id_is_refused(client: TestClient) -> None:
    sent = {**body("a", "b"), "episode_id": "e"}
    learned(client, sent)
    before = stored(client)
    others: list[dict[str, Any]] = [
        {"final": at("c")},
        {"terminated": True},
        {"success": False},
        {"group": "g"},
        {"metadata": {"x": True}},
        {"steps": [step("a", reward=1e-9)]},
        {"steps": [step("a", ok=True)]},
        {"steps": [step("a", salient=True)]},
        {"steps": [step("a", "gO")]},
        {"steps": [step("a"), step("b")]},
    ]
    for other in others:
        refused(post(client, {**sent, **other}), 409, "episode_conflict")
    batch = [body("x", "y"), {**sent, "success": True}]
    problem = refused(client.post("/oak/episodes", json={"episodes": batch}), 409, "episode_conflict")
    assert problem["errors"][0]["loc"][:2] == ["episodes", 1]
    assert stored(client) == before
    assert learned(client, {**sent, "namespace": "other", "success": True})["prototypes_created"] == 2


def test_idempotency_keys(client: TestClient) -> None:
    sent = body("a", "b")
    first = post(client, sent, **{"Idempotency-Key": "k"})
    assert post(client, sent, **{"Idempotency-Key": "k"}).content == first.content
    refused(post(client, body("a", "c"), **{"Idempotency-Key": "k"}), 409, "idempotency_conflict")
    batch = {"episodes": [sent, sent]}
    answers = [client.post("/oak/episodes", json=batch, headers={"Idempotency-Key": "b"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    episode_id = first.json()["episode_id"]
    told = [
        client.post(f"/oak/episode/{episode_id}/outcome", json={"success": True}, headers={"Idempotency-Key": "o"})
        for _ in range(2)
    ]
    assert [(one.status_code, one.content) for one in told] == [(200, told[0].content)] * 2
    refused(tell(client, episode_id, success=True), 409, "outcome_known")
    assert client.get("/events").json()["next"] == 4


def test_a_batch_is_all_or_nothing_and_names_the_index(client: TestClient) -> None:
    learned(client, body("a", "b"))
    before = stored(client)
    good = body("c", "d")
    wrong: list[tuple[dict[str, Any], str, list[Any]]] = [
        ({"final": {"vector": [0.0] * 256}}, "invalid_request", ["final"]),
        ({"steps": [step("a"), {"state": {"vector": [1.0]}, "action": "x"}]}, "invalid_request", ["steps", 1, "state"]),
        ({"final": at(2**53)}, "number_out_of_range", ["final"]),
        ({"steps": [step("a", reward=1.1e9)]}, "number_out_of_range", ["steps", 0, "reward"]),
        ({"steps": [step("a", {"x": 2**53})]}, "number_out_of_range", ["steps", 0, "action"]),
    ]
    for change, code, where in wrong:
        batch = {"episodes": [good, good, {**good, **change}]}
        problem = refused(client.post("/oak/episodes", json=batch), 422, code)
        loc = [part for part in problem["errors"][0]["loc"] if part != "body"]
        assert loc[: 2 + len(where)] == ["episodes", 2, *where]
    assert stored(client) == before
    together = client.post("/oak/episodes", json={"episodes": [good, body("d", "a"), good], "namespace": "batch"})
    singles = [learned(client, {**one, "namespace": "single"}) for one in (good, body("d", "a"), good)]
    aside = {"episode_id": "", "model_version": 0}
    assert [one | aside for one in together.json()["results"]] == [one | aside for one in singles]
    assert model(client, "batch") == model(client, "single")


@pytest.mark.parametrize(("given", "late"), [(True, {"success": True}), (False, {"success": False})])
@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("reward", [0.25, -3.0])
def test_a_late_outcome_teaches_what_one_in_time_does(
    sqlite_client: TestClient, *, given: bool, late: dict[str, Any], terminated: bool, reward: float
) -> None:
    for name, success in (("early", given), ("late", None)):
        episode = body("a", "b", "c", terminated=terminated, success=success, episode_id="e", namespace=name)
        episode["steps"][1]["reward"] = reward
        learned(sqlite_client, body("c", "a", namespace=name))
        learned(sqlite_client, episode)
    answer = tell(sqlite_client, "e", namespace="late", **late)
    assert answer.json() == {"episode_id": "e", "success": given, "reward": 0.0, "model_version": 5}
    for name in ("early", "late"):
        refused(tell(sqlite_client, "e", namespace=name, success=True), 409, "outcome_known")
        refused(tell(sqlite_client, "e", namespace=name, reward=1), 409, "outcome_known")
    assert model(sqlite_client, "late") == model(sqlite_client, "early")
    options = [
        sqlite_client.get("/oak/options", params={"namespace": name}).json()["options"] for name in ("early", "late")
    ]
    assert [option["utility"] for option in options[0]] == [option["utility"] for option in options[1]]


def test_a_late_reward_is_the_last_steps(sqlite_client: TestClient) -> None:
    def last(namespace: str) -> tuple[float, float]:
        row = model(sqlite_client, namespace)["primitives"]["rows"][-1]
        return row["reward"], row["loss"]

    cases = [(-3.0, 2.0, (-1.0, 1.0)), (-3.0, 5.0, (2.0, 0.0)), (4.0, -6.0, (-2.0, 2.0)), (1.0, -1.0, (0.0, 0.0))]
    for number, (before, extra, expected) in enumerate(cases):
        name = f"n{number}"
        learned(
            sqlite_client, {"steps": [step("a", reward=before)], "final": at("b"), "episode_id": "e", "namespace": name}
        )
        assert tell(sqlite_client, "e", reward=extra, namespace=name).status_code == 200
        assert last(name) == expected
        prototypes = model(sqlite_client, name)["prototypes"]
        assert bool(prototypes[1]["marks"] & 1) == (max(before, before + extra) > 0.5)
        assert prototypes[1]["endings"] == 0
    for wrong in (
        {},
        {"success": None},
        {"reward": 1.1e9},
        {"reward": True},
        {"success": 1},
        {"success": True, "x": 1},
    ):
        assert tell(sqlite_client, "e", **wrong).status_code == 422
    refused(tell(sqlite_client, "none", success=True), 404, "episode_not_found")


def test_a_late_reward_and_success_add_up(sqlite_client: TestClient) -> None:
    learned(sqlite_client, {**body("a", "b"), "episode_id": "e"})
    tell(sqlite_client, "e", success=True, reward=0.5)
    known = model(sqlite_client)
    assert known["primitives"]["rows"][0]["reward"] == 1.5
    assert (known["prototypes"][1]["endings"], known["prototypes"][1]["marks"] & 2) == (1, 2)


def test_what_ends_the_world_and_what_is_only_cut_off(sqlite_client: TestClient) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 0),
        ({"terminated": False}, 0),
        ({"terminated": True}, 1),
        ({"success": False}, 0),
        ({"success": False, "terminated": True}, 1),
        ({"success": True}, 1),
        ({"success": True, "terminated": False}, 1),
    ]
    for number, (change, endings) in enumerate(cases):
        learned(sqlite_client, {**body("a", "b"), **change, "namespace": f"n{number}"})
        assert model(sqlite_client, f"n{number}")["prototypes"][1]["endings"] == endings, change


def test_a_loss_is_terminal_and_never_salient(sqlite_client: TestClient) -> None:
    lost = {"steps": [step("a"), step("b", reward=9.0)], "final": at("pit"), "terminated": True, "success": False}
    salient = learned(sqlite_client, lost)["salient"]
    assert [one["prototype"] for one in salient] == [1]
    pit = model(sqlite_client)["prototypes"][2]
    assert (pit["facts"] if "facts" in pit else pit["features"], pit["endings"], pit["marks"]) == ({"at": "pit"}, 1, 0)
    late: dict[str, Any] = {**lost, "success": None, "episode_id": "e", "namespace": "late"}
    late["steps"][1]["reward"] = 0.0
    learned(sqlite_client, late)
    tell(sqlite_client, "e", success=False, reward=9.0, namespace="late")
    assert not model(sqlite_client, "late")["prototypes"][2]["marks"] & 3


def test_why_states_are_salient(sqlite_client: TestClient) -> None:
    episode = {
        "steps": [step("a", salient=True), step("b", reward=0.5), step("c", reward=0.51), step("d")],
        "final": at("e"),
        "success": True,
    }
    learned(sqlite_client, body("a", "b", "c", "d", "e"))
    salient = learned(sqlite_client, episode)["salient"]
    assert salient == [
        {"step": 0, "reason": "marked", "prototype": 0},
        {"step": 2, "reason": "reward", "prototype": 3},
        {"step": 3, "reason": "reward", "prototype": 4},
        {"step": 3, "reason": "success", "prototype": 4},
    ]
    many = {f"f{number}": number for number in range(20)}
    near = {**many, "f0": "changed"}
    known = learned(
        sqlite_client, {"steps": [{"state": {"features": many}, "action": "x"}], "final": {"features": near}}
    )
    assert known["salient"] == []
    assert learned(sqlite_client, body("elsewhere", "far"))["salient"][0]["reason"] == "novelty"


def test_ok_is_kept_of_the_action(sqlite_client: TestClient) -> None:
    steps = [step("a", ok=False), step("a", ok=True), step("a"), step("a", ok=False)]
    learned(sqlite_client, {"steps": steps, "final": at("b")})
    [option] = sqlite_client.get("/oak/options").json()["options"]
    assert (option["executions"], option["success_rate"], option["mean_duration"]) == (4, 0.5, 1.0)
    assert model(sqlite_client)["primitives"]["rows"][0]["refused"] == 2


def test_actions_are_known_by_their_canonical_form(client: TestClient) -> None:
    actions: list[Any] = [
        "go",
        {"a": 1},
        {"a": 1.0},
        {"b": [1, {"c": None}], "a": "x"},
        {"a": "x", "b": [1.0, {"c": None}]},
    ]
    actions += ["", {}, '{"a":1}', {"a": True}, {"a": "1"}, "é\u0000\U0001f600"]
    answer = learned(client, {"steps": [step("a", action) for action in actions], "final": at("b")})
    assert answer["actions_created"] == 9
    options = client.get("/oak/options", params={"source": "primitive"}).json()["options"]
    known = [json.dumps(option["policy"]["action"], sort_keys=True) for option in options]
    first = [action for place, action in enumerate(actions) if place not in {2, 4}]
    assert sorted(known) == sorted(json.dumps(action, sort_keys=True) for action in first)
    assert all(option["option_id"].startswith("act:") and option["name"] for option in options)
    for wrong in (1, None, True, ["go"], {"a": float(2**53)}, {"a" * 9000: 1}, "x" * 9000):
        assert post(client, {"steps": [step("a", wrong)], "final": at("b")}).status_code == 422
