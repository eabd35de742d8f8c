"""The client as it is installed and as its pages show it: alone, in the README's loop, in process, awaited."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from somabrain.client import AsyncBrain, Brain, StepRecorder
from somabrain.client.disk_queue import DiskQueue
from tests.misbehaving import misbehaving, sleeps
from tests.servers import free_port, somabrain

ROOT = Path(__file__).parents[2]
LINES_MAX = 20
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


class Booking:
    """A world with a way to book in two steps."""

    user = "ann 7"

    def __init__(self) -> None:
        self.page, self.booked = "start", False

    @property
    def closed(self) -> bool:
        return self.booked

    def facts(self) -> dict[str, Any]:
        return {"page": self.page, "booked": self.booked}

    def run(self, call: Any) -> dict[str, str]:
        self.page = "offers" if self.page == "start" else "done"
        self.booked = self.page == "done"
        return {"role": "tool", "content": self.page}


def model(messages: list[dict[str, str]], _tools: Booking) -> SimpleNamespace:
    """A language model that does the same whatever it reads."""
    assert all(set(message) == {"role", "content"} for message in messages)
    function = SimpleNamespace(name="next", arguments='{"user": "ann 7"}')
    return SimpleNamespace(tool_calls=[SimpleNamespace(id="1", function=function)])


def test_the_readmes_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (block,) = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in block.splitlines() if line.strip()]) <= LINES_MAX
    with somabrain({}, tmp_path) as server:
        program: dict[str, Any] = {}
        patient = '"booking", deadline_s=10.0'  # on a busy machine odds may be late, and the loop goes on without
        code = block.replace("http://localhost:9696", server.url).replace('"booking"', patient)
        exec(compile(code, "README.md", "exec"), program)
        brain: Brain = program["brain"]
        for _ in range(4):
            session, messages = Booking(), list[dict[str, str]]()
            program["run"](session, messages, session, model)
            assert [message["content"] for message in messages] == ["offers", "done"]
        assert brain.flush()
        odds = brain.predict({**Booking().facts(), "goal.booked": True}, roles={"user": "bob"}, agent="gpt-4o")
        assert (odds.episodes, odds.candidates[0].action) == (4, {"name": "next", "arguments": {"user": "bob"}})
        assert brain.calibration(agent="gpt-4o").episodes > 0
        brain.close()


def test_the_pages_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = PYTHON.findall((ROOT / "docs" / "user-manual" / "client.md").read_text(encoding="utf-8"))
    with somabrain({}, tmp_path) as server:
        exec(compile(block.replace("http://localhost:9696", server.url), "client.md", "exec"), program := {})
        program["brain"].close()
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(" state+steps 1")
    assert said[2] == "the key is under the mat"


def test_it_is_installed_alone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT / "distributions" / "client", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("somabrain_client-*.whl")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert wheel.name.split("-")[1] == version
    adapters = {f"somabrain/adapters/{name}.py" for name in ("langchain", "langgraph", "openai_agents", "tool_runs")}
    assert adapters <= set(zipfile.ZipFile(wheel).namelist())
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, check=True, capture_output=True)
    program = f"""
import sys
from somabrain.client import Brain, MissingError, UnavailableError
assert sys.modules["somabrain"].__file__.startswith({str(target)!r})
try:
    Brain()
except MissingError as error:
    assert "pip install somabrain" in str(error), error
with Brain("http://127.0.0.1:{free_port()}", queue="queue") as brain:
    try:
        brain.options()
    except UnavailableError:
        print("alone", sorted({{name.split(".")[0] for name in sys.modules}} & {{"common", "fastapi", "numpy"}}))
"""
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]),
    }
    command = [sys.executable, "-S", "-c", program]  # without the checkout, which .pth files lead to
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "alone []", done.stderr


IN_PROCESS = """
import threading
import time

from somabrain.client import Brain

before = set(threading.enumerate())
odds = []
for run in ("run-1", "run-2"):
    with Brain(deadline_s=10.0) as brain:
        with brain.episode(episode_id=run) as ep:
            odds.append(round(ep.odds({"at": "start"}), 6))
            with ep.step("go") as step:
                step.result(None, facts={"at": "end"})
        brain.outcome(run, success=True)
        assert brain.flush()
        assert brain.reported_episode("run-1").outcome is not None
        assert brain.remember("a").content == "a"
until = time.monotonic() + 10.0
while set(threading.enumerate()) - before and time.monotonic() < until:
    time.sleep(0.01)
print(odds, sorted(thread.name for thread in set(threading.enumerate()) - before))
"""


def test_in_process(tmp_path: Path) -> None:
    """In a program of its own: it sets up logging, and no thread of it may be left."""
    settings = {**os.environ, "MILVUS_URI": "off", "EMBEDDER": "hashed"}
    command = [sys.executable, "-c", IN_PROCESS]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[0.5, 0.666667] []", "")
    assert (tmp_path / "somabrain-data").is_dir()


def test_awaited(tmp_path: Path) -> None:
    async def agent(brain: AsyncBrain) -> StepRecorder:
        async with brain.episode(goal={"done": True}) as ep:
            odds = await asyncio.gather(*(ep.odds({"at": "start"}) for _ in range(3)))
            assert odds == [0.5] * 3
            assert await ep.advice({"at": "start"}) == []
            with ep.step("go") as step:
                assert step.result(7, facts={"done": True}) == 7
            await ep.outcome(success=True)
        assert await brain.flush()
        assert (await brain.reported_episode(ep.id)).success is True
        assert (await brain.recall("x")).hits == ()
        return step

    async def asked(url: str) -> None:
        async with AsyncBrain(url, queue=tmp_path / "queue", deadline_s=10.0) as brain:
            await agent(brain)
            broken = OSError("broken")
            with pytest.raises(OSError, match="broken") as raised:
                async with brain.episode() as ep:
                    with ep.step("go"):
                        raise broken
            assert raised.value is broken

    with somabrain({}, tmp_path) as server:
        asyncio.run(asked(server.url))


def test_awaited_of_a_sleeper(tmp_path: Path) -> None:
    async def waited(url: str) -> float:
        loop = asyncio.get_running_loop()
        async with AsyncBrain(url, queue=tmp_path) as brain, brain.episode() as ep:
            begun = loop.time()
            for _ in range(10):
                assert await ep.odds({"at": "start"}) == 1.0
            return loop.time() - begun

    with misbehaving(sleeps) as url:
        assert asyncio.run(waited(url)) < 3.0


def test_a_full_queue_keeps_what_it_has_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = DiskQueue(tmp_path, bytes_max=1000)
    assert [queue.add("/oak/episodes", {"n": number, "x": "x" * 400}) for number in range(3)] == [True, True, False]
    assert [item.body["n"] for item in queue.items()] == [0, 1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is full" in caplog.text


def test_a_queue_that_is_no_folder_loses_nothing_of_this_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with somabrain({}, tmp_path) as server, Brain(server.url, queue=tmp_path / "file" / "queue") as brain:
        with brain.episode() as ep, ep.step("go"):
            assert ep.turns == 1
        assert brain.flush()
        assert len(brain.reported_episode(ep.id).steps) == 1
    assert "no later process knows" in caplog.text


def test_a_file_that_is_no_item_is_moved_aside(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path)
    (tmp_path / "00000000000000000001-x.json").write_text("{")
    assert queue.add("/oak/episodes", {})
    assert len(list(queue.items())) == 1
    assert (tmp_path / "refused" / "00000000000000000001-x.txt").read_text().startswith("not an item")
