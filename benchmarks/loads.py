"""`python -m benchmarks loads`: eight kept connections, beside a route of the same process that does nothing.

A server process on SQLite, 500 declared options, 500 prototypes, 5,000 edges. Plans and acts are toward goals asked for
before. In rounds, each kind of request in turn saturates the server; then each comes at half of what it saturated with,
and the milliseconds are those from when a request was due. The route beside them, `/echo`, parses a body of the same
size and answers with a document of the same size; it asks no policy and reads nothing (`echo.py`). "Guarded" is a route
that answers the same behind authentication, policy and the checks of the body: what is left is the operation's own.
A policy decision is measured alone, in the benchmark's process, beside the time that the bar leaves to everything that
the empty route does not do.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import orjson

from benchmarks.echo import PATH
from benchmarks.figures import MS_PER_S, Figure, figure, percentile, timed
from benchmarks.http_load import paced, request, saturated
from benchmarks.serving import DEADLINE_S, DIMENSION, JSON, free_port, until_ready
from benchmarks.workload import STATES, document_of, random_workload
from somabrain.policy.embedded import EmbeddedPolicy, policy_source
from somabrain.ports import Principal, Question
from somabrain.tenancy import DEFAULT_NAMESPACE, TenantId

CLIENTS, ROUNDS = 8, 3
SATURATED_S, PACED_S = 3.0, 10.0
BODIES = 400
GOALS = (7, 77, 277)
HALF = 0.5
DECISIONS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A kind of request: its bodies, and its bars: p99 at half load, and share of the empty route's answers."""

    name: str
    path: str
    p99_ms: float
    share: float


KINDS = (
    Asked(name="plan", path="/oak/plan", p99_ms=5.0, share=0.6),
    Asked(name="act", path="/oak/act", p99_ms=3.0, share=0.7),
)


def measure() -> list[Figure]:
    """Answers a second, saturated, and milliseconds at half of that."""
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder, echoing(Path(folder)) as (client, port):
        model = orjson.dumps(document_of(random_workload(1), DIMENSION))
        client.put("/oak/model", content=model, headers=JSON).raise_for_status()
        return [one for asked in KINDS for one in _beside(client, port, asked)]


def bodies_of(asked: Asked, rng: random.Random, number: int) -> list[bytes]:
    """Bodies from random states toward a few goals."""
    state = "start_state" if asked.name == "plan" else "state"
    return [
        orjson.dumps(
            {
                state: {"features": {"s": rng.randrange(STATES)}},
                "target_feature": {"features": {"s": rng.choice(GOALS)}},
            }
        )
        for _ in range(number)
    ]


def _beside(client: httpx.Client, port: int, asked: Asked) -> list[Figure]:
    bodies = bodies_of(asked, random.Random(4), BODIES)
    answers = [client.post(asked.path, content=body, headers=JSON).raise_for_status().content for body in bodies]
    middle = sorted(answers, key=len)[BODIES // 2]
    client.put(PATH, content=middle, headers=JSON).raise_for_status()
    real = [request("POST", asked.path, body) for body in bodies]
    empty = [request("POST", PATH, body) for body in bodies]
    guarded = [request("POST", f"{PATH}/{asked.name}", body) for body in bodies]
    rates: list[float] = []
    peers: list[float] = []
    shells: list[float] = []
    for _ in range(ROUNDS):
        for requests, found in ((real, rates), (empty, peers), (guarded, shells)):
            found.append(saturated(port, requests, clients=CLIENTS, seconds=SATURATED_S))
    rate, peer = percentile(rates, HALF), percentile(peers, HALF)
    spent = paced(port, real, clients=CLIENTS, rate=HALF * rate, seconds=PACED_S)
    bare = paced(port, empty, clients=CLIENTS, rate=HALF * rate, seconds=PACED_S)
    leaves = MS_PER_S / peer * (1 / asked.share - 1)
    decisions = _decisions(asked)
    return [
        replace(
            figure(
                f"{asked.name} over HTTP, warm, {CLIENTS} clients, saturated",
                sorted(rates, reverse=True),
                unit="1/s",
                bar=f"≥ {asked.share:g} of the empty route",
                met=rate >= asked.share * peer,
            ),
            peer=f"empty route, bodies of the same size: {peer:.0f} /s",
            ratio=rate / peer,
        ),
        replace(
            figure(
                f"guarded route asked as {asked.name}, {CLIENTS} clients, saturated",
                sorted(shells, reverse=True),
                unit="1/s",
            ),
            peer=f"{asked.name} over HTTP: {rate:.0f} /s",
            ratio=percentile(shells, HALF) / rate,
        ),
        replace(
            figure(f"policy decision of {asked.name}, in process", decisions),
            peer=f"what the bar leaves beside the empty route: {leaves:.3f} ms",
            ratio=percentile(decisions, HALF) / leaves,
        ),
        replace(
            figure(
                f"{asked.name} over HTTP, warm, {CLIENTS} clients, {HALF * rate:.0f} a second",
                spent,
                bar=f"p99 ≤ {asked.p99_ms:g} ms",
                met=percentile(spent, 0.99) <= asked.p99_ms,
            ),
            peer=f"empty route at that pace, p99: {percentile(bare, 0.99):.3f} ms",
            ratio=percentile(spent, 0.99) / percentile(bare, 0.99),
        ),
    ]


def _decisions(asked: Asked) -> list[float]:
    policy = EmbeddedPolicy(policy_source(None))
    question = Question(
        method="POST",
        path=tuple(asked.path.strip("/").split("/")),
        action=asked.name,
        namespace=DEFAULT_NAMESPACE,
        resource_kind="plan",
        resource_id=None,
        principal=Principal(tenant=TenantId("default"), subject="benchmark", roles=("brain_reader",)),
        usage={"requests_last_minute": 1, "requests_per_minute_max": 2, "seconds_to_reset": 60.0},
    )
    assert policy.decide(question).allowed
    return timed(lambda: policy.decide(question), DECISIONS)


@contextmanager
def echoing(folder: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A client of a server process with the empty route, and its port."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"SOMABRAIN_DATA_DIR": str(folder / "data"), "SOMABRAIN_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "benchmarks.echo", str(port)]
    process = subprocess.Popen(command, env={**kept, **settings})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
            until_ready(client, time.perf_counter())
            yield client, port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
