"""How figures are taken and shown."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, in milliseconds or another unit, beside its bar and a peer of the same run.

    Figures of one `series` at several sizes are drawn against them.
    """

    name: str
    unit: str
    median: float
    p95: float
    p99: float
    bar: str = ""
    peer: str = ""
    ratio: float | None = None
    met: bool | None = None
    series: str = ""
    size: float | None = None


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def timed(work: Callable[[], object], count: int, warmup: int = 3) -> list[float]:
    """`count` durations of `work` in milliseconds, after `warmup` that do not count."""
    for _ in range(warmup):
        work()
    durations = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        durations.append((time.perf_counter() - began) * MS_PER_S)
    return durations


def figure(name: str, values: Sequence[float], *, unit: str = "ms", bar: str = "", met: bool | None = None) -> Figure:
    """The percentiles of `values`."""
    return Figure(
        name=name,
        unit=unit,
        median=percentile(values, 0.5),
        p95=percentile(values, 0.95),
        p99=percentile(values, 0.99),
        bar=bar,
        met=met,
    )


def machine() -> str:
    """The processor, the cores, the memory, and what runs on it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def show(figures: Sequence[Figure], title: str = "") -> None:
    """The figures as a table, the machine beside them."""
    table = Table(title=f"{title}\n{machine()}".strip(), title_justify="left")
    for column in ("what", "unit", "median", "p95", "p99", "bar", "met", "peer, same run", "ratio"):
        table.add_column(column, justify="left" if column in {"what", "bar", "peer, same run"} else "right")
    for one in figures:
        table.add_row(
            one.name,
            one.unit,
            f"{one.median:.3f}",
            f"{one.p95:.3f}",
            f"{one.p99:.3f}",
            one.bar,
            "" if one.met is None else "yes" if one.met else "NO",
            one.peer,
            "" if one.ratio is None else f"{one.ratio:.2f}",
        )
    Console(width=170).print(table)
