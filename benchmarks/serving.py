"""A real server on a loopback port: plans, executions, batches, the first answer; beside an empty route and SQLite."""

from __future__ import annotations

import base64
import os
import random
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import httpx
import orjson

from benchmarks.figures import MS_PER_S, Figure, figure, percentile, timed
from benchmarks.workload import STATES, document_of, random_workload

DIMENSION = 256
PLANS = 2000
EXECUTIONS = 1000
BATCHES = 10
BATCH = 1000
STARTS = 5
PLAN_BAR_MS = 10.0
EXECUTION_BAR_MS = 10.0
BATCH_BAR, VECTORS_BAR = 5000.0, 2500.0
VECTOR_OPTIONS = 20
START_BAR_MS = 2000.0
WORDS_BAR_MS = 3000.0
DEADLINE_S = 60.0
JSON = {"content-type": "application/json"}


def measure() -> list[Figure]:
    """All figures of a server with default settings on SQLite."""
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        starts = []
        for _ in range(STARTS):
            with server(Path(folder)) as (_, first_answer_ms, _):
                starts.append(first_answer_ms)
        words = [_first_words_ms(Path(folder)) for _ in range(STARTS)]
        with server(Path(folder)) as (client, _, _):
            model = orjson.dumps(document_of(random_workload(1), DIMENSION))
            client.put("/oak/model", content=model, headers=JSON).raise_for_status()
            figures = [
                *_plans(client),
                *_executions(client, Path(folder)),
                _batches(client),
                _batches_of_vectors(client),
            ]
    return [
        *figures,
        figure("demo's first words", words, bar=f"≤ {WORDS_BAR_MS:.0f} ms", met=percentile(words, 0.5) <= WORDS_BAR_MS),
        figure(
            "start to first answer", starts, bar=f"≤ {START_BAR_MS:.0f} ms", met=percentile(starts, 0.5) <= START_BAR_MS
        ),
    ]


@contextmanager
def server(folder: Path, **more: str) -> Iterator[tuple[httpx.Client, float, int]]:
    """A client of a server of its own, the milliseconds from its start to its first answer, and its process id.

    `more`: settings besides those that say where it is.
    """
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {
        "SOMABRAIN_PORT": str(port),
        "SOMABRAIN_DATA_DIR": str(folder / "data"),
        "SOMABRAIN_LOG_LEVEL": "warning",
        **more,
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "somabrain", "serve"], env={**kept, **settings}, cwd=folder
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
            yield client, until_ready(client, began), process.pid
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _first_words_ms(folder: Path) -> float:
    began = time.perf_counter()
    command = [Path(sys.executable).parent / "somabrain", "demo"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()  # type: ignore[union-attr]
        spent_ms = MS_PER_S * (time.perf_counter() - began)
        process.terminate()
    return spent_ms


def until_ready(client: httpx.Client, began: float) -> float:
    """Milliseconds from `began` to the first answer. Raises `TimeoutError`."""
    while time.perf_counter() - began < DEADLINE_S:
        try:
            client.get("/oak/namespaces").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.005)
        else:
            return (time.perf_counter() - began) * MS_PER_S
    message = "the server did not answer"
    raise TimeoutError(message)


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _plans(client: httpx.Client) -> list[Figure]:
    numbers = count()

    def ask() -> None:
        body = {"start_state": {"features": {"s": next(numbers) % 500}}, "target_feature": {"features": {"s": 7}}}
        client.post("/oak/plan", content=orjson.dumps(body), headers=JSON).raise_for_status()

    empty = percentile(timed(lambda: client.get("/healthz").raise_for_status(), PLANS), 0.5)
    values = timed(ask, PLANS)
    one = figure(
        "plan over HTTP, warm, 1 client",
        values,
        bar=f"p99 ≤ {PLAN_BAR_MS:.0f} ms",
        met=percentile(values, 0.99) <= PLAN_BAR_MS,
    )
    return [replace(one, peer=f"empty route: {empty:.3f} ms", ratio=one.median / empty)]


def run_of(number: int) -> dict[str, object]:
    """A run between states that the workload has, as it is reported."""
    return {
        "start": {"features": {"s": number % 500}},
        "final": {"features": {"s": (number * 7 + 1) % 500}},
        "rewards": [-1.0] * 5,
        "terminated_by": "target",
    }


def _executions(client: httpx.Client, folder: Path) -> list[Figure]:
    numbers = count()

    def record() -> None:
        number = next(numbers)
        headers = {**JSON, "Idempotency-Key": f"bench-{number}"}
        path = f"/oak/option/option-{number % 500:05d}/execution"
        client.post(path, content=orjson.dumps(run_of(number)), headers=headers).raise_for_status()

    database = sqlite3.connect(folder / "peer.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS t (x TEXT)")
    insert = percentile(timed(lambda: database.execute("INSERT INTO t VALUES ('x')"), EXECUTIONS), 0.5)
    database.close()
    values = timed(record, EXECUTIONS)
    one = figure(
        "execution, durable, 1 client",
        values,
        bar=f"p99 ≤ {EXECUTION_BAR_MS:.0f} ms",
        met=percentile(values, 0.99) <= EXECUTION_BAR_MS,
    )
    return [replace(one, peer=f"plain SQLite insert, durable: {insert:.3f} ms", ratio=one.median / insert)]


def _batches(client: httpx.Client) -> Figure:
    runs = ({"option_id": f"option-{n % 500:05d}", **run_of(n)} for n in count())
    return _told_in_batches(client, runs, f"executions in batches of {BATCH}", BATCH_BAR)


def _batches_of_vectors(client: httpx.Client) -> Figure:
    """Between states of random directions, as base64, which a batch after the first names again."""
    rng = random.Random(1)
    states = [
        {
            "vector_b64": base64.b64encode(
                struct.pack(f"<{DIMENSION}f", *(rng.gauss(0, 1) for _ in range(DIMENSION)))
            ).decode()
        }
        for _ in range(STATES)
    ]
    space = {"namespace": "vectors"}
    made = []
    for state in states[:VECTOR_OPTIONS]:
        wanted = {**space, "name": f"option {len(made)}", "target": state}
        answer = client.post("/oak/option/create", content=orjson.dumps(wanted), headers=JSON)
        made.append(answer.raise_for_status().json()["option_id"])

    def run(number: int) -> dict[str, object]:
        start, final = states[number % STATES], states[(number * 7 + 1) % STATES]
        return {"option_id": made[number % len(made)], **run_of(number), "start": start, "final": final}

    return _told_in_batches(
        client, map(run, count()), f"the same of vectors, {DIMENSION} components", VECTORS_BAR, **space
    )


def _told_in_batches(
    client: httpx.Client, runs: Iterator[dict[str, object]], name: str, bar: float, **space: str
) -> Figure:
    rates = []
    for _ in range(BATCHES):
        content = orjson.dumps({**space, "executions": list(islice(runs, BATCH))})
        began = time.perf_counter()
        client.post("/oak/executions", content=content, headers=JSON).raise_for_status()
        rates.append(BATCH / (time.perf_counter() - began))
    slowest_first = sorted(rates, reverse=True)
    met = percentile(rates, 0.5) >= bar
    return figure(name, slowest_first, unit="1/s", bar=f"≥ {bar:.0f} /s", met=met)
