"""An empty database filled from the vector engine: the model up to the numbers of its states, and every memory."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app, open_database
from somabrain.bootstrap.oak import oak_limits, open_worlds
from somabrain.errors import InvalidRequestError, ModelIncompatibleError, SomabrainError
from somabrain.memory_client import remember
from somabrain.memory_client.documents import projected_memory as to_projected
from somabrain.oak.option_manager import OptionManager
from somabrain.ports import Shelf, VectorEngineUnavailableError
from somabrain.restoring import Restored, Restoring
from somabrain.store import RelayPositions, SqlStore
from somabrain.tenancy import Namespace, TenantId
from tests.conftest import plain_settings
from tests.factories import ALICE, BOB, HOME, stamp
from tests.memories import memory, new, projection
from tests.reference.vector_engine import MemoryVectorEngine
from tests.vectors import vector

LOCAL = TenantId("local")
SPACES = ("default", "other")
CLOCKS = ("created_at", "updated_at")


def random_state(rng: random.Random) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {"features": {"at": rng.choice("abcd"), "n": rng.choice([1, True, "1", 1.5]), "\u0000é": "\U0001f600"}},
        {"text": rng.choice(["in the kitchen", "a long dark hall", "out on the \u0000 street \U0001f600"])},
        {"vector": [float(rng.choice("abc") == name) + 0.01 for name in "abc" * 85 + "a"]},
    ]
    return rng.choice(kinds)


def live(client: TestClient, seed: int) -> None:
    """Options of every kind of target with runs of every ending, and memories, in two namespaces."""
    rng = random.Random(seed)
    for space in SPACES:
        for name in ("x", "y", "z", "idle", "gone"):
            body = {
                "option_id": name,
                "name": f"{name} \U0001f600",
                "namespace": space,
                "target": random_state(rng),
                "policy": {"a": [1, 2.5, None, {"\u0000": True}]},
                "termination": {"similarity": 0.7, "max_steps": 9},
                "kappa": rng.random(),
                "alpha": rng.choice([0.05, 0.5, 1.0]),
                "metadata": {"k": "v"},
            }
            assert client.post("/oak/option/create", json=body).status_code == 201
        for _ in range(120):
            body = {
                "start": random_state(rng),
                "final": random_state(rng),
                "rewards": [rng.gauss(0, 3) for _ in range(rng.randint(1, 4))],
                "terminated_by": rng.choice(["target", "target", "failure", "timeout", "censored"]),
                "namespace": space,
            }
            name = rng.choice(["x", "y", "z", "gone"])
            assert client.post(f"/oak/option/{name}/execution", json=body).status_code == 200
        client.delete("/oak/option/gone", params={"namespace": space})
        items = [
            {
                "content": f"memory {number} of {space} \u0000 \U0001f600",
                "memory_id": f"m{number}",
                "metadata": {"n": number % 3, "\u0000'\"": [1.0, None, {"x": -0.0}]},
                "importance": rng.random(),
                **({"ttl_s": 1_000_000} if number % 2 else {}),
            }
            for number in range(20)
        ]
        assert client.post("/memory/remember/batch", json={"memories": items, "namespace": space}).status_code == 201
        client.delete("/memory/m3", params={"namespace": space})
        client.post("/memory/remember", json={**items[5], "content": "anew", "namespace": space})


@contextmanager
def restoring(settings: Settings, engine: MemoryVectorEngine) -> Iterator[tuple[SqlStore, Restoring]]:
    limits = oak_limits(settings)
    with open_database(settings) as database:
        store = SqlStore(database)
        manager = OptionManager(limits=limits, worlds=open_worlds(settings))
        yield store, Restoring(store=store, engine=engine, manager=manager, limits=limits, stamp=stamp())


def projected(settings: Settings) -> MemoryVectorEngine:
    """What the vector engine holds of this database."""
    engine = MemoryVectorEngine()
    with open_database(settings) as database:
        held = projection(SqlStore(database), RelayPositions(database), engine, dimension=settings.memory_dim)
        held.check()
        assert all(each.agrees for each in held.check())
    return engine


@contextmanager
def serving(settings: Settings) -> Iterator[TestClient]:
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        yield client


def model(client: TestClient, space: str) -> dict[str, Any]:
    """The exported model with states in place of their numbers, in an order of its own."""
    document = client.get("/oak/model", params={"namespace": space}).json()
    states = [
        json.dumps({name: value for name, value in part.items() if name not in {"prototype", "visits"}}, sort_keys=True)
        for part in document["prototypes"]
    ]

    def named(y: int | str) -> str:
        return y if isinstance(y, str) else states[y]

    rows = [
        {
            **row,
            "start": named(row["start"]),
            "outcomes": sorted([named(y), p, reach] for y, p, reach in row["outcomes"]),
        }
        for row in document["rows"]
    ]
    mentioned = {row["start"] for row in rows} | {y for row in rows for y, _, _ in row["outcomes"]} - {"FAIL"}
    return {
        "options": document["options"],
        "rows": sorted(rows, key=lambda row: (row["option_id"], row["start"])),
        "states": sorted(mentioned),
    }


def answers(client: TestClient, space: str) -> list[Any]:
    """What memories say and what plans come to."""
    found: list[Any] = []
    rng = random.Random(99)
    for number in range(20):
        response = client.get(f"/memory/m{number}", params={"namespace": space})
        found.append(response.json() if response.status_code == 200 else response.status_code)
    for holds in ({}, {"n": 1}):
        body = {"query": {"text": "anew memory 7"}, "namespace": space, "top_k": 20, "filter": holds}
        found.append([hit["memory_id"] for hit in client.post("/memory/recall", json=body).json()["hits"]])
    for _ in range(30):
        body = {"start_state": random_state(rng), "target_feature": random_state(rng), "namespace": space}
        plan = client.post("/oak/plan", json=body).json()
        told = ("reached", "reason", "cost", "success_probability", "policy_probability")
        found.append([plan[name] for name in told])
    return found


@pytest.mark.parametrize("seed", range(2))
def test_what_is_restored_is_what_there_was(settings: Settings, tmp_path: Path, database_url: str, seed: int) -> None:
    with serving(settings) as client:
        live(client, seed)
        before = [(model(client, space), answers(client, space)) for space in SPACES]
    engine = projected(settings)
    fresh = plain_settings(tmp_path / "fresh")
    with restoring(fresh, engine) as (_, work):
        assert work.tenants() == [LOCAL]
        report = work.restore(LOCAL)
    with serving(fresh) as client:
        after = [(model(client, space), answers(client, space)) for space in SPACES]
        events = client.get("/events", params={"limit": 1000}).json()["events"]
    for (model_before, answers_before), (model_after, answers_after) in zip(before, after, strict=True):
        assert model_after == model_before
        assert answers_after == answers_before
    assert any(plan[0] is True for plan in before[0][1][22:])
    assert report == Restored(
        tenant=LOCAL,
        options=10,
        states=sum(len(found["states"]) for found, _ in before),
        rows=sum(len(found["rows"]) for found, _ in before),
        memories=38,
    )
    kinds = [event["type"] for event in events]
    assert (kinds.count("ModelImported"), kinds.count("MemoryStored"), len(kinds)) == (2, 38, 40)


def test_what_is_restored_is_projected_into_the_same_documents(settings: Settings, tmp_path: Path) -> None:
    with serving(settings) as client:
        live(client, 7)
    engine = projected(settings)
    fresh = plain_settings(tmp_path / "fresh")
    with restoring(fresh, engine) as (_, work):
        work.restore(LOCAL)
    again = projected(fresh)
    for shelf in Shelf:
        assert set(again.held[shelf]) == set(engine.held[shelf])
    for key, record in engine.held[Shelf.MEMORIES].items():
        assert replace(again.held[Shelf.MEMORIES][key], sequence=0) == replace(record, sequence=0)
    with open_database(fresh) as database:
        compared = projection(SqlStore(database), RelayPositions(database), engine, dimension=256).check()
    assert not [each for each in compared if each.shelf is Shelf.MEMORIES and not each.agrees]


def test_a_tenant_with_a_journal_is_left_alone(tmp_path: Path) -> None:
    settings, engine = plain_settings(tmp_path), MemoryVectorEngine()
    for tenant in (ALICE, BOB):
        engine.upsert(Shelf.MEMORIES, tenant, [projected_memory("m")])
    with restoring(settings, engine) as (store, work):
        with store.write(BOB) as tx:
            remember(tx, HOME, [new("own", vector=vector("own", 256))], stamp())
        assert work.tenants() == [ALICE, BOB]
        reports = [work.restore(tenant) for tenant in work.tenants()]
        assert reports == [Restored(tenant=ALICE, memories=1), Restored(tenant=BOB, skipped=True)]
        assert work.restore(ALICE) == Restored(tenant=ALICE, skipped=True)
        with store.read(BOB) as tx:
            assert list(tx.memories.get(HOME, ["own", "m"])) == ["own"]
        with store.read(ALICE) as tx:
            assert list(tx.memories.get(HOME, ["own", "m"])) == ["m"]
            assert [space.memories for space in tx.memories.spaces()] == [1]


def projected_memory(memory_id: str, *, dimension: int = 256, namespace: Namespace = HOME, **changes: Any) -> Any:
    kept = memory(memory_id, vector=vector(memory_id, dimension))
    return replace(to_projected(namespace, kept), **changes)


def untouched(store: SqlStore, tenant: TenantId) -> bool:
    with store.read(tenant) as tx:
        return (tx.sequence(), tx.journal(), tx.memories.spaces(), tx.namespaces()) == (0, [], [], [])


@pytest.mark.parametrize("shelf", list(Shelf))
def test_another_dimension_is_refused(tmp_path: Path, shelf: Shelf) -> None:
    settings = plain_settings(tmp_path, memory_dim=64)
    with serving(settings) as client:
        live_small(client)
    engine = projected(settings)
    engine.clear(Shelf.MEMORIES if shelf is Shelf.OPTIONS else Shelf.OPTIONS)
    with restoring(plain_settings(tmp_path / "fresh"), engine) as (store, work):
        with pytest.raises(ModelIncompatibleError):
            work.restore(LOCAL)
        assert untouched(store, LOCAL)


def test_a_document_of_another_dimension_among_others_is_refused(tmp_path: Path) -> None:
    narrow, wide = plain_settings(tmp_path / "narrow", memory_dim=64), plain_settings(tmp_path / "wide")
    engines = []
    for settings, name in ((narrow, "a"), (wide, "b")):
        with serving(settings) as client:
            live_small(client, name)
        engines.append(projected(settings))
    engine, other = engines
    engine.held[Shelf.OPTIONS].update(other.held[Shelf.OPTIONS])
    engine.clear(Shelf.MEMORIES)
    with restoring(plain_settings(tmp_path / "fresh"), engine) as (store, work):
        with pytest.raises(ModelIncompatibleError):
            work.restore(LOCAL)
        assert untouched(store, LOCAL)


def live_small(client: TestClient, name: str = "o") -> None:
    goal = {"features": {"at": "goal"}}
    client.post("/oak/option/create", json={"option_id": name, "name": "o", "target": goal})
    run = {"start": {"features": {"at": "x"}}, "final": goal, "rewards": [1]}
    client.post(f"/oak/option/{name}/execution", json=run)
    client.post("/memory/remember", json={"content": "x", "memory_id": "m"})


@pytest.mark.parametrize(
    ("shelf", "document"),
    [
        (Shelf.MEMORIES, "{"),
        (Shelf.MEMORIES, "[]"),
        (Shelf.MEMORIES, '{"format":"somabrain-memory-2"}'),
        (Shelf.MEMORIES, '{"format":"somabrain-memory-1"}'),
        (Shelf.OPTIONS, "{"),
        (Shelf.OPTIONS, "null"),
        (Shelf.OPTIONS, '{"format":"somabrain-option-2"}'),
        (Shelf.OPTIONS, '{"format":"somabrain-option-1"}'),
    ],
)
def test_a_document_that_this_service_did_not_write_is_refused(tmp_path: Path, shelf: Shelf, document: str) -> None:
    settings = plain_settings(tmp_path)
    with serving(settings) as client:
        live_small(client)
    engine = projected(settings)
    strange = replace(next(iter(engine.held[shelf].values())), id="z", namespace=Namespace("z"), document=document)
    engine.upsert(shelf, LOCAL, [strange])
    with restoring(plain_settings(tmp_path / "fresh"), engine) as (store, work):
        with pytest.raises(InvalidRequestError):
            work.restore(LOCAL)
        assert untouched(store, LOCAL)


@pytest.mark.parametrize(
    "change",
    [
        {"states": []},
        {"rows": [{"start": 0}]},
        {"option": {}},
        {"encoder": "another"},
        {"memory_dim": 7},
        {"rows": 5},
        {"rows_omitted": "many"},
    ],
)
def test_a_damaged_option_is_refused_and_nothing_is_written(tmp_path: Path, change: dict[str, Any]) -> None:
    settings = plain_settings(tmp_path)
    with serving(settings) as client:
        live_small(client, "a")
        live_small(client, "b")
    engine = projected(settings)
    key = (LOCAL, HOME, "b")
    damaged = {**json.loads(engine.held[Shelf.OPTIONS][key].document), **change}
    engine.held[Shelf.OPTIONS][key] = replace(engine.held[Shelf.OPTIONS][key], document=json.dumps(damaged))
    with restoring(plain_settings(tmp_path / "fresh"), engine) as (store, work):
        with pytest.raises(SomabrainError):
            work.restore(LOCAL)
        assert untouched(store, LOCAL)


def test_rows_that_had_no_room_are_counted(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path)
    goal = {"features": {"at": "goal"}}
    with serving(settings) as client:
        client.post("/oak/option/create", json={"option_id": "o", "name": "o", "target": goal})
        starts = [{"features": {"at": f"place {number} " + "x" * 200}} for number in range(300)]
        runs = [{"option_id": "o", "start": start, "final": goal, "rewards": [1]} for start in starts]
        assert client.post("/oak/executions", json={"executions": [*runs, *runs[:20]]}).status_code == 200
    engine = projected(settings)
    with restoring(plain_settings(tmp_path / "fresh"), engine) as (store, work):
        report = work.restore(LOCAL)
        with store.read(LOCAL) as tx:
            assert sorted({row.executions for row in tx.rows(HOME)}) in ([1, 2], [2])
            assert sum(row.executions == 2 for row in tx.rows(HOME)) == 20
    assert report.rows + report.rows_omitted == 300
    assert report.rows_omitted > 0


def test_an_engine_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    engine = MemoryVectorEngine()
    engine.upsert(Shelf.MEMORIES, ALICE, [projected_memory("m")])
    with restoring(plain_settings(tmp_path), engine) as (store, work):
        engine.down = True
        with pytest.raises(VectorEngineUnavailableError):
            work.restore(ALICE)
        assert untouched(store, ALICE)
        engine.down = False
        assert work.restore(ALICE).memories == 1
