"""`python -m benchmarks soak`: ten minutes of mixed load on one server, on SQLite.

500 options, 500 prototypes, 5,000 edges, and episodes beside them. Seven kept connections plan, act, ask for odds,
report runs and episodes, remember and recall, each at its own pace; what was remembered is forgotten again. Runs end
where their rows say, and episodes walk a fixed world that was walked before, so that the model stays as large as it is
and only the journal grows. After two minutes that warm up: the memory of the process, and how long each kind took.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import orjson

from benchmarks.figures import MS_PER_S, Figure, figure, percentile
from benchmarks.serving import DIMENSION, JSON, server
from benchmarks.workload import STATES, document_of, random_workload
from somabrain.api.experience_schemas import EPISODES_MAX

SECONDS, WARM_S = 600.0, 120.0
SAMPLE_S = 5.0
GROWN, SLOWER = 1.05, 1.25
MEMORIES = 500
PLACES, ACTIONS, STEPS, BATCHES = 100, 4, 20, 10
"""The world of episodes, where each action leads from a place to one other; and batches of them reported before."""
PACES = {"plan": 20.0, "act": 40.0, "predict": 20.0, "execution": 10.0, "episode": 2.0, "remember": 5.0, "recall": 10.0}
"""Requests a second of each kind."""


def measure() -> list[Figure]:
    """Memory and times of the end beside those after the warm-up; any refusal ends the run."""
    with TemporaryDirectory(prefix="somabrain-bench-") as name, server(Path(name)) as (client, _, pid):
        model = orjson.dumps(document_of(WORKLOAD, DIMENSION))
        client.put("/oak/model", content=model, headers=JSON).raise_for_status()
        rng = random.Random(0)
        for batch in range(BATCHES):
            walked = [_walk(rng, f"before-{batch}-{number}") for number in range(EPISODES_MAX)]
            _post(client, "/oak/episodes", {"namespace": LIVED, "episodes": walked})
        load = _Load(str(client.base_url))
        resident = load.run(lambda: _resident_mib(pid))
    warm, last = resident[: len(resident) // 4], resident[-(len(resident) // 4) :]
    grown = percentile(last, 0.5) / percentile(warm, 0.5)
    memory = replace(
        figure("memory of the server in the last quarter", last, unit="MiB"),
        peer=f"in the first quarter after {WARM_S:.0f} s: {percentile(warm, 0.5):.1f} MiB",
        ratio=grown,
        bar=f"≤ {GROWN:g} ×",
        met=grown <= GROWN,
    )
    return [memory, *(_slower(kind, load.spent[kind]) for kind in PACES)]


def _slower(kind: str, spent: list[float]) -> Figure:
    half = len(spent) // 2
    ratio = percentile(spent[half:], 0.99) / percentile(spent[:half], 0.99)
    return replace(
        figure(f"{kind}, second half, {PACES[kind]:g} a second", spent[half:]),
        peer=f"p99 of the first half: {percentile(spent[:half], 0.99):.3f} ms",
        ratio=ratio,
        bar=f"p99 ≤ {SLOWER:g} ×",
        met=ratio <= SLOWER,
    )


class _Load:
    """Connections that ask at their paces until the time is over."""

    def __init__(self, url: str) -> None:
        self.spent: dict[str, list[float]] = {kind: [] for kind in PACES}
        self._url = url
        self._began = time.perf_counter()
        self._failure: BaseException | None = None

    def run(self, resident: Callable[[], float]) -> list[float]:
        """What `resident` says, every SAMPLE_S after the warm-up. Raises what a connection that failed raised."""
        threads = [threading.Thread(target=self._keep, args=(kind,)) for kind in PACES]
        for one in threads:
            one.start()
        found = []
        while self._past() < SECONDS and self._failure is None:
            time.sleep(SAMPLE_S)
            if self._past() > WARM_S:
                found.append(resident())
        for one in threads:
            one.join()
        if self._failure is not None:
            raise self._failure
        return found

    def _past(self) -> float:
        return time.perf_counter() - self._began

    def _keep(self, kind: str) -> None:
        ask = ASKS[kind]
        rng = random.Random(kind)
        try:
            with httpx.Client(base_url=self._url, timeout=60) as client:
                for number in count():
                    due = self._began + number / PACES[kind]
                    time.sleep(max(0.0, due - time.perf_counter()))
                    if self._past() > SECONDS or self._failure is not None:
                        return
                    ask(client, rng, number)
                    if self._past() > WARM_S:
                        self.spent[kind].append((time.perf_counter() - due) * MS_PER_S)
        except httpx.HTTPError as failure:
            self._failure = failure


def _post(client: httpx.Client, path: str, body: Mapping[str, object]) -> None:
    client.post(path, content=orjson.dumps(body), headers=JSON).raise_for_status()


def _state(place: int) -> dict[str, dict[str, int]]:
    return {"features": {"s": place}}


def _plan(client: httpx.Client, rng: random.Random, _number: int) -> None:
    _post(client, "/oak/plan", {"start_state": _state(rng.randrange(STATES)), "target_feature": _state(7)})


def _act(client: httpx.Client, rng: random.Random, _number: int) -> None:
    _post(client, "/oak/act", {"state": _state(rng.randrange(STATES)), "target_feature": _state(77)})


def _predict(client: httpx.Client, rng: random.Random, _number: int) -> None:
    body = {"namespace": LIVED, "state": _state(rng.randrange(PLACES)), "steps_taken": rng.randrange(STEPS)}
    _post(client, "/oak/predict", body)


def _execution(client: httpx.Client, rng: random.Random, _number: int) -> None:
    row = rng.choice(WORKLOAD.rows)
    (final,) = rng.choices(row.outcomes, row.probability)
    body = {"start": _state(row.start), "final": _state(final), "rewards": [-1.0] * 5, "terminated_by": "target"}
    _post(client, f"/oak/option/{row.option_id}/execution", body)


def _walk(rng: random.Random, episode_id: str) -> dict[str, object]:
    place, steps = rng.randrange(PLACES), []
    for _ in range(STEPS):
        action = rng.randrange(ACTIONS)
        steps.append({"state": _state(place), "action": f"go {action}", "reward": -1.0})
        place = (place * ACTIONS + action + 1) % PLACES
    return {"episode_id": episode_id, "steps": steps, "final": _state(place), "success": place % 2 == 0}


def _episode(client: httpx.Client, rng: random.Random, number: int) -> None:
    _post(client, "/oak/episode", {"namespace": LIVED, **_walk(rng, f"e{number}")})


def _remember(client: httpx.Client, rng: random.Random, number: int) -> None:
    memory = {"memory_id": f"m{number}", "content": f"the {rng.choice(WORDS)} is in the {rng.choice(WORDS)}"}
    _post(client, "/memory/remember", memory)
    if number >= MEMORIES:
        client.delete(f"/memory/m{number - MEMORIES}").raise_for_status()


def _recall(client: httpx.Client, rng: random.Random, _number: int) -> None:
    _post(client, "/memory/recall", {"query": {"text": f"where is the {rng.choice(WORDS)}"}, "top_k": 5})


WORKLOAD = random_workload(1)
LIVED = "lived"
WORDS = ("apple", "bowl", "cup", "desk", "fridge", "knife", "lamp", "mug", "pan", "plate", "shelf", "sofa")
ASKS: Mapping[str, Callable[[httpx.Client, random.Random, int], None]] = {
    "plan": _plan,
    "act": _act,
    "predict": _predict,
    "execution": _execution,
    "episode": _episode,
    "remember": _remember,
    "recall": _recall,
}


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    line = next(one for one in lines if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
