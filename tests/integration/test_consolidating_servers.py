"""Consolidation in processes: the same in each, killed at any point, and never two of one tenant at once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.outbox.reading import read_events
from somabrain.store import SqlStore
from tests.conftest import plain_settings
from tests.factories import ALICE, HOME
from tests.grids import GOAL, SIZE, cell, walks
from tests.integration.test_consolidating import Life
from tests.integration.test_replay import replayed
from tests.servers import RunningServer, somabrain

NEVER = "1000000"
KILLS = {"sqlite": 20, "postgresql": 10}
SERVER_KILLS = 2
WAIT_S = 60.0
REPOSITORY = Path(__file__).parents[2]

CONSOLIDATE_AND_DIE = """
import os, signal, sys, time
from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.store import SqlStore
from tests.integration.test_consolidating import Life
settings = Settings.model_validate_json(sys.argv[1])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        with open_database(settings) as database:
            Life(store=SqlStore(database), settings=settings, batch=1).consolidate()
        os._exit(0)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
"""Has a child consolidate and kills it, so many seconds after it began as each line says."""


def worth(client: httpx.Client) -> dict[str, Any]:
    """The exported model without the times of its options."""
    model: dict[str, Any] = client.get("/oak/model").json()
    for option in model["options"]:
        option["created_at"] = option["updated_at"] = ""
    return model


def answers(client: httpx.Client, rows: int = SIZE) -> list[str]:
    """Plans to two targets and what to do next, from every cell of the first rows."""
    texts = []
    for x, y in product(range(SIZE), range(rows)):
        for target in (cell(GOAL), cell((1, 1))):
            body = {"start_state": cell((x, y)), "target_feature": target, "alternatives": 1}
            texts.append(client.post("/oak/plan", json=body).text.rsplit(',"planning_ms"', 1)[0])
            doing = {"state": cell((x, y)), "target_feature": target, "top_k": 5}
            texts.append(client.post("/oak/act", json=doing).text)
    return texts


def learn(client: httpx.Client, first: int, count: int) -> None:
    client.post("/oak/episodes", json=walks(first, count)).raise_for_status()


def consolidate(client: httpx.Client) -> dict[str, Any]:
    response = client.post("/oak/consolidate", json={"wait": True, "timeout_s": WAIT_S}, timeout=WAIT_S + 5)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[httpx.Client]:
    folder.mkdir(exist_ok=True)
    with (
        somabrain({"OAK_CONSOLIDATE_EPISODES": NEVER, **settings}, folder) as server,
        httpx.Client(base_url=server.url, timeout=WAIT_S) as client,
    ):
        yield client


@pytest.fixture
def grown(settings: Settings) -> Iterator[Life]:
    """A world that was consolidated, and has learned much since."""
    with open_database(settings) as database:
        life = Life(store=SqlStore(database), settings=settings)
        _grow(life)
        yield life


def _grow(life: Life) -> None:
    life.learn(0, 30)
    life.consolidate()
    life.learn(30, 40)


def test_a_run_may_be_killed_at_any_point(grown: Life, tmp_path: Path, database_url: str) -> None:
    rng = random.Random(5)
    engine = database_url.split(":", maxsplit=1)[0].split("+", maxsplit=1)[0]
    with open_database(plain_settings(tmp_path / "mirror")) as database:
        mirror = Life(store=SqlStore(database), settings=grown.settings)
        _grow(mirror)
        published, struck, length_s = 0, 0, 0.5
        command = [sys.executable, "-c", CONSOLIDATE_AND_DIE, grown.settings.model_dump_json()]
        killer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY)
        assert killer.stdin is not None
        assert killer.stdout is not None
        for kill in range(KILLS[engine]):
            before = grown.export()
            killer.stdin.write(f"{rng.uniform(0, length_s)}\n".encode())
            killer.stdin.flush()
            assert killer.stdout.readline() == b"ended\n"
            struck += grown.consolidator.standing(ALICE, HOME).state == "running"
            if grown.export() != before:
                published += 1
                length_s *= 0.7
                mirror.consolidate()
                assert grown.export() == mirror.export()
                for life in (grown, mirror):
                    life.learn(100 + 10 * kill, 10)
            assert grown.export() == mirror.export()
        killer.communicate(timeout=WAIT_S)
        assert struck > KILLS[engine] / 5
        for life in (grown, mirror):
            life.consolidate()
        assert grown.export() == mirror.export()
        assert grown.models() == len(grown.discovered())


def test_options_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Neither on its hash seed, nor on its being killed and started again while it works them out."""
    rng = random.Random(2)
    with serving(tmp_path / "undisturbed", PYTHONHASHSEED="1") as client:
        _grown(client)
        before = worth(client), answers(client, 1)
        consolidate(client)
        expected = worth(client), answers(client)
    assert len(expected[0]["consolidation"]["models"]) > 5
    assert sum('"reached":true' in text for text in expected[1]) > SIZE * SIZE
    folder = tmp_path / "killed"
    folder.mkdir()
    settings = {"OAK_CONSOLIDATE_EPISODES": NEVER, "OAK_CONSOLIDATION_BATCH": "1", "PYTHONHASHSEED": "2"}
    server = RunningServer({**settings, "EVENTS_FILE": str(folder / "events.avro")}, folder)
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            _grown(client)
            for _ in range(SERVER_KILLS):
                client.post("/oak/consolidate", json={}).raise_for_status()
                time.sleep(rng.uniform(0, 1.5))
                server.kill()
                server.start()
                found = worth(client), answers(client, 1)
                assert found == before or client.get("/oak/consolidation").json()["build"] > 1
            consolidate(client)
            assert (worth(client), answers(client)) == expected
            journal = client.get("/events", params={"limit": 1000}).json()["events"]
    finally:
        server.stop()
    assert sum(event["type"] == "ModelConsolidated" for event in journal) == 2
    arrived = {event["sequence"]: event["type"] for event in read_events(folder / "events.avro")}
    assert arrived == {event["sequence"]: event["type"] for event in journal}


def _grown(client: httpx.Client) -> None:
    learn(client, 0, 30)
    consolidate(client)
    learn(client, 30, 40)


@pytest.fixture
def pair(database_url: str, tmp_path: Path) -> Iterator[list[RunningServer]]:
    """Two servers on one database."""
    with ExitStack() as stack:
        found = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = {"DATABASE_URL": database_url, "OAK_CONSOLIDATE_EPISODES": "3", "OAK_CONSOLIDATION_BATCH": "1"}
            found.append(stack.enter_context(somabrain(settings, folder)))
        yield found


def test_two_processes_never_consolidate_one_tenant_at_once(
    pair: list[RunningServer], database_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=server.url, timeout=WAIT_S)) for server in pair]
        for turn in range(12):
            learn(clients[turn % 2], 4 * turn, 4)
            time.sleep(0.1)
        waiters = [threading.Thread(target=consolidate, args=[client]) for client in clients]
        for waiter in waiters:
            waiter.start()
        for waiter in waiters:
            waiter.join(WAIT_S)
        leader = [client.get("/readyz").json() for client in clients]
        holds = [
            "leader" in json.dumps([c for c in one["components"] if c["name"] == "consolidation"]) for one in leader
        ]
        assert sorted(holds) == [False, True]
        first = holds.index(True)
        builds = clients[first].get("/oak/consolidation").json()["build"]
        pair[first].kill()
        survivor = clients[1 - first]
        learn(survivor, 100, 6)
        assert consolidate(survivor)["build"] > builds
        journal = survivor.get("/events", params={"limit": 1000}).json()["events"]
        model = survivor.get("/oak/model").content
    assert [event["sequence"] for event in journal] == list(range(1, len(journal) + 1))
    made = [event["payload"] for event in journal if event["type"] == "ModelConsolidated"]
    assert len(made) > 1
    through = [one["through_sequence"] for one in made]
    assert through == sorted(set(through))
    assert [one["build"] for one in made] == sorted({one["build"] for one in made})
    versions: dict[str, list[int]] = {}
    for event in journal:
        if event["type"] in {"OptionCreated", "OptionUpdated"}:
            versions.setdefault(event["option_id"], []).append(event["payload"]["version"])
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    stored, again = replayed(plain_settings(tmp_path, database_url=database_url), tmp_path / "scratch")
    assert stored == model
    assert again == stored
