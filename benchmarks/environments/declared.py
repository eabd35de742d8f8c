"""How far plans of declared options stay behind the optimum in Gymnasium's Taxi, after so many random episodes.

    python -m benchmarks.environments.taxi --declared [--episodes 100 200 400] [--rainy] [--seeds 5] [--in-process]
        [--check]

The six options of `somabrain demo`, coarse facts, a new plan after each option, a random option where there is no plan.
The gap is exact: the optimum less the expected return of following the plans, both computed from the environment's own
table over all 300 starts and 200 steps. A start is solved where a real drive from it, planned like this, delivers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from benchmarks.environments.harness import service
from somabrain.commands.output import print_table, progress_bar
from somabrain.demo.agent import Agent
from somabrain.demo.calling import Caller
from somabrain.demo.curve import Point, learning_curve
from somabrain.demo.exact import optimum
from somabrain.demo.taxi import Taxi

GAPS_MAX = {False: {100: 1.3, 200: 0.3, 400: 0.05}, True: {200: 0.4}}
"""What the mean gap over the seeds may be: by whether it rains, and by episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """After so many episodes, by seed: how far behind the optimum, and how many of the starts are solved."""

    episodes: int
    gaps: list[float]
    solved: list[int]


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds: 0, 1, 2 ...")
    parser.add_argument("--episodes", type=int, nargs="+", default=None, help="by default those that have a bar")
    parser.add_argument("--rainy", action="store_true", help="moves slip")
    parser.add_argument("--in-process", action="store_true", help="the same API, with no server process and no network")
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    given = parser.parse_args(arguments)
    bars = GAPS_MAX[given.rainy]
    episodes = sorted(set(given.episodes or bars))
    if given.seeds < 1 or episodes[0] < 1:
        parser.error("--seeds and --episodes are at least 1")

    taxi = Taxi(rainy=given.rainy)
    best = optimum(taxi)
    measured = measure(taxi, best, episodes, seeds=given.seeds, in_process=given.in_process)
    through = "in process" if given.in_process else "a server process for each seed"
    world = f"Taxi-v4{', rainy' if given.rainy else ''}"
    print_table(
        ("episodes", "mean gap", "at most", "worst seed", "solved, worst seed"),
        [_row(of, bars.get(of.episodes), len(taxi.starts)) for of in measured],
        f"{world}: gap to the optimum {best:.4f}; {given.seeds} seeds, {through}",
    )
    missed = [of for of in measured if not meets(of, bars.get(of.episodes), len(taxi.starts))]
    for of in missed:
        print(f"missed after {of.episodes} episodes", file=sys.stderr)
    return 1 if given.check and missed else 0


def measure(taxi: Taxi, best: float, episodes: Sequence[int], *, seeds: int, in_process: bool) -> list[Measured]:
    """For each number of episodes, ascending, what seeds 0 to `seeds` - 1 come to."""
    curves, solved = [], []
    with progress_bar("episodes", seeds * episodes[-1]) as bar:
        for seed in range(seeds):
            with service(in_process=in_process) as http:
                agent = Agent(Caller(http), taxi, Random(seed))
                agent.declare()
                curve = learning_curve(agent, taxi, episodes, lambda: bar.advance(bar.task_ids[0]))
                curves.append(curve)
                solved.append([_solved(agent, taxi, point, seed) for point in curve])
    return [
        Measured(
            episodes=number,
            gaps=[best - curve[place].expected.mean_return for curve in curves],
            solved=[counts[place] for counts in solved],
        )
        for place, number in enumerate(episodes)
    ]


def meets(of: Measured, gap_max: float | None, starts: int) -> bool:
    """Whether every start is solved with every seed, and the mean gap is within its bar, if there is one."""
    return min(of.solved) == starts and (gap_max is None or fmean(of.gaps) <= gap_max)


def _row(of: Measured, gap_max: float | None, starts: int) -> tuple[str, ...]:
    return (
        str(of.episodes),
        f"{fmean(of.gaps):.3f}",
        "-" if gap_max is None else f"{gap_max:.2f}",
        f"{max(of.gaps):.3f}",
        f"{min(of.solved)} of {starts}",
    )


def _solved(agent: Agent, taxi: Taxi, point: Point, seed: int) -> int:
    random = Random(seed)
    return sum(agent.solve(start, point.choices.__getitem__, random).solved for start in taxi.starts)
