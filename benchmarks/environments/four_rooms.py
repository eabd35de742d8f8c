"""Four rooms of 13 x 13 where moves slip, learned from random walks; goals are named only when the way is asked for.

    python -m benchmarks.environments.four_rooms [--episodes 50 100] [--seeds 5] [--in-process] [--check]

States are facts: row and column; nothing is rewarded. 200 random pairs of start and goal for each seed. Printed are the
expected steps of following `/oak/act`, solved exactly, beside those of the best policy; and in how many runs, each pair
run once, two or more options were begun.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

import httpx

from benchmarks.environments.exact import chain, unlimited
from benchmarks.environments.harness import Follower, Row, World, episode, parser, service, show
from benchmarks.environments.rooms import ACTIONS, FOUR_ROOMS, MOVES, Rooms, of_drawing

LIMIT = 200
"""Steps of a random walk."""
PAIRS = 200
RUN_STEPS_MAX = 1000
BARS = {50: ("mean <= 1.04, worst <= 1.08", 1.04, 1.08), 100: ("mean <= 1.03", 1.03, float("inf"))}
COMPOSED_MIN = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one seed: expected steps in the mean of the pairs over the best policy's; the share of composed runs."""

    ratio: float
    composed: float
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    options = parser(__doc__)
    options.add_argument("--episodes", type=int, nargs="+", default=sorted(BARS), help="by default those with a bar")
    given = options.parse_args(arguments)
    rooms = of_drawing(FOUR_ROOMS)
    with service(in_process=given.in_process) as http:
        found = [_measure(http, rooms, seed, sorted(given.episodes)) for seed in range(given.seeds)]
    rows = [
        row for place, number in enumerate(sorted(given.episodes)) for row in _rows(number, [of[place] for of in found])
    ]
    return show(f"Four rooms, {len(rooms.cells)} cells, slip 1/3: steps over the optimum", rows, check=given.check)


def _measure(http: httpx.Client, rooms: Rooms, seed: int, episodes: Sequence[int]) -> list[Measured]:
    random = Random(seed)
    world, cells = World(http, f"seed-{seed}"), range(len(rooms.cells))
    pairs = [tuple(random.sample(cells, 2)) for _ in range(PAIRS)]
    measured, lived = [], 0
    for number in episodes:
        began = time.perf_counter()
        walks = (rooms.walk(random.choice(cells), random, LIMIT) for _ in range(number - lived))
        lived += world.post_episodes(episode(walk, rooms.facts, ACTIONS) for walk in walks)
        world.consolidate()
        steps, best, composed = 0.0, 0.0, 0
        for goal in sorted({goal for _, goal in pairs}):
            follower = Follower(world, ACTIONS, rooms.facts, lambda _, goal=goal: rooms.facts(goal))
            table, value = rooms.table(goal, step=-1.0, arrival=0.0), rooms.best(goal, step=-1.0, arrival=0.0)
            for start in (start for start, to in pairs if to == goal):
                steps -= unlimited(chain(table, {start: 1.0}, follower)).mean_return
                best -= float(value[start])
                composed += _begun(rooms, follower, start, goal, random) > 1
        seconds = time.perf_counter() - began
        measured.append(Measured(ratio=steps / best, composed=composed / PAIRS, seconds=seconds))
    return measured


def _begun(rooms: Rooms, follower: Follower, start: int, goal: int, random: Random) -> int:
    """How many options one run begins, single actions apart."""
    state, running, begun = start, None, 0
    for _ in range(RUN_STEPS_MAX):
        if state == goal:
            break
        choice = follower(state, running)
        begun += choice.running is not None and choice.running != running
        found = rooms.chances(state, random.randrange(len(MOVES)) if choice.action is None else choice.action)
        [state] = random.choices(list(found), weights=list(found.values()))
        running = choice.running
    return begun


def _rows(episodes: int, seeds: Sequence[Measured]) -> list[Row]:
    ratios, composed = [of.ratio for of in seeds], [of.composed for of in seeds]
    bar, mean_max, worst_max = BARS.get(episodes, ("", None, None))
    met = None if mean_max is None else fmean(ratios) <= mean_max and max(ratios) <= worst_max
    seconds = sum(of.seconds for of in seeds)
    return [
        Row(
            name=f"{episodes} episodes, steps over the optimum",
            values=ratios,
            bar=bar,
            met=met,
            seconds=seconds,
            notes=f"worst {max(ratios):.4f}",
        ),
        Row(
            name=f"{episodes} episodes, runs with two or more options",
            values=composed,
            bar=f"mean >= {COMPOSED_MIN}",
            met=fmean(composed) >= COMPOSED_MIN,
            seconds=0.0,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
