"""`python -m benchmarks.page FILE …`: docs/benchmarks.md and its picture, from what `python -m benchmarks` wrote."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from benchmarks.figures import Figure
from benchmarks.spent import Spent

PAGE = Path("docs/benchmarks.md")
PICTURE = Path("docs/technical-manual/pictures/routes.png")
INCHES, DOTS = (7.2, 4.5), 110
SIZES_MIN = 2
"""Fewest sizes of a series that is drawn."""

HEAD = """# Benchmarks

What each thing costs, beside a peer or a limit measured in the same run, and whether it keeps to what it is held to.
Missed bars are told like the others. All of it was printed on {machine}, by

```
{commands}
```

The last wrote this page; the others end with status 1 where a bar is missed. Times are milliseconds where nothing else
is said. A ratio is the median over the peer's, of requests at a given pace the p99 over the peer's.
"""
DRAWN = "## Cost against size\n\n![Milliseconds against edges, both logarithmic, with fitted exponents]({picture})\n"


def main(arguments: Sequence[str]) -> int:
    """Writes the page and the picture."""
    files = [Path(argument) for argument in arguments]
    told = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    suites = {name: [Figure(**one) for one in figures] for each in told for name, figures in each["suites"].items()}
    commands = [
        f"benchmarks {' '.join(each['suites'])} --json {file.name}" for each, file in zip(told, files, strict=True)
    ]
    commands.append(f"benchmarks.page {' '.join(file.name for file in files)}")
    machine = " and ".join(sorted({each["machine"] for each in told}))
    parts = [HEAD.format(machine=machine, commands="\n".join(f".venv/bin/python -m {one}" for one in commands))]
    parts += [_section(name, figures) for name, figures in suites.items()]
    parts.append(_where([Spent(**one) for one in told[0]["spent"]]))
    series = _series([one for figures in suites.values() for one in figures])
    if series:
        _draw(series, PICTURE)
        parts.append(DRAWN.format(picture=PICTURE.relative_to(PAGE.parent)))
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    return 0


def _section(name: str, figures: Sequence[Figure]) -> str:
    """What the suite says of itself, and its table."""
    lines = [f"## {name.capitalize()}", "", _about(name), ""]
    lines += ["| what | median | p95 | p99 | bar | met | peer, same run | ratio |", "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(one))} |" for one in figures]
    return "\n".join(lines) + "\n"


def _where(parts: Sequence[Spent]) -> str:
    """The parts that most time of requests goes to."""
    lines = ["## Where the time of a request goes", "", _about("spent"), ""]
    lines += ["| request | part | share | ms, profiled |", "|---|---|---|---|"]
    lines += [f"| {one.kind} | {one.part} | {one.share:.0%} | {one.ms:.2f} |" for one in parts]
    return "\n".join(lines) + "\n"


def _about(module: str) -> str:
    """What a benchmark says of itself."""
    text = str(import_module(f"benchmarks.{module}").__doc__).rpartition("`: ")[2].strip()
    return text[:1].upper() + text[1:]


def _cells(one: Figure) -> tuple[str, ...]:
    unit = "" if one.unit in {"ms", ""} else f" {one.unit}"
    numbers = [f"{_shown(value)}{unit}" for value in (one.median, one.p95, one.p99)]
    met = {None: "", True: "yes", False: "**no**"}[one.met]
    ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
    return (one.name, *numbers, one.bar, met, one.peer, ratio)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _series(figures: Sequence[Figure]) -> dict[str, dict[float, float]]:
    """Medians by size, of series with more than one."""
    found: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for one in figures:
        if one.size is not None:
            found[one.series][one.size] = one.median
    return {name: medians for name, medians in found.items() if len(medians) >= SIZES_MIN}


def _draw(series: Mapping[str, Mapping[float, float]], file: Path) -> None:
    drawing = Drawing(figsize=INCHES, dpi=DOTS, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    for name, medians in series.items():
        sizes = sorted(medians)
        values = [medians[size] for size in sizes]
        exponent = float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
        axes.loglog(sizes, values, marker="o", label=f"{name}: E^{exponent:.2f}")
    axes.set_xlabel("edges")
    axes.set_ylabel("milliseconds, median")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    drawing.savefig(file, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
