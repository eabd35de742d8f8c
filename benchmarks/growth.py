"""`python -m benchmarks growth`: a million executions into one tenant, over HTTP in batches, on SQLite.

500 options, each run from 20 of 500 states with three ends. After each tenth: executions a second in the batches,
single durable executions, the bytes of the database, and the server's start to its first answer. Beside each its first
value, and for the time of an execution the exponent of its growth with the number of executions, by least squares.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import orjson

from benchmarks.figures import MS_PER_S, Figure, figure, percentile, timed
from benchmarks.serving import JSON, server
from benchmarks.workload import OPTIONS, STATES

EXECUTIONS, STAGES, BATCH = 1_000_000, 10, 1000
STARTS, ENDS = 20, 3
SINGLE = 100
FLAT = 1.2


def measure() -> list[Figure]:
    """What the last tenth costs beside the first."""
    rng = random.Random(6)
    spent: list[list[float]] = []
    singles: list[list[float]] = []
    sizes: list[int] = []
    starts: list[float] = []
    with TemporaryDirectory(prefix="somabrain-bench-") as name:
        folder = Path(name)
        for stage in range(STAGES):
            with server(folder) as (client, started_ms, _):
                if stage == 0:
                    _declare(client)
                else:
                    starts.append(started_ms)
                batches = EXECUTIONS // STAGES // BATCH
                spent.append([_batch_ms(client, rng) for _ in range(batches)])
                singles.append(timed(lambda client=client: _single(client, rng), SINGLE))  # type: ignore[misc]
            sizes.append(sum(one.stat().st_size for one in (folder / "data").glob("somabrain.sqlite3*")))
        with server(folder) as (_, started_ms, _):
            starts.append(started_ms)
    each_us = [percentile(ms, 0.5) * MS_PER_S / BATCH for ms in spent]
    counts = np.arange(1, STAGES + 1) * (EXECUTIONS / STAGES)
    exponent = float(np.polyfit(np.log(counts), np.log(each_us), 1)[0])
    rates = [BATCH * MS_PER_S / ms for ms in spent[-1]]
    return [
        _beside(
            f"executions in batches of {BATCH}, the last tenth of {EXECUTIONS}",
            figure("", sorted(rates, reverse=True), unit="1/s"),
            first=BATCH * MS_PER_S / percentile(spent[0], 0.5),
            least=1 / FLAT,
            note=f"; an execution takes N^{exponent:.3f}",
        ),
        _beside(f"execution, durable, after {EXECUTIONS}", figure("", singles[-1]), first=percentile(singles[0], 0.5)),
        _beside(
            "database, bytes an execution of the last tenth",
            figure("", [(sizes[-1] - sizes[-2]) * STAGES / EXECUTIONS], unit="B"),
            first=(sizes[1] - sizes[0]) * STAGES / EXECUTIONS,
        ),
        _beside(f"start to first answer, after {EXECUTIONS}", figure("", starts[-1:]), first=starts[0]),
    ]


def _beside(name: str, told: Figure, *, first: float, least: float | None = None, note: str = "") -> Figure:
    """Beside what it was in the first tenth: at most FLAT times that, or at least `least` times."""
    ratio = told.median / first
    return replace(
        told,
        name=name,
        peer=f"at the beginning: {first:.3f} {told.unit}{note}",
        ratio=ratio,
        bar=f"≤ {FLAT:g} × the beginning" if least is None else f"≥ {least:.2f} × the beginning",
        met=ratio <= FLAT if least is None else ratio >= least,
    )


def _declare(client: httpx.Client) -> None:
    for number in range(OPTIONS):
        body = {"option_id": f"option-{number}", "name": f"option {number}", "target": _state(number)}
        client.post("/oak/option/create", content=orjson.dumps(body), headers=JSON).raise_for_status()


def _state(number: int) -> dict[str, dict[str, int]]:
    return {"features": {"s": number % STATES}}


def _run(rng: random.Random) -> tuple[int, dict[str, object]]:
    """An option's number, and a run of it."""
    option = rng.randrange(OPTIONS)
    start = option + rng.randrange(STARTS)
    ended = {"start": _state(start), "final": _state(7 * start + rng.randrange(ENDS)), "rewards": [-1.0] * 5}
    return option, {**ended, "terminated_by": "target"}


def _batch_ms(client: httpx.Client, rng: random.Random) -> float:
    runs = [_run(rng) for _ in range(BATCH)]
    content = orjson.dumps({"executions": [{"option_id": f"option-{option}", **run} for option, run in runs]})
    began = time.perf_counter()
    client.post("/oak/executions", content=content, headers=JSON).raise_for_status()
    return (time.perf_counter() - began) * MS_PER_S


def _single(client: httpx.Client, rng: random.Random) -> None:
    option, run = _run(rng)
    client.post(f"/oak/option/option-{option}/execution", content=orjson.dumps(run), headers=JSON).raise_for_status()
