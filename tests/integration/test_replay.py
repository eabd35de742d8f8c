"""The journal makes the model again, bit for bit, whatever happened before."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from sys import maxsize
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app, open_database
from somabrain.bootstrap.oak import oak_limits, open_worlds
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.replay import Replay, builds_of, entries_of
from somabrain.oak.transfer import export_model
from somabrain.store import SqlStore
from somabrain.tenancy import Namespace, TenantId
from tests.conftest import plain_settings

LOCAL = TenantId("local")


def random_state(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.7:
        return {"features": {"at": rng.choice("abcdef"), "n": rng.choice([1, 1.5, True, "1"])}}
    return {"vector": [rng.gauss(0, 1) for _ in range(256)]}


CHANGES = {
    "create": 4,
    "put": 2,
    "retire": 1,
    "run": 20,
    "batch": 6,
    "import": 0.3,
    "delete": 0.2,
    "episode": 10,
    "episodes": 2,
    "outcome": 5,
    "consolidate": 2,
    "discovered": 4,
}
"""What happens in a random life, and how often."""


def random_episode(rng: random.Random) -> dict[str, Any]:
    count = rng.randint(1, 8)
    steps = [
        {
            "state": random_state(rng),
            "action": rng.choice(["go", "stay", {"to": rng.choice([1, 1.0, 2])}]),
            "reward": rng.gauss(0, 1),
            "ok": rng.choice([None, True, False]),
            "salient": rng.random() < 0.1,
        }
        for _ in range(count)
    ]
    ending = {"success": rng.choice([True, False, None]), "terminated": rng.choice([True, False])}
    return {"steps": steps, "final": random_state(rng), **ending}


def run_discovered(client: TestClient, rng: random.Random, execution: dict[str, Any]) -> None:
    """A run of a discovered option, or the end of one."""
    found = client.get("/oak/options", params={"source": "discovered"}).json()["options"]
    if found:
        option_id = rng.choice(found)["option_id"]
        if rng.random() < 0.1:
            client.delete(f"/oak/option/{option_id}")
        else:
            client.post(f"/oak/option/{option_id}/execution", json=execution)


def random_life(client: TestClient, seed: int, steps: int) -> None:
    """Changes of every kind, refused ones among them."""
    rng = random.Random(seed)
    for _ in range(steps):
        option_id = rng.choice(["x", "y", "z", "w"])
        spec = {"name": "n", "target": random_state(rng), "alpha": rng.choice([0.05, 0.5, 1.0]), "kappa": rng.random()}
        execution = {
            "start": random_state(rng),
            "final": random_state(rng),
            "rewards": [rng.gauss(0, 10) for _ in range(rng.randint(1, 5))],
            "terminated_by": rng.choice(["target", "failure", "timeout", "censored"]),
        }
        match rng.choices(list(CHANGES), list(CHANGES.values()))[0]:
            case "create":
                client.post("/oak/option/create", json={**spec, "option_id": option_id + str(rng.randint(0, 3))})
            case "put":
                client.put(f"/oak/option/{option_id}1", json=spec)
            case "retire":
                client.delete(f"/oak/option/{option_id}{rng.randint(0, 3)}")
            case "run":
                client.post(f"/oak/option/{option_id}1/execution", json=execution)
            case "batch":
                batch = [
                    {**execution, "option_id": f"{option_id}{rng.randint(1, 2)}"} for _ in range(rng.randint(1, 6))
                ]
                client.post("/oak/executions", json={"executions": batch})
            case "import":
                model = client.get("/oak/model").content
                headers = {"content-type": "application/json"}
                client.put("/oak/model", params={"mode": "replace"}, content=model, headers=headers)
            case "delete":
                client.delete("/oak/namespace/default")
            case kind:
                random_experience(client, rng, kind, execution)


def random_experience(client: TestClient, rng: random.Random, kind: str, execution: dict[str, Any]) -> None:
    """A change of what episodes teach and consolidation makes of it."""
    match kind:
        case "episode":
            client.post("/oak/episode", json={**random_episode(rng), "episode_id": f"e{rng.randrange(60)}"})
        case "episodes":
            batch = [{**random_episode(rng), "episode_id": f"e{rng.randrange(60)}"} for _ in range(4)]
            client.post("/oak/episodes", json={"episodes": batch})
        case "outcome":
            told = rng.choice([{"success": True}, {"success": False}, {"reward": rng.gauss(0, 2)}])
            client.post(f"/oak/episode/e{rng.randrange(60)}/outcome", json=told)
        case "consolidate":
            client.post("/oak/consolidate", json={"wait": True}).raise_for_status()
        case "discovered":
            run_discovered(client, rng, execution)


def replayed(settings: Settings, folder: Path) -> tuple[bytes, bytes]:
    """The stored model and the one that the journal makes."""
    home = Namespace("default")
    with open_database(settings) as database:
        store = SqlStore(database)
        with store.read(LOCAL) as tx:
            record = tx.namespace(home)
            assert record is not None
            stored = export_model(tx, home, settings.memory_dim)
            through = tx.sequence()
        scratch_settings = plain_settings(folder)
        limits = replace(oak_limits(settings), learning=record.learning, options_max=maxsize, prototypes_max=maxsize)
        with open_database(scratch_settings) as scratch_database:
            scratch = SqlStore(scratch_database)
            manager = OptionManager(limits=limits, worlds=open_worlds(scratch_settings))
            entries = list(entries_of(store, LOCAL, home, batch=7, through=through))
            Replay(scratch, manager, limits, LOCAL, builds=builds_of(entries)).run(entries, batch=11)
            with scratch.read(LOCAL) as tx:
                return stored, export_model(tx, home, settings.memory_dim)


@pytest.mark.parametrize("seed", range(4))
def test_a_replay_makes_the_same_bytes(settings: Settings, tmp_path: Path, seed: int) -> None:
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        random_life(client, seed, 150)
        answer = client.get("/oak/model").content
    stored, again = replayed(settings, tmp_path / "scratch")
    assert stored == answer
    assert again == stored


def test_a_replay_uses_the_settings_that_were_learned_with(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path, oak_time_price=0.02, oak_state_similarity=0.5)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        random_life(client, 1, 60)
    changed = settings.model_copy(update={"oak_time_price": 0.5, "oak_state_similarity": 0.99})
    stored, again = replayed(changed, tmp_path / "scratch")
    assert again == stored


def test_model_version_is_the_sequence_of_the_last_change(sqlite_client: TestClient) -> None:
    goal = {"features": {"at": "goal"}}
    sqlite_client.post("/oak/option/create", json={"option_id": "o", "name": "o", "target": goal, "namespace": "a"})
    sqlite_client.post("/oak/option/create", json={"option_id": "o", "name": "o", "target": goal, "namespace": "b"})
    run = {"option_id": "o", "start": {"features": {"at": "x"}}, "final": goal, "rewards": [1]}
    batch = sqlite_client.post("/oak/executions", json={"executions": [run] * 5, "namespace": "a"}).json()
    assert [one["model_version"] for one in batch["results"]] == [3, 4, 5, 6, 7]
    versions = {n["namespace"]: n["model_version"] for n in sqlite_client.get("/oak/namespaces").json()["namespaces"]}
    assert versions == {"a": 7, "b": 2}
    before = sqlite_client.get("/events").json()["next"]
    sqlite_client.post("/oak/option/none/execution", json={**{k: v for k, v in run.items() if k != "option_id"}})
    body = {"start_state": goal, "target_feature": goal, "namespace": "a"}
    assert sqlite_client.post("/oak/plan", json=body).json()["model_version"] == 7
    assert sqlite_client.get("/events").json()["next"] == before
    assert sqlite_client.post("/oak/plan", json={**body, "namespace": "unseen"}).json()["model_version"] == 0
