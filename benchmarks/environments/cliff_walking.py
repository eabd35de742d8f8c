"""Gymnasium's CliffWalking, learned from episodes of random actions: the exact return of following `/oak/act`.

    python -m benchmarks.environments.cliff_walking [--slippery] [--episodes N] [--seeds 5] [--in-process] [--check]

States are facts: row and column. The target is the goal's cell. A fall costs 100 and leads back to the start; it does
not end the world. Random episodes are cut after 200 steps, slippery ones after 500; what is measured has no limit.
Where `/oak/act` knows no action, any is taken with equal chances.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import fmean

import gymnasium

from benchmarks.environments.exact import optimum, unlimited
from benchmarks.environments.grids import Grid, Measured, measure
from benchmarks.environments.harness import Row, parser, service, show

ACTIONS = ("up", "right", "down", "left")
"""In Gymnasium's order."""
COLUMNS, GOAL = 12, 47
LIMITS = {False: 200, True: 500}
"""Steps of a random episode, by whether it is slippery."""
EPISODES = {False: 200, True: 300}
FAR = 10_000
"""Steps after which the optimum changes no more."""
BEST = -13.0
ROUNDING = 1e-9


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    options = parser(__doc__)
    options.add_argument("--slippery", action="store_true", help="a move goes to either side in 2 of 3 cases")
    options.add_argument("--episodes", type=int, default=None, help="by default those that have a bar")
    given = options.parse_args(arguments)
    slippery, episodes = given.slippery, given.episodes or EPISODES[given.slippery]
    if given.seeds < 1 or episodes < 1:
        options.error("--seeds and --episodes are at least 1")
    name = "CliffWalkingSlippery-v1" if slippery else "CliffWalking-v1"
    env = gymnasium.make(name, disable_env_checker=True)
    cliff = Grid(env=env, columns=COLUMNS, goal=GOAL, actions=ACTIONS, limit=LIMITS[slippery])
    with service(in_process=given.in_process) as http:
        [measured] = zip(
            *(measure(http, cliff, seed, [episodes], unlimited) for seed in range(given.seeds)), strict=True
        )
    best = optimum(cliff.table, cliff.starts, FAR if slippery else LIMITS[slippery])
    rows = [_row(episodes, measured, slippery=slippery)]
    return show(f"{name}: exact mean return, optimum {best:.2f}", rows, check=given.check)


def _row(episodes: int, seeds: Sequence[Measured], *, slippery: bool) -> Row:
    returns = [of.expected.mean_return for of in seeds]
    if episodes != EPISODES[slippery]:
        bar, met = "", None
    elif slippery:
        bar, met = "mean >= -72, worst >= -80", fmean(returns) >= -72 and min(returns) >= -80
    else:
        bar, met = "every seed -13.0", min(returns) >= BEST - ROUNDING
    seconds = sum(of.seconds for of in seeds)
    return Row(name=f"{episodes} episodes", values=returns, bar=bar, met=met, seconds=seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
