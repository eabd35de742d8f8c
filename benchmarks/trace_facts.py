"""Which facts of a trace repeat, and which tell how it ends: what ADR 14 decides on.

    python -m benchmarks.trace_facts [--seeds 5] [--data ../shared/data]

The tool calls of the tau-bench airline runs and of the ALFWorld logs (their kind of goal is a goal's fact), and the
facts that come with the ALFWorld logs. Each seed holds out a fifth of the tasks. `states`: distinct ones in all runs.
`known`: the share of held-out steps whose state and action both occur together in the other runs. `Brier`: of the
odds of success before each held-out step, (successes + base rate) / (visits + 1) over the other runs' visits to its
state; `base` is that of the base rate alone. Runs that were cut off count as no success here: that is what is asked.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from somabrain.traces import chat
from somabrain.traces.facts import CALLED_MAX, states
from somabrain.traces.model import Call, Scalar

DATA = Path(__file__).parents[1].parent / "shared" / "data"
HELD = 0.2
UNCAPPED = 10**6

Facts = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run: its calls, the facts that its log has of its own, and whether it succeeded."""

    group: str
    goal: Facts
    calls: Sequence[Call]
    told: Sequence[Facts]
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row of the table."""

    states: int
    known: float
    brier: float
    base: float


def airline(data: Path) -> Iterator[Run]:
    """The tau-bench runs."""
    for one in json.loads((data / "tau_airline" / "trajectories.json").read_text(encoding="utf-8")):
        calls = chat.calls_of(one["traj"])
        yield Run(group=str(one["task_id"]), goal={}, calls=calls, told=[], success=one["reward"] >= 1)


def household(data: Path) -> Iterator[Run]:
    """The ALFWorld logs."""
    with gzip.open(data / "alfworld" / "episodes.jsonl.gz", "rb") as lines:
        for one in map(orjson.loads, lines):
            calls = [
                Call(
                    name=step["action"]["name"],
                    arguments=step["action"]["args"],
                    ok=None if step["inferred"] else step["ok"],
                    turn=step["turn"],
                )
                for step in one["steps"]
            ]
            told = [step["state"] for step in one["steps"]]
            goal = {"type": one["goal_type"]}
            yield Run(group=one["group"], goal=goal, calls=calls, told=told, success=one["success"])


def called(most: int, *, turn: bool = False, arguments: bool = False) -> Callable[[Run], list[tuple[str, str]]]:
    """States and actions of a run, as texts, with successes of tools counted up to `most`."""

    def steps(run: Run) -> list[tuple[str, str]]:
        found = states(run.calls, run.goal, called_max=most) if most else _last(run)
        return [
            (_text({**facts, "turn": call.turn} if turn else facts), _action(call, arguments=arguments))
            for facts, call in zip(found, run.calls, strict=False)
        ]

    return steps


def given(*, turn: bool = False, arguments: bool = False) -> Callable[[Run], list[tuple[str, str]]]:
    """States and actions of a run by the facts that its log has."""

    def steps(run: Run) -> list[tuple[str, str]]:
        return [
            (
                _text({name: value for name, value in facts.items() if turn or name != "turn"}),
                _action(call, arguments=arguments),
            )
            for facts, call in zip(run.told, run.calls, strict=True)
        ]

    return steps


def _last(run: Run) -> list[dict[str, Scalar]]:
    return [
        {name: value for name, value in facts.items() if not name.startswith("called.")}
        for facts in states(run.calls, run.goal)
    ]


def _action(call: Call, *, arguments: bool) -> str:
    return _text([call.name, call.arguments]) if arguments else call.name


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def measured(runs: Sequence[Run], steps: Callable[[Run], list[tuple[str, str]]], seeds: int) -> Measured:
    """What a way to describe runs comes to."""
    described = [(run, steps(run)) for run in runs if run.calls]
    groups = sorted({run.group for run, _ in described})
    known, brier, base = [], [], []
    for seed in range(seeds):
        held = set(Random(seed).sample(groups, round(HELD * len(groups))))
        training = [one for one in described if one[0].group not in held]
        testing = [one for one in described if one[0].group in held]
        pairs = {pair for _, found in training for pair in found}
        visits = Counter(state for _, found in training for state, _ in found)
        wins = Counter(state for run, found in training for state, _ in found if run.success)
        rate = wins.total() / visits.total()
        asked = [(state, action, run.success) for run, found in testing for state, action in found]
        known.append(fmean((state, action) in pairs for state, action, _ in asked))
        odds = [((wins[state] + rate) / (visits[state] + 1), success) for state, _, success in asked]
        brier.append(fmean((predicted - success) ** 2 for predicted, success in odds))
        base.append(fmean((rate - success) ** 2 for _, success in odds))
    distinct = {state for _, found in described for state, _ in found}
    return Measured(states=len(distinct), known=fmean(known), brier=fmean(brier), base=fmean(base))


def main(arguments: Sequence[str]) -> int:
    """Prints a row for each way to describe the runs; there is no bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(arguments)
    if not options.data.exists():
        parser.error(f"no data at {options.data}")
    ways = {
        "last call only": called(0),
        "successes up to 1": called(1),
        "successes up to 2": called(2),
        "successes up to 3": called(3),
        "successes, all": called(UNCAPPED),
        f"up to {CALLED_MAX}, and the turn": called(CALLED_MAX, turn=True),
        f"up to {CALLED_MAX}, actions with arguments": called(CALLED_MAX, arguments=True),
    }
    logged = {
        "the log's facts": given(),
        "the log's facts and the turn": given(turn=True),
        "the log's facts, actions with arguments": given(arguments=True),
    }
    table = Table()
    for column in ("runs", "facts", "states", "known", "Brier", "base"):
        table.add_column(column)
    for name, runs, described in (
        ("tau airline", list(airline(options.data)), ways),
        ("ALFWorld", list(household(options.data)), {**ways, **logged}),
    ):
        for way, steps in described.items():
            one = measured(runs, steps, options.seeds)
            table.add_row(name, way, str(one.states), f"{one.known:.3f}", f"{one.brier:.4f}", f"{one.base:.4f}")
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
