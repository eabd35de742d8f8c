"""Milvus Lite beside a server that is killed, and files that are damaged: what the database holds comes back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import RunningServer

KILLS = 50
REPAIRED_WITHIN_S = 10.0
SETTLED = {"projection": "leader, 0 pending", "milvus": "holds what the database holds"}
AT_HOME, AT_WORK = {"features": {"at": "home"}}, {"features": {"at": "work"}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = RunningServer({}, tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def post(server: RunningServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(server.url + path, json=body, timeout=30.0)
    answer.raise_for_status()
    return dict(answer.json())


def projection(server: RunningServer) -> dict[str, str]:
    """What the projection and Milvus say of themselves."""
    components = httpx.get(f"{server.url}/readyz").json()["components"]
    told = {"projection", "milvus"}
    return {component["name"]: component["detail"] for component in components if component["name"] in told}


def settled(server: RunningServer, within_s: float) -> None:
    """Waits until the engine was compared and nothing is pending; fails where that takes longer."""
    deadline = time.monotonic() + within_s
    while projection(server) != SETTLED:
        if time.monotonic() > deadline:
            raise AssertionError(f"{projection(server)}\n{server.log}")
        time.sleep(0.1)


def somabrain_reconcile(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "somabrain", "reconcile", "--json", *flags],
        env={"SOMABRAIN_DATA_DIR": str(folder / "data"), "EMBEDDER": "hashed", "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def reconciled(folder: Path, *flags: str) -> list[dict[str, Any]]:
    """What `somabrain reconcile` found, with the server stopped."""
    done = somabrain_reconcile(folder, *flags)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def differing(found: list[dict[str, Any]]) -> int:
    return sum(each[name] for each in found for name in ("missing", "different", "surplus", "ahead"))


def load(server: RunningServer, stop: threading.Event, seed: int) -> None:
    """Remembers, replaces, forgets and records runs until the server is gone or `stop` is set."""
    chance = random.Random(seed)
    with httpx.Client(base_url=server.url, timeout=5.0) as client, suppress(httpx.HTTPError):
        while not stop.is_set():
            memory_id = f"m{chance.randrange(200)}"
            if chance.random() < 0.2:
                client.delete(f"/memory/{memory_id}")
            elif chance.random() < 0.3:
                run = {"start": AT_HOME, "final": AT_WORK, "rewards": [-chance.random()]}
                client.post("/oak/option/go/execution", json=run)
            else:
                content = f"note {chance.random()}"
                client.post("/memory/remember", json={"memory_id": memory_id, "content": content})


def test_fifty_kills_between_commit_and_projection(server: RunningServer, tmp_path: Path) -> None:
    post(server, "/oak/option/create", {"option_id": "go", "name": "go", "target": AT_WORK})
    chance = random.Random(7)
    for kill in range(KILLS):
        stop = threading.Event()
        writers = [threading.Thread(target=load, args=(server, stop, kill * 2 + number)) for number in range(2)]
        for writer in writers:
            writer.start()
        time.sleep(chance.uniform(0.02, 0.6))
        server.kill()
        stop.set()
        for writer in writers:
            writer.join()
        if kill % 10 == 9:
            server.start()
            settled(server, REPAIRED_WITHIN_S)
            assert server.stop() == 0
            found = reconciled(tmp_path)
            assert differing(found) == 0, found
            assert {each["shelf"]: each["documents"] > 0 for each in found} == {"options": True, "memories": True}
        server.start()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


def overwritten(file: Path) -> None:
    """Damage in the middle that no header shows."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size // 3)
        opened.write(random.Random(1).randbytes(size // 3))


def scrawled(file: Path) -> None:
    """No database at all."""
    file.write_bytes(random.Random(2).randbytes(20_000))


def cut(file: Path) -> None:
    """As after a disk that was full."""
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


@pytest.mark.parametrize("damage", [emptied, removed, overwritten, scrawled, cut])
def test_a_damaged_file_is_noticed_and_made_anew(
    server: RunningServer, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    post(server, "/oak/option/create", {"option_id": "go", "name": "go", "target": AT_WORK})
    notes = [{"memory_id": f"m{number}", "content": f"note {number} of many"} for number in range(1000)]
    post(server, "/memory/remember/batch", {"memories": notes})
    settled(server, 30.0)
    assert server.stop() == 0
    assert differing(reconciled(tmp_path)) == 0
    damage(tmp_path / "data" / "milvus.db")
    server.start()
    hits = post(server, "/memory/recall", {"query": {"text": "note 77"}, "top_k": 1})
    assert (hits["hits"][0]["memory_id"], hits["degraded"]) == ("m77", False)
    settled(server, 120.0)
    assert server.stop() == 0
    found = reconciled(tmp_path)
    assert differing(found) == 0, found
    assert {each["shelf"]: each["documents"] for each in found} == {"options": 1, "memories": 1000}


def test_an_empty_database_is_restored_from_milvus(server: RunningServer, tmp_path: Path) -> None:
    post(server, "/oak/option/create", {"option_id": "go", "name": "go", "target": AT_WORK})
    post(server, "/oak/option/go/execution", {"start": AT_HOME, "final": AT_WORK, "rewards": [-1]})
    post(
        server, "/memory/remember", {"memory_id": "m", "content": "the kettle \u0000 \U0001f600", "metadata": {"a": 1}}
    )
    settled(server, 30.0)
    memory = httpx.get(f"{server.url}/memory/m").json()
    plan = post(server, "/oak/plan", {"start_state": AT_HOME, "target_feature": AT_WORK})
    assert server.stop() == 0
    for file in (tmp_path / "data").glob("somabrain.sqlite3*"):
        file.unlink()
    (restored,) = reconciled(tmp_path, "--from-milvus")
    assert (restored["options"], restored["rows"], restored["memories"]) == (1, 1, 1)
    again = somabrain_reconcile(tmp_path, "--from-milvus")
    assert again.returncode == 1
    assert "not empty, and left alone: local" in again.stderr
    server.start()
    assert httpx.get(f"{server.url}/memory/m").json() == memory
    again = post(server, "/oak/plan", {"start_state": AT_HOME, "target_feature": AT_WORK})
    assert {**again, "model_version": 0, "planning_ms": 0} == {**plan, "model_version": 0, "planning_ms": 0}


def test_an_option_as_large_as_a_request_holds_nothing_up(server: RunningServer, tmp_path: Path) -> None:
    policy = {"prompt": "x" * 1_000_000}
    post(server, "/oak/option/create", {"option_id": "huge", "name": "huge", "target": AT_WORK, "policy": policy})
    post(server, "/oak/option/create", {"option_id": "text", "name": "text", "target": {"text": "\U0001f600" * 65_536}})
    post(server, "/memory/remember", {"memory_id": "m", "content": "after them"})
    time.sleep(1.0)
    settled(server, 30.0)
    assert server.stop() == 0
    assert differing(reconciled(tmp_path)) == 0
    for file in (tmp_path / "data").glob("somabrain.sqlite3*"):
        file.unlink()
    (restored,) = reconciled(tmp_path, "--from-milvus")
    assert (restored["options"], restored["options_omitted"], restored["memories"]) == (0, 2, 1)


def test_a_database_from_an_old_backup_deletes_nothing_in_milvus(server: RunningServer, tmp_path: Path) -> None:
    post(server, "/memory/remember", {"memory_id": "old", "content": "before the backup"})
    settled(server, 30.0)
    assert server.stop() == 0
    database = tmp_path / "data" / "somabrain.sqlite3"
    backup = database.read_bytes()
    server.start()
    post(server, "/memory/remember", {"memory_id": "new", "content": "after the backup"})
    time.sleep(0.5)
    settled(server, 30.0)
    assert server.stop() == 0
    database.write_bytes(backup)
    done = subprocess.run(
        [Path(sys.executable).parent / "somabrain", "reconcile"],
        env={"SOMABRAIN_DATA_DIR": str(tmp_path / "data"), "EMBEDDER": "hashed", "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "1 documents that are newer than this database" in done.stderr


def test_reconcile_leaves_the_file_to_a_server_that_runs(server: RunningServer, tmp_path: Path) -> None:
    settled(server, 30.0)
    done = subprocess.run(
        [Path(sys.executable).parent / "somabrain", "reconcile"],
        env={"SOMABRAIN_DATA_DIR": str(tmp_path / "data"), "DATABASE_TIMEOUT_S": "0.5", "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "another process" in done.stderr
