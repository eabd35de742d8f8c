"""`python -m benchmarks.commits`: what waiting for the disk costs reported runs, and shared commits might save.

Two servers on SQLite without a vector engine: one as it is, the other with commits that wait for no disk. That is more
than group commit can spare, which still waits once for each group. One run a request, from one client and from eight
that ask as fast as they are answered; the two servers take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from benchmarks.figures import Figure, figure, percentile, show
from benchmarks.http_load import request, saturated
from benchmarks.serving import DEADLINE_S, DIMENSION, JSON, free_port, run_of, until_ready
from benchmarks.workload import OPTIONS, document_of, random_workload
from somabrain.cli import main as somabrain
from somabrain.store import Database

CLIENTS, ROUNDS, SECONDS = (1, 8), 5, 3.0
HASTY = "--hasty"


def measure() -> list[Figure]:
    """Runs a second, as it is and without waiting."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-bench-")))
        ports = [stack.enter_context(_server(folder, *arguments)) for arguments in ((), (HASTY,))]
        return [_beside(ports, clients) for clients in CLIENTS]


def _beside(ports: list[int], clients: int) -> Figure:
    runs = [request("POST", f"/oak/option/option-{n:05d}/execution", orjson.dumps(run_of(n))) for n in range(OPTIONS)]
    rates: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for port, found in zip(ports, rates, strict=True):
            found.append(saturated(port, runs, clients=clients, seconds=SECONDS))
    durable, hasty = (percentile(found, 0.5) for found in rates)
    made = figure(f"runs reported, durable, {clients} clients", sorted(rates[0], reverse=True), unit="1/s")
    return replace(made, peer=f"the same without waiting for the disk: {hasty:.0f} /s", ratio=durable / hasty)


@contextmanager
def _server(folder: Path, *arguments: str) -> Iterator[int]:
    """The port of a server that knows the options."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    data = folder / (arguments[0] if arguments else "as-it-is")
    settings = {"SOMABRAIN_DATA_DIR": str(data), "SOMABRAIN_LOG_LEVEL": "warning", "MILVUS_URI": "off"}
    command = [sys.executable, "-m", "benchmarks.commits", "--serve", *arguments]
    process = subprocess.Popen(command, env={**kept, **settings, "SOMABRAIN_PORT": str(port)})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client:
            until_ready(client, time.perf_counter())
            model = orjson.dumps(document_of(random_workload(1), DIMENSION))
            client.put("/oak/model", content=model, headers=JSON).raise_for_status()
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _hurry() -> None:
    """Has every write of this process wait for no disk."""
    writing: Any = Database.writing
    setattr(Database, "writing", lambda self, **more: writing(self, **{**more, "durable": False}))  # noqa: B010


if __name__ == "__main__":
    if "--serve" in sys.argv:
        if HASTY in sys.argv:
            _hurry()
        sys.argv = ["somabrain", "serve"]
        somabrain()
    else:
        show(measure(), title="commits")
