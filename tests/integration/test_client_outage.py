"""An agent whose memory is down, slow or mad behaves as one that has none, and what it recorded arrives afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from somabrain.client import FAIL_OPEN_ODDS, Brain, GarbledError, UnavailableError
from tests.misbehaving import (
    NONSENSE,
    misbehaving,
    sleeps,
)
from tests.servers import RunningServer, free_port, somabrain

TURNS = 10
EXPECTED = [f"result {turn}" for turn in range(TURNS)]
SECONDS_FOR_ALL = 3.0
"""Ten turns at 60 ms each are 0.6 s; a machine that is busy may take five times as long, ten sleeps of 10 s can't."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that has not been started yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    running = RunningServer({}, folder)
    yield running
    running.stop()


def agent(brain: Brain, episode_id: str) -> tuple[list[str], list[float]]:
    """Ten turns of an agent; its results, and the odds that it was told."""
    results, odds = [], []
    with brain.episode(goal={"booked": True}, agent="a", budget=20, episode_id=episode_id) as ep:
        for turn in range(TURNS):
            facts = {"page": turn}
            odds.append(ep.odds(facts))
            ep.advice(facts)
            with ep.step(("open", {"page": turn + 1})) as step:
                results.append(step.result(f"result {turn}", facts={"page": turn + 1}))
        ep.outcome(success=True)
    return results, odds


def reported(server: RunningServer, episode_id: str) -> dict[str, Any]:
    response = httpx.get(f"{server.url}/oak/episode/{episode_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def episodes_known(server: RunningServer) -> int:
    events = httpx.get(f"{server.url}/events", params={"limit": 1000}).json()["events"]
    return sum(event["type"] == "EpisodeRecorded" for event in events)


def test_an_agent_is_as_good_as_without_it_and_what_it_recorded_arrives_once(
    server: RunningServer, tmp_path: Path
) -> None:
    brains = {}
    for number, (name, manners) in enumerate(NONSENSE.items()):
        with misbehaving(manners, server.port) as url:
            brain = brains[f"run-{number}"] = Brain(url, queue=tmp_path / f"queue-{number}")
            begun = time.monotonic()
            results, odds = agent(brain, f"run-{number}")
            took_s = time.monotonic() - begun
            assert (results, odds) == (EXPECTED, [FAIL_OPEN_ODDS] * TURNS), name
            assert took_s < SECONDS_FOR_ALL, name
            assert not brain.flush(0.1), name
    server.start()
    for episode_id, brain in brains.items():
        assert brain.flush(60.0)
        brain.close()
        found = reported(server, episode_id)
        assert [step["action"]["arguments"]["page"] for step in found["steps"]] == list(range(1, TURNS + 1))
        assert [step["turn"] for step in found["steps"]] == list(range(TURNS))
        assert (found["success"], found["agent"]) == (True, "a")
    assert episodes_known(server) == len(NONSENSE)


def test_nobody_there(server: RunningServer, tmp_path: Path) -> None:
    with Brain(server.url, queue=tmp_path / "queue") as brain:
        results, odds = agent(brain, "run-1")
        assert (results, odds) == (EXPECTED, [FAIL_OPEN_ODDS] * TURNS)
        with pytest.raises(UnavailableError):
            brain.options()
        server.start()
        assert brain.flush(60.0)
    assert reported(server, "run-1")["success"] is True
    assert episodes_known(server) == 1


def test_the_last_question_says_why_there_are_no_odds(tmp_path: Path) -> None:
    with misbehaving(sleeps) as url, Brain(url, queue=tmp_path) as brain, brain.episode() as ep:
        assert ep.odds({"at": "start"}) == FAIL_OPEN_ODDS
        assert ep.last is not None
        assert ep.last.failed_open
        assert ep.last.problem is not None
        assert ep.last.problem.startswith("no answer")
        assert ep.advice({"at": "start"}) == []


@pytest.mark.parametrize("name", ["other JSON", "a list", "odds beyond all bounds"])
def test_what_is_wrong_with_an_answer_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    with (
        misbehaving(NONSENSE[name]) as url,
        Brain(url, queue=tmp_path) as brain,
        pytest.raises(GarbledError, match=r"^what was answered is no PredictAnswer: [^\n]+: [^\n]+$"),
    ):
        brain.predict({"at": "start"})


def test_a_name_that_leads_nowhere(tmp_path: Path) -> None:
    brain = Brain(f"http://no-such-host.invalid:{free_port()}", queue=tmp_path / "queue")
    begun = time.monotonic()
    assert agent(brain, "run-1")[0] == EXPECTED
    assert time.monotonic() - begun < SECONDS_FOR_ALL
    brain.close()


def test_what_a_killed_process_recorded_is_sent_by_the_next(server: RunningServer, tmp_path: Path) -> None:
    program = f"""
import os, signal
from somabrain.client import Brain
brain = Brain({server.url!r}, queue={str(tmp_path / "queue")!r})
for number in range(3):
    with brain.episode(episode_id=f"run-{{number}}") as ep:
        with ep.step("go"):
            pass
brain.outcome("run-0", success=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode < 0
    server.start()
    with Brain(server.url, queue=tmp_path / "queue") as brain:
        assert brain.flush(60.0)
    assert episodes_known(server) == 3
    assert reported(server, "run-0")["outcome"]["success"] is True


def test_two_processes_on_one_folder_send_everything_once(server: RunningServer, tmp_path: Path) -> None:
    program = f"""
import sys
import tempfile
from somabrain.client import Brain
with Brain({server.url!r}, queue={str(tmp_path / "queue")!r}) as brain:
    for number in range(20):
        with brain.episode(episode_id=f"{{sys.argv[1]}}-{{number}}") as ep:
            with ep.step("go"):
                pass
        brain.outcome(ep.id, success=number % 2 == 0)
    assert brain.flush(60.0)
"""
    server.start()
    running = [subprocess.Popen([sys.executable, "-c", program, name]) for name in ("a", "b")]
    assert [process.wait(90.0) for process in running] == [0, 0]
    assert episodes_known(server) == 40
    assert reported(server, "b-18")["outcome"]["success"] is True
    assert list((tmp_path / "queue" / "refused").iterdir()) == []


def test_a_server_that_dies_between_two_runs(tmp_path: Path) -> None:
    with somabrain({}, tmp_path) as server, Brain(server.url, queue=tmp_path / "queue") as brain:
        agent(brain, "run-1")
        assert brain.flush(60.0)
        server.kill()
        assert agent(brain, "run-2")[0] == EXPECTED
        brain.outcome("run-3", success=True)
        assert not brain.flush(0.3)
        server.start()
        with brain.episode(episode_id="run-3") as ep, ep.step("go"):
            assert ep.turns == 1
        assert brain.flush(60.0), "an outcome waits for its episode"
        assert episodes_known(server) == 3
        assert reported(server, "run-3")["outcome"]["success"] is True


def test_a_brain_that_can_write_nowhere_loses_what_it_recorded_and_nothing_else(tmp_path: Path) -> None:
    """In a program of its own, whose folder for temporary files is none either."""
    (tmp_path / "file").touch()
    program = f"""
from pathlib import Path
from somabrain.client import Brain
from tests.integration.test_client_outage import EXPECTED, agent
import logging, tempfile
logging.basicConfig(format="%(message)s")
tempfile.tempdir = {str(tmp_path / "file")!r}
with Brain("http://127.0.0.1:{free_port()}", queue=Path({str(tmp_path / "file" / "queue")!r})) as brain:
    assert agent(brain, "run-1")[0] == EXPECTED
    assert brain.flush()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "lost, for want of a folder" in done.stderr


def test_a_wrong_key_keeps_everything_until_it_is_right(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    program = Path(sys.executable).parent / "somabrain"
    command = [program, "keys", "create", "--tenant", "acme", "--subject", "a", "--role", "brain_admin"]
    environment = {"SOMABRAIN_KEYS_FILE": str(keys), "PATH": "/usr/bin:/bin"}
    made = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    [key] = [word for word in made.stdout.split() if word.startswith("sb_")]
    with somabrain({"AUTH_MODE": "keys", "SOMABRAIN_KEYS_FILE": str(keys)}, tmp_path) as server:
        with Brain(server.url, key=key[:-1], queue=tmp_path / "queue") as brain:
            assert agent(brain, "run-1") == (EXPECTED, [FAIL_OPEN_ODDS] * TURNS)
            assert not brain.flush(0.5)
        with Brain(server.url, key=key, queue=tmp_path / "queue") as brain:
            assert brain.flush(60.0)
            assert brain.reported_episode("run-1").success is True


def test_a_program_that_just_ends_has_sent_what_it_recorded(server: RunningServer, tmp_path: Path) -> None:
    program = f"""
from somabrain.client import Brain
brain = Brain({server.url!r}, queue={str(tmp_path / "queue")!r})
with brain.episode(episode_id="run-1") as ep, ep.step("go"):
    raise SystemExit(3)
"""
    server.start()
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 3
    assert (reported(server, "run-1")["metadata"], episodes_known(server)) == ({"raised": "SystemExit"}, 1)
