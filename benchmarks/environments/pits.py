"""A large world of rooms with pits that end it, where moves slip: the odds of reaching a goal, solved exactly.

    python -m benchmarks.environments.pits [--seeds 3] [--in-process] [--check]

1,976 cells, 6 % of them pits, slip 1/3, random walks from every cell. For each world 8 random goals, 8 starts for each.
Beside following `/oak/act` stand value iteration toward the goal on what the same walks showed, the best policy of the
true world, and following `/oak/act` where no option was worked out and none is made for the goal: primitives alone,
planned anew in every step.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, median

import numpy as np

from benchmarks.environments.exact import Choice, chain, within
from benchmarks.environments.harness import JSON, Follower, Row, Walk, World, episode, parser, service, show
from benchmarks.environments.rooms import ACTIONS, Rooms, with_pits

LIMIT = 60
"""Steps of a random walk at the most."""
WALKS_FROM_EACH = 8
GOALS, STARTS = 8, 8
DOUBT, PRICE, CONVERGED = 0.001, math.exp(-0.001), 1e-12
"""u and the price of a step as the service has them (OAK_TIME_PRICE)."""
TIMED = 60
"""Goals that plans are timed toward."""
STEPS_MAX = 3000
"""Within which a goal is reached or never."""
WORLDS = 3
BEHIND_MAX, ABOVE_MEAN, ABOVE_EACH, MS_MAX = 0.03, 0.2, 0.12, 10.0
PRIMITIVE = {"oak_local_radius": 0, "oak_local_states": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one world, in the mean of the pairs; `plan_ms`: the median time of a plan toward a goal not asked for yet."""

    odds: float
    primitives: float
    iterated: float
    best: float
    options: int
    plan_ms: float
    steps: int
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    given = parser(__doc__, seeds=WORLDS).parse_args(arguments)
    measured = [_measure(seed, in_process=given.in_process) for seed in range(given.seeds)]
    above = [of.odds - of.primitives for of in measured]
    behind = [of.iterated - of.odds for of in measured]
    times = [of.plan_ms for of in measured]
    each = " ".join(f"{ms:.1f}" for ms in times)
    seconds = sum(of.seconds for of in measured)
    rows = [
        Row(
            name="odds, best policy of the true world",
            values=[of.best for of in measured],
            bar="",
            met=None,
            seconds=0.0,
        ),
        Row(name="odds, value iteration", values=[of.iterated for of in measured], bar="", met=None, seconds=0.0),
        Row(name="odds, primitives alone", values=[of.primitives for of in measured], bar="", met=None, seconds=0.0),
        Row(name="odds, /oak/act", values=[of.odds for of in measured], bar="", met=None, seconds=seconds),
        Row(
            name="behind value iteration",
            values=behind,
            bar=f"each <= {BEHIND_MAX}",
            met=max(behind) <= BEHIND_MAX,
            seconds=0.0,
            notes=f"worst {max(behind):.4f}",
        ),
        Row(
            name="above primitives",
            values=above,
            bar=f"mean >= {ABOVE_MEAN}, each >= {ABOVE_EACH}",
            met=fmean(above) >= ABOVE_MEAN and min(above) >= ABOVE_EACH,
            seconds=0.0,
        ),
        Row(
            name="plan toward a new goal, ms",
            values=times,
            bar=f"each <= {MS_MAX:g}",
            met=max(times) <= MS_MAX,
            seconds=0.0,
            notes=f"{each}; {measured[0].steps} random steps a world, {measured[0].options} options",
        ),
    ]
    return show("Rooms with pits, 1,976 states, 6 %, slip 1/3: odds of reaching the goal", rows, check=given.check)


def _measure(seed: int, *, in_process: bool) -> Measured:
    began = time.perf_counter()
    rooms = with_pits(seed, rooms=4, side=11, doors=40, share=0.06)
    safe = [cell for cell in range(len(rooms.cells)) if cell not in rooms.pits]
    random = Random(seed)
    pairs = [
        (start, goal)
        for goal in random.sample(safe, GOALS)
        for start in random.sample([cell for cell in safe if cell != goal], STARTS)
    ]
    walks = [rooms.walk(start, random, LIMIT) for _ in range(WALKS_FROM_EACH) for start in safe]
    best = fmean(float(rooms.best(goal, step=0.0, arrival=1.0)[start]) for start, goal in pairs)
    with service(in_process=in_process) as http:
        world = World(http, "pits")
        world.post_episodes(episode(walk, rooms.facts, ACTIONS) for walk in walks)
        model = http.get("/oak/model", params={"namespace": "pits"}).content
        options = world.consolidate()["result"]["options"]
        _warm(world, rooms, safe)
        times = [world.plan(rooms.facts(pairs[0][0]), rooms.facts(cell))["planning_ms"] for cell in safe[:TIMED]]
        odds = _odds(world, rooms, pairs)
    with service(in_process=in_process, **PRIMITIVE) as http:
        http.put("/oak/model", params={"namespace": "pits"}, content=model, headers=JSON).raise_for_status()
        primitives = _odds(World(http, "pits"), rooms, pairs)
    return Measured(
        odds=odds,
        primitives=primitives,
        iterated=_iterated(rooms, walks, pairs),
        best=best,
        options=options,
        plan_ms=median(times),
        steps=sum(len(walk.actions) for walk in walks),
        seconds=time.perf_counter() - began,
    )


def _iterated(rooms: Rooms, walks: Sequence[Walk], pairs: Sequence[tuple[int, int]]) -> float:
    """The odds of the policy that value iteration finds on the counts of the walks, with the service's small doubt."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for walk in walks:
        counts.update(zip(walk.states[:-1], walk.actions, walk.states[1:], strict=True))
    size, moves = len(rooms.cells), len(ACTIONS)
    pair = np.array([cell * moves + move for cell, move, _ in counts])
    to = np.array([after for _, _, after in counts])
    number = np.array(list(counts.values()), dtype=np.float64)
    share = number / (np.bincount(pair, number, size * moves) + DOUBT)[pair]
    found = []
    for goal in sorted({goal for _, goal in pairs}):
        value = np.zeros(size)
        value[goal] = 1.0
        over = [goal, *rooms.pits]
        while True:
            worth = np.bincount(pair, share * PRICE * value[to], size * moves).reshape(size, moves)
            new = worth.max(axis=1)
            new[over] = value[over]
            if np.abs(new - value).max() < CONVERGED:
                break
            value = new
        best = worth.argmax(axis=1)
        starts = [start for start, end in pairs if end == goal]
        policy = _Fixed(best.tolist())
        table = rooms.table(goal, step=0.0, arrival=1.0)
        shares = dict.fromkeys(starts, 1 / len(starts))
        found.append(within(chain(table, shares, policy), STEPS_MAX).mean_return)
    return fmean(found)


class _Fixed:
    """A policy that takes the same move in a cell whenever it is there."""

    def __init__(self, moves: Sequence[int]) -> None:
        self._moves = moves

    def __call__(self, state: int, _running: None, /) -> Choice[None]:
        return Choice(action=self._moves[state], running=None)


def _warm(world: World, rooms: Rooms, safe: Sequence[int]) -> None:
    """Lets the service compile the namespace and its kernels."""
    for _ in range(3):
        world.plan(rooms.facts(safe[0]), rooms.facts(safe[-1]))
        time.sleep(1.0)


def _odds(world: World, rooms: Rooms, pairs: Sequence[tuple[int, int]]) -> float:
    found = []
    for goal in sorted({goal for _, goal in pairs}):
        follower = Follower(world, ACTIONS, rooms.facts, lambda _, goal=goal: rooms.facts(goal))
        table = rooms.table(goal, step=0.0, arrival=1.0)
        starts = [start for start, to in pairs if to == goal]
        shares = dict.fromkeys(starts, 1 / len(starts))
        found.append(within(chain(table, shares, follower), STEPS_MAX).mean_return)
    return fmean(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
