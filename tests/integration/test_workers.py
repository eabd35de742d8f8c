"""Several processes on one port: the same answers, figures that are added up, and none that stays away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from somabrain.commands.output import EXIT_CONFIGURATION
from tests.grids import GOAL, cell, walks
from tests.servers import RunningServer, free_port, somabrain

WORKERS = 2
CONNECTIONS_MAX = 400
WAIT_S = 60.0
ASKED = 15
RUNS = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which process has a connection")


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[RunningServer]:
    settings = {"DATABASE_URL": database_url, "TMPDIR": str(tmp_path)}
    with somabrain(settings, tmp_path, arguments=["--workers", str(WORKERS)]) as running:
        yield running


def processes(server: RunningServer) -> set[int]:
    """The processes that answer."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text(encoding="ascii")
    return {int(child) for child in children.split() if b"spawn_main" in _command(int(child))}


def _command(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sockets(process: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        try:
            kind, _, inode = str(file.readlink()).partition(":")
        except FileNotFoundError:
            continue
        if kind == "socket":
            found.add(inode.strip("[]"))
    return found


def inode_at(server: RunningServer, client_port: int) -> str:
    """That of the server's end of the connection from this port (proc(5), /proc/net/tcp)."""
    wanted = (f"0100007F:{server.port:04X}", f"0100007F:{client_port:04X}")
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return next(fields[9] for fields in map(str.split, lines) if (fields[1], fields[2]) == wanted)


def one_of_each(server: RunningServer, stack: ExitStack) -> dict[int, httpx.Client]:
    """A client of each process, on a kept connection."""
    found: dict[int, httpx.Client] = {}
    for _ in range(CONNECTIONS_MAX):
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=WAIT_S))
        with client.stream("GET", "/healthz") as response:
            port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
            inode = inode_at(server, port)
            response.read()
        for process in processes(server):
            if inode in sockets(process):
                found.setdefault(process, client)
        if len(found) == WORKERS:
            return found
    message = f"{CONNECTIONS_MAX} connections came to {found.keys()}"
    raise AssertionError(message)


def plan(client: httpx.Client, number: int) -> str:
    body = {"start_state": cell((number % 4, number // 4)), "target_feature": cell(GOAL), "alternatives": 1}
    answer = client.post("/oak/plan", json=body)
    answer.raise_for_status()
    return answer.text.rsplit(',"planning_ms"', 1)[0]


def plans_counted(client: httpx.Client) -> float:
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    return sum(one.value for one in families["oak_plans"].samples if one.name == "oak_plans_total")


def test_processes_answer_alike_and_their_figures_are_added_up(server: RunningServer) -> None:
    with ExitStack() as stack:
        first, second = one_of_each(server, stack).values()
        first.post("/oak/episodes", json=walks(0, 30)).raise_for_status()
        assert second.post("/oak/consolidate", json={"wait": True, "timeout_s": WAIT_S}).status_code == httpx.codes.OK
        answers = [[plan(client, number) for number in range(ASKED)] for client in (first, second)]
        assert answers[0] == answers[1]
        assert '"reached":true' in "".join(answers[0])
        assert [plans_counted(client) for client in (first, second)] == [2 * ASKED, 2 * ASKED]
        assert first.get("/oak/model").json() == second.get("/oak/model").json()
    alive = processes(server)
    assert server.stop() == 0
    for process in alive:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert list(server.folder.glob("somabrain-metrics-*")) == []


def test_a_process_that_is_killed_is_replaced_and_nothing_counts_twice(server: RunningServer) -> None:
    eventually(lambda: len(processes(server)) == WORKERS)
    before = processes(server)
    option = {"option_id": "go", "name": "go", "target": cell(GOAL)}
    httpx.post(f"{server.url}/oak/option/create", json=option, timeout=WAIT_S).raise_for_status()
    for number in range(RUNS):
        if number == RUNS // 2:
            os.kill(min(before), signal.SIGKILL)
        told(server, number)
    eventually(lambda: len(processes(server)) == WORKERS and processes(server).isdisjoint({min(before)}))
    with ExitStack() as stack:
        for client in one_of_each(server, stack).values():
            model = client.get("/oak/model").json()
            assert sum(row["executions"] for row in model["rows"]) == RUNS


def test_settings_that_are_wrong_are_told_before_there_are_processes(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "SOMABRAIN_PORT": str(free_port()), "POLICY_PATH": "none.rego"}
    command = [Path(sys.executable).parent / "somabrain", "serve", "--workers", str(WORKERS)]
    ended = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert ended.returncode == EXIT_CONFIGURATION
    assert ended.stderr.count("\n") == 1
    assert "POLICY_PATH" in ended.stderr


def told(server: RunningServer, number: int) -> None:
    """Reports a run on a connection of its own, until somebody has answered."""
    run: dict[str, Any] = {"start": cell((0, 0)), "final": cell(GOAL), "rewards": [1]}
    headers = {"Idempotency-Key": f"run-{number}"}
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            httpx.post(f"{server.url}/oak/option/go/execution", json=run, headers=headers).raise_for_status()
        except httpx.TransportError:
            assert time.monotonic() < deadline
        else:
            return
