"""Writers of one tenant at once: on SQLite from one process, on PostgreSQL from two."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import plain_settings
from tests.integration.test_replay import replayed
from tests.servers import RunningServer, somabrain

WRITERS = 8
RUNS_EACH = 25


@pytest.fixture
def servers(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[list[RunningServer]]:
    """One server on SQLite, two on one PostgreSQL."""
    count = 1 if database_url.startswith("sqlite") else 2
    with ExitStack() as stack:
        found = []
        for number in range(count):
            folder = tmp_path / str(number)
            folder.mkdir()
            found.append(stack.enter_context(somabrain({"DATABASE_URL": database_url}, folder)))
        yield found


def execution(writer: int, number: int) -> dict[str, Any]:
    places = [f"p{(writer * 7 + number * k) % 5}" for k in (1, 3)]
    return {
        "start": {"features": {"at": places[0]}},
        "final": {"features": {"at": places[1]}},
        "rewards": [writer - 3.5, number / 7],
        "terminated_by": "target" if (writer + number) % 3 else "failure",
    }


def test_concurrent_writers_make_the_model_of_their_serial_order(
    servers: list[RunningServer], database_url: str, tmp_path: Path
) -> None:
    with httpx.Client(base_url=servers[0].url, timeout=60) as client:
        for option in ("a", "b"):
            body = {"option_id": option, "name": option, "target": {"features": {"at": "p0"}}}
            assert client.post("/oak/option/create", json=body).status_code == 201
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> list[int]:
        versions = []
        with httpx.Client(base_url=servers[writer % len(servers)].url, timeout=60) as client:
            barrier.wait(30)
            for number in range(RUNS_EACH):
                response = client.post(f"/oak/option/{'ab'[writer % 2]}/execution", json=execution(writer, number))
                assert response.status_code == 200, response.text
                versions.append(response.json()["model_version"])
        return versions

    with ThreadPoolExecutor(WRITERS) as pool:
        results = list(pool.map(write, range(WRITERS)))
    assert sorted(version for versions in results for version in versions) == list(range(3, 3 + WRITERS * RUNS_EACH))
    assert all(versions == sorted(versions) for versions in results)
    models = {httpx.get(f"{server.url}/oak/model").content for server in servers}
    assert len(models) == 1
    settings = plain_settings(tmp_path, database_url=database_url)
    stored, serial = replayed(settings, tmp_path / "scratch")
    assert {stored} == models
    assert serial == stored


def test_one_key_sent_at_once_is_one_run(servers: list[RunningServer]) -> None:
    goal = {"features": {"at": "goal"}}
    with httpx.Client(base_url=servers[0].url, timeout=60) as client:
        client.post("/oak/option/create", json={"option_id": "a", "name": "a", "target": goal})
    barrier = threading.Barrier(WRITERS)

    def send(number: int) -> bytes:
        barrier.wait(30)
        response = httpx.post(
            f"{servers[number % len(servers)].url}/oak/option/a/execution",
            json={"start": {"features": {"at": "x"}}, "final": goal, "rewards": [1]},
            headers={"Idempotency-Key": "same"},
            timeout=60,
        )
        assert response.status_code == 200, response.text
        return response.content

    with ThreadPoolExecutor(WRITERS) as pool:
        assert len(set(pool.map(send, range(WRITERS)))) == 1
    for server in servers:
        assert httpx.get(f"{server.url}/oak/option/a").json()["executions"] == 1


def test_all_processes_see_a_change_at_once(servers: list[RunningServer]) -> None:
    """Plans are cached by what the database says, so no process answers from a model that is past."""
    goal = {"features": {"at": "goal"}}
    clients = [httpx.Client(base_url=server.url, timeout=60) for server in servers]
    clients[0].post("/oak/option/create", json={"option_id": "a", "name": "a", "target": goal})
    for number in range(12):
        start = {"features": {"at": f"s{number}"}}
        writer = clients[number % len(clients)]
        version = writer.post("/oak/option/a/execution", json={"start": start, "final": goal, "rewards": [1]}).json()[
            "model_version"
        ]
        for client in clients:
            plan = client.post("/oak/plan", json={"start_state": start, "target_feature": goal}).json()
            assert (plan["reached"], plan["model_version"]) == (True, version)
    for client in clients:
        client.close()
