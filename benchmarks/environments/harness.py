"""What the benchmarks of environments share: a service, a namespace of it, random data, and how rows are shown.

A benchmark lets an agent act at random in an environment, posts what it lived through as episodes of primitive
actions, has options worked out once, and then measures the policy that `/oak/act` defines: exactly where the
environment has a table (`benchmarks.environments.exact`). All of it goes through the HTTP API.

    options = parser(__doc__).parse_args(arguments)
    with service(in_process=options.in_process) as http:
        world = World(http, "seed-0")
        walks = random_walks(env, seed=0, count=400, limit=200)
        world.post_episodes(episode(walk, state_of, names) for walk in walks)
        world.consolidate()
        follower = Follower(world, names, state_of, target_of)
    return show("title", rows, check=options.check)
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.environments.exact import Choice
from benchmarks.figures import machine
from common.config.settings import Settings
from somabrain.bootstrap import make_app
from somabrain.observability.logs import configure_logs

Json = dict[str, Any]
State = Mapping[str, Any]
"""A state as the API takes it: `{"features": {...}}`, `{"vector_b64": "..."}` or `{"text": "..."}`."""

SETTINGS: Mapping[str, str | float] = {
    "milvus_uri": "off",
    "embedder": "hashed",
    "oak_consolidate_episodes": 1_000_000,
    "somabrain_log_level": "error",
}
"""No background consolidation: options are worked out where a benchmark asks for it."""

EPISODES_MAX = 100
"""Most episodes of a batch (DESIGN §7)."""
BATCH_BYTES_MAX = 30 << 20
"""Below the 32 MiB that a batch may have, with room for what is around the episodes."""
WAIT_S = 600.0
START_S = 60.0
STOP_S = 15.0
JSON = {"content-type": "application/json"}

TEMPORAL = frozenset({"discovered", "declared", "goal"})
"""Sources of options that run for several steps; an agent hands their id back until it is told another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A trajectory: the k + 1 states, the k numbers of actions, the k rewards.

    `terminated`: the world ended in the last state; else the walk was cut off there.
    """

    states: tuple[Any, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]
    terminated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A measured row: a value for each seed, what is asked of them, whether it is met (`None`: nothing is asked)."""

    name: str
    values: Sequence[float]
    bar: str
    met: bool | None
    seconds: float
    notes: str = ""


class World:
    """One namespace of a service."""

    def __init__(self, http: httpx.Client, namespace: str) -> None:
        """Nothing is asked yet. `http` must know the address."""
        self._http = http
        self._namespace = namespace

    def post(self, path: str, body: Mapping[str, Any]) -> Json:
        """The answer to a body in this namespace. Raises `RuntimeError` with the answer where it is refused."""
        return self._sent(path, orjson.dumps({"namespace": self._namespace, **body}))

    def get(self, path: str, **parameters: str | int) -> Json:
        """The answer to a question about this namespace. Raises `RuntimeError` where it is refused."""
        answer = self._http.get(path, params={"namespace": self._namespace, **parameters})
        return _document(path, answer)

    def post_episodes(self, episodes: Iterable[Mapping[str, Any]]) -> int:
        """Posts episodes (bodies of `/oak/episode`) in their order, in batches as large as may be; how many."""
        count, size = 0, 0
        batch: list[bytes] = []
        for body in episodes:
            item = orjson.dumps(body)
            if batch and (len(batch) == EPISODES_MAX or size + len(item) > BATCH_BYTES_MAX):
                self._post_batch(batch)
                batch, size = [], 0
            batch.append(item)
            size += len(item) + 1
            count += 1
        if batch:
            self._post_batch(batch)
        return count

    def consolidate(self) -> Json:
        """Has options worked out, and waits for it. Raises `TimeoutError`."""
        answer = self.post("/oak/consolidate", {"wait": True, "timeout_s": WAIT_S})
        if answer["state"] != "idle":
            message = f"consolidation is {answer['state']} after {WAIT_S} s: {answer['problem']}"
            raise TimeoutError(message)
        return answer

    def act(self, state: State, target: State, running: str | None = None, **more: Any) -> Json:
        """What to do now, with the option `running`, if any; `more` are further fields of the body."""
        body = {"state": state, "target_feature": target, **more}
        return self.post("/oak/act", body if running is None else {**body, "option_id": running})

    def plan(self, start: State, target: State, **more: Any) -> Json:
        """The plan; `more` are further fields of the body."""
        return self.post("/oak/plan", {"start_state": start, "target_feature": target, **more})

    def option(self, option_id: str) -> Json:
        """An option."""
        return self.get(f"/oak/option/{option_id}")

    def _post_batch(self, batch: Sequence[bytes]) -> None:
        name = orjson.dumps(self._namespace)
        self._sent("/oak/episodes", b'{"namespace":' + name + b',"episodes":[' + b",".join(batch) + b"]}")

    def _sent(self, path: str, content: bytes) -> Json:
        return _document(path, self._http.post(path, content=content, headers=JSON))


class Follower:
    """The policy that `/oak/act` defines. The same question is asked once: the answer is a function of it."""

    def __init__(
        self,
        world: World,
        actions: Sequence[str],
        state_of: Callable[[int], State],
        target_of: Callable[[int], State],
    ) -> None:
        """`actions` by number; `state_of` and `target_of` an environment's state: what the agent says of them."""
        self._world = world
        self._numbers = {name: number for number, name in enumerate(actions)}
        self._state_of = state_of
        self._target_of = target_of
        self._known: dict[tuple[int, str | None], Choice[str]] = {}

    def __call__(self, state: int, running: str | None) -> Choice[str]:
        """What to do in a state of the environment with an option running; no action where no way is known."""
        key = (state, running)
        if key not in self._known:
            answer = self._world.act(self._state_of(state), self._target_of(state), running)
            self._known[key] = self.chosen(answer)
        return self._known[key]

    def chosen(self, answer: Json) -> Choice[str]:
        """The action of an answer of `/oak/act`, and what runs then."""
        if answer["action"] is None:
            return Choice(action=None, running=None)
        running = answer["option_id"] if answer["source"] in TEMPORAL else None
        return Choice(action=self._numbers[answer["action"]], running=running)


def random_walks(env: Any, *, seed: int, count: int, limit: int) -> Iterator[Walk]:
    """Episodes of a Gymnasium environment of discrete actions, each of which is as likely in every step.

    `seed` decides both the environment's chances and the actions. An episode is cut after `limit` steps, or where the
    environment says so.
    """
    random = Random(seed)
    for number in range(count):
        state, _ = env.reset(seed=seed) if number == 0 else env.reset()
        states, actions, rewards, terminated = [state], [], [], False
        for _ in range(limit):
            action = random.randrange(int(env.action_space.n))
            state, reward, terminated, truncated, _ = env.step(action)
            states.append(state)
            actions.append(action)
            rewards.append(float(reward))
            if terminated or truncated:
                break
        yield Walk(states=tuple(states), actions=tuple(actions), rewards=tuple(rewards), terminated=bool(terminated))


def episode(walk: Walk, state_of: Callable[[Any], State], actions: Sequence[str]) -> Json:
    """A walk as the body of `/oak/episode`; what became of it otherwise than by its rewards is not told."""
    steps = [
        {"state": state_of(state), "action": actions[action], "reward": reward}
        for state, action, reward in zip(walk.states[:-1], walk.actions, walk.rewards, strict=True)
    ]
    return {"steps": steps, "final": state_of(walk.states[-1]), "terminated": walk.terminated}


@contextmanager
def service(*, in_process: bool, **settings: str | float) -> Iterator[httpx.Client]:
    """A client of a service of its own, with default settings but `SETTINGS` and `settings` (names in lower case).

    Its data are in a temporary folder. In process: the same application and API with no server process and no network.
    """
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        chosen = {**SETTINGS, **settings, "somabrain_data_dir": str(Path(folder) / "data")}
        with _in_process(chosen) if in_process else _server(chosen, Path(folder)) as http:
            yield http


def parser(description: str | None, *, seeds: int | None = 5) -> argparse.ArgumentParser:
    """A parser of the arguments that every environment has: `seeds`, `in_process`, `check`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=seeds, help="how many seeds: 0, 1, 2 ...")
    made.add_argument("--in-process", action="store_true", help="the same API, with no server process and no network")
    made.add_argument("--check", action="store_true", help="fail where a bar is missed")
    return made


def show(title: str, rows: Sequence[Row], *, check: bool) -> int:
    """Prints the rows; the exit status: 1 where `check` finds a bar missed."""
    table = Table(title=f"{title}\n{machine()}", title_justify="left")
    for column in ("what", "seeds", "mean", "worst seed", "bar", "met", "s", "notes"):
        table.add_column(column, justify="left" if column in {"what", "bar", "notes"} else "right", overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            str(len(row.values)),
            f"{fmean(row.values):.4f}" if row.values else "-",
            f"{min(row.values):.4f}" if row.values else "-",
            row.bar,
            "" if row.met is None else "yes" if row.met else "NO",
            f"{row.seconds:.1f}",
            row.notes,
        )
    Console(width=170).print(table)
    missed = [row.name for row in rows if row.met is False]
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if check and missed else 0


@contextmanager
def _in_process(settings: Mapping[str, str | float]) -> Iterator[httpx.Client]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Starlette would rather have httpx2
        from starlette.testclient import TestClient  # noqa: PLC0415

    configure_logs("error")
    defaults = {name: field.get_default() for name, field in Settings.model_fields.items()}
    app = make_app(Settings.model_validate({**defaults, **settings}))
    client: Any = TestClient(app, base_url="http://localhost")  # as httpx's, though typed otherwise
    with client as http:
        yield http


@contextmanager
def _server(settings: Mapping[str, str | float], folder: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    given = {name.upper(): str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [Path(sys.executable).parent / "somabrain", "serve"],
        env={**kept, **given, "SOMABRAIN_PORT": str(port)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WAIT_S + START_S) as http:
            _until_ready(http, process)
            yield http
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            http.get("/readyz").raise_for_status()
        except (httpx.TransportError, httpx.HTTPStatusError):
            time.sleep(0.02)
        else:
            return
    message = "the server did not start"
    raise TimeoutError(message)


def _document(path: str, answer: httpx.Response) -> Json:
    if not answer.is_success:
        message = f"{path}: {answer.status_code} {answer.text}"
        raise RuntimeError(message)
    document: Json = orjson.loads(answer.content)
    return document
