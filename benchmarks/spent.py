"""`python -m benchmarks.spent`: where the time of warm plans and acts goes, by library and part of the service.

The application in this process, no sockets, 500 declared options; every thread that serves is profiled. Time in C is
its Python caller's. The profiler slows Python more than C: shares are a guide to what to look at, not a measurement.
"""

from __future__ import annotations

import asyncio
import cProfile
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.figures import MS_PER_S, machine
from benchmarks.loads import KINDS, Asked, bodies_of
from benchmarks.serving import DIMENSION, JSON
from benchmarks.workload import document_of, random_workload
from common.config.settings import Settings
from somabrain.bootstrap import make_app
from somabrain.observability.logs import configure_logs

REQUESTS = 600
TOP = 10
SETTLED_S = 15.0
"""Until what the import gave the threads beside those that serve is done."""
WAITS = ("poll", "acquire", "wait", "get", "select")
"""C functions in which threads wait for work."""
_PACKAGES = "site-packages/"
_OURS = "somabrain/"
_LIBRARY = f"python{sys.version_info.major}.{sys.version_info.minor}/"

Function = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A part's share of the profiled time of a kind of request, and milliseconds of one."""

    kind: str
    part: str
    share: float
    ms: float


def measure() -> list[Spent]:
    """The parts that most time goes to, of each kind of request."""
    configure_logs("warning")
    return asyncio.run(_measured())


async def _measured() -> list[Spent]:
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        app = make_app(Settings(somabrain_data_dir=Path(folder), _env_file=None))
        profiles: list[cProfile.Profile] = []

        def begin(_frame: FrameType, _event: str, _arg: object) -> None:
            profile = cProfile.Profile()
            profiles.append(profile)
            profile.enable()

        threading.setprofile(begin)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        ):
            model = orjson.dumps(document_of(random_workload(1), DIMENSION))
            (await client.put("/oak/model", content=model, headers=JSON)).raise_for_status()
            await asyncio.sleep(SETTLED_S)
            return [one for asked in KINDS for one in await _of(client, asked, profiles)]


async def _of(client: httpx.AsyncClient, asked: Asked, profiles: list[cProfile.Profile]) -> list[Spent]:
    bodies = bodies_of(asked, random.Random(4), REQUESTS)

    async def ask_all() -> None:
        for body in bodies:
            (await client.post(asked.path, content=body, headers=JSON)).raise_for_status()

    await ask_all()
    for profile in profiles:
        profile.clear()
    here = cProfile.Profile()
    here.enable()
    await ask_all()
    here.disable()
    found = Counter[str]()
    for profile in (here, *profiles):
        found += _parts(profile)
    del found[""]
    whole = found.total()
    return [
        Spent(kind=asked.name, part=part, share=seconds / whole, ms=MS_PER_S * seconds / REQUESTS)
        for part, seconds in found.most_common(TOP)
    ]


def _parts(profile: cProfile.Profile) -> Counter[str]:
    """Seconds by part, the client's and waiting apart."""
    found = Counter[str]()
    profile.snapshot_stats()
    stats: dict[Function, tuple[int, int, float, float, dict[Function, tuple[int, int, float, float]]]] = profile.stats
    for function, (_, _, own, _, callers) in stats.items():
        if function[0] != "~":
            found[_part(function[0])] += own
        elif not any(f"'{name}'" in function[2] for name in WAITS):
            for caller, (_, _, spent, _) in callers.items():
                found[_part(caller[0])] += spent
    return found


def _part(file: str) -> str:
    """The library, or the part of the service; empty for the benchmark's own client."""
    if _PACKAGES in file:
        package = file.partition(_PACKAGES)[2].partition("/")[0].removesuffix(".py")
        return "" if package in {"httpx", "httpcore", "h11"} else package
    if _OURS in file:
        inner = file.rpartition(_OURS)[2].removesuffix(".py").split("/")
        return ".".join(["somabrain", *inner[:2]])
    if _LIBRARY in file:
        return "Python: " + file.rpartition(_LIBRARY)[2].partition("/")[0].removesuffix(".py")
    return "" if "benchmarks" in file else "Python"


def main(_arguments: Sequence[str]) -> int:
    """Shows it."""
    table = Table(title=machine(), title_justify="left")
    for column in ("request", "part", "share", "ms, profiled"):
        table.add_column(column, justify="right" if column.startswith(("share", "ms")) else "left")
    for one in measure():
        table.add_row(one.kind, one.part, f"{one.share:.0%}", f"{one.ms:.3f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
