"""Gymnasium's FrozenLake, slippery, learned from episodes of random actions: the exact odds of following `/oak/act`.

    python -m benchmarks.environments.frozen_lake --size 4x4 [--episodes 1000 3000] [--seeds N] [--in-process] [--check]
    python -m benchmarks.environments.frozen_lake --size 8x8 [--episodes 10000]     (the same further arguments)

States are facts: row and column. The target is the goal's cell. A hole ends the world with reward 0. Episodes, random
and measured, have at most 100 steps on the small lake and 200 on the large one. Where `/oak/act` knows no action, any
is taken with equal chances. 20 seeds where one bar is about 20, else 5.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Any

import gymnasium

from benchmarks.environments.exact import optimum, within
from benchmarks.environments.grids import Grid, Measured, measure
from benchmarks.environments.harness import Row, parser, service, show

ACTIONS = ("left", "down", "right", "up")
"""In Gymnasium's order."""
LIMITS = {"4x4": 100, "8x8": 200}
EPISODES = {"4x4": [1000, 3000], "8x8": [10_000]}
"""By default those that have a bar."""
SEEDS, MANY_SEEDS = 5, 20
MOST = 4 / 5


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    options = parser(__doc__, seeds=None)
    options.add_argument("--size", choices=sorted(LIMITS), default="4x4")
    options.add_argument("--episodes", type=int, nargs="+", default=None, help="by default those that have a bar")
    given = options.parse_args(arguments)
    size, episodes = given.size, sorted(set(given.episodes or EPISODES[given.size]))
    seeds = given.seeds or (MANY_SEEDS if size == "4x4" and episodes[0] == EPISODES[size][0] else SEEDS)
    if seeds < 1 or episodes[0] < 1:
        options.error("--seeds and --episodes are at least 1")
    lake = _lake(size)
    with service(in_process=given.in_process) as http:
        value = partial(within, limit=LIMITS[size])
        measured = [measure(http, lake, seed, episodes, value) for seed in range(seeds)]
    rows = [_row(size, number, [of[place] for of in measured]) for place, number in enumerate(episodes)]
    best = optimum(lake.table, lake.starts, LIMITS[size])
    return show(f"FrozenLake {size}, slippery: exact odds, optimum {best:.4f}", rows, check=given.check)


def _lake(size: str) -> Grid:
    env: Any = gymnasium.make(
        "FrozenLake-v1", map_name=size, is_slippery=True, max_episode_steps=LIMITS[size], disable_env_checker=True
    )
    columns = int(env.unwrapped.ncol)
    return Grid(env=env, columns=columns, goal=columns * columns - 1, actions=ACTIONS, limit=LIMITS[size])


def _row(size: str, episodes: int, seeds: Sequence[Measured]) -> Row:
    odds = [of.expected.mean_return for of in seeds]
    bars = {
        ("4x4", 1000): ("mean >= .66", fmean(odds) >= 0.66),
        ("4x4", 3000): (">= .71 in 4 of 5 seeds", sum(one >= 0.71 for one in odds) >= MOST * len(odds)),
        ("8x8", 10_000): ("every seed >= .88", min(odds) >= 0.88),
    }
    bar, met = bars.get((size, episodes), ("", None))
    notes = f"{sum(one >= 0.71 for one in odds)} of {len(odds)} >= .71" if (size, episodes) == ("4x4", 3000) else ""
    seconds = sum(of.seconds for of in seeds)
    return Row(name=f"{episodes} episodes", values=odds, bar=bar, met=met, seconds=seconds, notes=notes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
