"""Ways to count the odds of runs, each on the same splits of the ALFWorld logs: what ADR 12 decides on.

    python -m benchmarks.odds_shrinkage [--seeds 3] [--data ../shared/data/alfworld]

Counts of the training part (4 of 5 tasks) tell the odds before each turn of the held-out logs. No service is asked and
no roles are bound. `m` is the number of episodes that the next coarser level is worth. `by steps` counts single steps.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.environments.alfworld import DATA, TRAINING
from benchmarks.figures import machine
from benchmarks.odds import brier, ece

EVEN = 0.5
CERTAIN = 1e-3


class Count(NamedTuple):
    """Episodes, and how many of them succeeded."""

    episodes: int = 0
    successes: int = 0

    def less(self, part: Count) -> Count:
        """Without those of `part`."""
        return Count(self.episodes - part.episodes, self.successes - part.successes)

    def shrunk(self, m: float, toward: float) -> float:
        """The share of successes, shrunk."""
        return (self.successes + m * toward) / (self.episodes + m)


class Levels(NamedTuple):
    """The counts that apply to a question, the coarsest first; `record`: those of the agent."""

    every: Count
    after: Count
    here: Count
    then: Count
    own: Count
    record: Count


def plain(found: Levels, m: float) -> float:
    """State, then state and turn, then agent."""
    probability = found.every.successes / found.every.episodes
    for level in (found.here, found.then, found.own):
        probability = level.shrunk(m, probability)
    return probability


def recorded(found: Levels, m: float, *, steps: bool = False) -> float:
    """As `plain`, moved by the agent's record before the last level; `steps`: those alone are a level too."""
    rate = probability = found.every.shrunk(m, EVEN)
    for level in (*([found.after] if steps else []), found.here, found.then):
        probability = level.shrunk(m, probability)
    return found.own.shrunk(m, moved(probability, rate, found.record.shrunk(m, rate)))


def with_steps(found: Levels, m: float) -> float:
    """As `recorded`, with the steps alone as a level."""
    return recorded(found, m, steps=True)


def disjoint(found: Levels, m: float) -> float:
    """As `with_steps`, and no level counts the episodes of a finer one again: what the service does."""
    rate = found.every.shrunk(m, EVEN)
    probability = found.every.less(found.after).shrunk(m, EVEN)
    for level, finer in ((found.after, found.then), (found.here, found.then), (found.then, found.own)):
        probability = level.less(finer).shrunk(m, probability)
    return found.own.shrunk(m, moved(probability, rate, found.record.less(found.own).shrunk(m, rate)))


def moved(probability: float, rate: float, record: float) -> float:
    """The odds times the ratio of those of the record and of everybody."""
    return 1 / (1 + math.exp(_logit(rate) - _logit(probability) - _logit(record)))


def _logit(probability: float) -> float:
    kept = min(max(probability, CERTAIN), 1 - CERTAIN)
    return math.log(kept / (1 - kept))


WAYS: Sequence[tuple[str, Callable[[Levels, float], float], float, bool]] = (
    ("state, state + turn, agent", plain, 2, False),
    ("state, state + turn, agent", plain, 5, False),
    ("and the agent's record", recorded, 2, False),
    ("and the turns alone", with_steps, 2, False),
    ("and nothing counted twice", disjoint, 1, False),
    ("and nothing counted twice", disjoint, 2, False),
    ("and nothing counted twice", disjoint, 3, False),
    ("the same, by steps", disjoint, 2, True),
)


def main(arguments: Sequence[str]) -> int:
    """Prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=3, help="how many splits")
    options.add_argument("--data", type=Path, default=DATA, help="the folder with episodes.jsonl.gz")
    given = options.parse_args(arguments)
    with gzip.open(given.data / "episodes.jsonl.gz") as lines:
        logs = [log for log in map(orjson.loads, lines) if log["steps"]]
    table = Table(title=f"ALFWorld, unseen tasks, {given.seeds} splits\n{machine()}", title_justify="left")
    for column in ("odds", "m", "Brier", "worst", "ECE"):
        table.add_column(column, justify="left" if column == "odds" else "right")
    for name, way, m, by_steps in WAYS:
        told = [list(_told(logs, seed, way, m, by_steps=by_steps)) for seed in range(given.seeds)]
        scores = [brier(of) for of in told]
        table.add_row(name, str(m), f"{fmean(scores):.4f}", f"{max(scores):.4f}", f"{fmean(map(ece, told)):.4f}")
    Console(width=100).print(table)
    return 0


def _told(
    logs: Sequence[dict[str, Any]], seed: int, way: Callable[[Levels, float], float], m: float, *, by_steps: bool
) -> Iterator[tuple[float, bool]]:
    tasks = sorted({log["group"] for log in logs})
    Random(seed).shuffle(tasks)
    held = set(tasks[round(TRAINING * len(tasks)) :])
    known = _counted([log for log in logs if log["group"] not in held], by_steps=by_steps)
    for log in logs:
        if log["group"] in held:
            agent = log["agent"]
            for state, steps in _visits(log, by_steps=by_steps):
                keys = ((), (steps,), (state,), (state, steps), (state, steps, agent), ("", agent))
                yield way(Levels(*(known[key] for key in keys)), m), log["success"]


def _counted(logs: Sequence[dict[str, Any]], *, by_steps: bool) -> Mapping[tuple[Any, ...], Count]:
    """Each log once under each of its keys."""
    found: defaultdict[tuple[Any, ...], Count] = defaultdict(Count)
    for log in logs:
        agent, keys = log["agent"], {(), ("", log["agent"])}
        for state, steps in _visits(log, by_steps=by_steps):
            keys |= {(steps,), (state,), (state, steps), (state, steps, agent)}
        for key in keys:
            before = found[key]
            found[key] = Count(before.episodes + 1, before.successes + log["success"])
    return found


def _visits(log: dict[str, Any], *, by_steps: bool) -> Iterator[tuple[str, int]]:
    """The states before each turn, and the turns or steps until there."""
    last = None
    for place, step in enumerate(log["steps"]):
        if step["turn"] != last:
            facts = {name: value for name, value in step["state"].items() if name != "turn"}
            yield orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode(), place if by_steps else step["turn"]
        last = step["turn"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
