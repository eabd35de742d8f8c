"""DoorKey, learned from random episodes or by guided exploration: the steps of following `/oak/act` from the start.

    python -m benchmarks.environments.doorkey --size 5 | 6 [--episodes 100] [--seeds 5] [--in-process] [--check]
    python -m benchmarks.environments.doorkey --size 8 [--seeds 5] [--in-process] [--check]        guided exploration
    python -m benchmarks.environments.doorkey --size 5 | 6 --guided ...                            the same, smaller

The world is the project's own with MiniGrid's rules and its layouts of seeds 1 to 3 (`doorkey_world.py`). Nothing in it
is left to chance, so that one run measures the policy; the best steps are found by breadth-first search. States are
facts: x, y, direction, key (its cell, or carried), door. The target is the goal's x and y. An episode is cut after ten
times as many steps as there are cells. The value of a row is the optimum over the steps taken, 0 where the goal is not
reached within an episode's steps or no way to it is known. Beside the steps stand those of the best way that the random
transitions hold, which no learner can better.

Guided: the agent takes each of its actions once, in an order by its seed: the service cannot name one that it was never
told of. From then on `/oak/act` with `mode: "explore"` says what to do in each step, any action where it says none. The
step is posted as an episode of its own, terminated only where the world ended, before it is asked again: so each step
makes a model version. After each episode the agent follows the safe mode from the start, with nothing consolidated; the
run ends where that takes at most 1.1 times the best steps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.environments.doorkey_world import ACTIONS, DoorKey, Situation, layout
from benchmarks.environments.harness import TEMPORAL, Row, State, World, episode, parser, service, show

LAYOUTS = (1, 2, 3)
"""MiniGrid's seeds."""
SIZES = (5, 6, 8)
GUIDED_SIZE = 8
EPISODES = {5: 100, 6: 300, 8: 300}
GUIDED_EPISODES_MAX = 40
GOOD = 1.1
"""Most steps, in optima, that end guided exploration."""
MOST = 4 / 5
"""12 of 15."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one layout and seed. `steps` is `None` where the goal is not reached; `lived` are the steps learned from.

    `known`: the steps of the best way that random data hold; `None` where they hold none, or exploration is guided.
    """

    optimum: int
    steps: int | None
    known: int | None
    episodes: int
    lived: int
    seconds: float

    @property
    def ratio(self) -> float:
        """The optimum over the steps."""
        return 0.0 if self.steps is None else self.optimum / self.steps


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    options = parser(__doc__)
    options.add_argument("--size", type=int, choices=SIZES, default=SIZES[0])
    options.add_argument("--layouts", type=int, nargs="+", default=LAYOUTS, help="MiniGrid's seeds")
    options.add_argument("--episodes", type=int, default=None, help="random ones, or the most guided ones")
    options.add_argument("--guided", action="store_true", help="explore as the service says; always so on 8 x 8")
    given = options.parse_args(arguments)
    guided = given.guided or given.size == GUIDED_SIZE
    episodes = given.episodes or (GUIDED_EPISODES_MAX if guided else EPISODES[given.size])
    measure = _explored if guided else _random
    rows, found = [], []
    with service(in_process=given.in_process) as http:
        for number in given.layouts:
            made = layout(given.size, number)
            seeds = []
            for seed in range(given.seeds):
                seeds.append(measure(World(http, f"layout-{number}-seed-{seed}"), made, seed, episodes))
                print(f"layout {number}, seed {seed}: {_told(seeds[-1])}", file=sys.stderr)
            rows.append(_row(number, made, seeds, guided=guided))
            found += seeds
    rows.append(_bar(given.size, found, guided=guided))
    how = "guided exploration" if guided else f"{episodes} random episodes"
    return show(f"DoorKey {given.size}x{given.size}, {how}: optimum over steps", rows, check=given.check)


def _random(world: World, made: DoorKey, seed: int, episodes: int) -> Measured:
    """After random episodes, with options worked out."""
    began, random = time.perf_counter(), Random(seed)
    walks = [made.walk(random) for _ in range(episodes)]
    lived = sum(len(walk.actions) for walk in walks)
    world.post_episodes(episode(walk, made.facts, ACTIONS) for walk in walks)
    world.consolidate()
    steps = _followed(world, made)
    seconds = time.perf_counter() - began
    return Measured(
        optimum=_optimum(made),
        steps=steps,
        known=made.known(walks),
        episodes=episodes,
        lived=lived,
        seconds=seconds,
    )


def _explored(world: World, made: DoorKey, seed: int, episodes: int) -> Measured:
    """After as few guided episodes as it takes, at most `episodes`."""
    began, random, best = time.perf_counter(), Random(seed), _optimum(made)
    untold = random.sample(range(len(ACTIONS)), len(ACTIONS))
    steps, lived, number = None, 0, 0
    while number < episodes and (steps is None or steps > GOOD * best):
        lived += _guided(world, made, random, untold)
        number += 1
        steps = _followed(world, made)
    seconds = time.perf_counter() - began
    return Measured(optimum=best, steps=steps, known=None, episodes=number, lived=lived, seconds=seconds)


def _guided(world: World, made: DoorKey, random: Random, untold: list[int]) -> int:
    """One episode of guided exploration, each step of which is learned before the next; how many steps.

    The actions `untold` are taken first, from its end, and leave it.
    """
    situation = made.start
    for taken in range(made.limit):
        state = made.facts(situation)
        number = untold.pop() if untold else _asked(world, made, state, random)
        situation = made.after(situation, number)
        arrived = situation.agent == made.goal
        step = {"state": state, "action": ACTIONS[number], "reward": float(arrived)}
        world.post("/oak/episode", {"steps": [step], "final": made.facts(situation), "terminated": arrived})
        if arrived:
            return taken + 1
    return made.limit


def _asked(world: World, made: DoorKey, state: State, random: Random) -> int:
    """The action to explore with, any one where the service names none."""
    action = world.act(state, made.target, mode="explore")["action"]
    return random.randrange(len(ACTIONS)) if action is None else ACTIONS.index(action)


def _followed(world: World, made: DoorKey) -> int | None:
    """The steps from the start to the goal; `None` where no way is known, or none within an episode's steps."""
    situation: Situation = made.start
    running: str | None = None
    for taken in range(made.limit):
        if situation.agent == made.goal:
            return taken
        answer = world.act(made.facts(situation), made.target, running)
        if answer["action"] is None:
            return None
        running = answer["option_id"] if answer["source"] in TEMPORAL else None
        situation = made.after(situation, ACTIONS.index(answer["action"]))
    return made.limit if situation.agent == made.goal else None


def _optimum(made: DoorKey) -> int:
    steps = made.optimum()
    assert steps is not None, "MiniGrid's layouts can be solved"
    return steps


def _row(number: int, made: DoorKey, seeds: Sequence[Measured], *, guided: bool) -> Row:
    notes = f"optimum {_optimum(made)}; steps {_listed(of.steps for of in seeds)}"
    if guided:
        rate = sum(of.lived for of in seeds) / sum(of.seconds for of in seeds)
        notes += f"; episodes {_listed(of.episodes for of in seeds)}; {rate:.0f} steps/s"
    else:
        notes += f"; the data's best {_listed(of.known for of in seeds)}"
    values, seconds = [of.ratio for of in seeds], sum(of.seconds for of in seeds)
    return Row(name=f"layout {number}", values=values, bar="", met=None, seconds=seconds, notes=notes)


def _told(of: Measured) -> str:
    return f"{_listed([of.steps])} steps, optimum {of.optimum}; {of.episodes} episodes, {of.seconds:.0f} s"


def _listed(steps: Iterable[int | None]) -> str:
    return " ".join("-" if one is None else str(one) for one in steps)


def _bar(size: int, found: Sequence[Measured], *, guided: bool) -> Row:
    optimal = sum(of.steps == of.optimum for of in found)
    good = sum(of.steps is not None and of.steps <= GOOD * of.optimum for of in found)
    count = len(found)
    bar, met = ("", None)
    if guided:
        bar, met = f"every run within {GOOD} in <= {GUIDED_EPISODES_MAX} episodes", good == count
    elif size == SIZES[0]:
        bar, met = "every run optimal", optimal == count
    elif size == SIZES[1]:
        bar, met = "12 of 15 runs optimal", optimal >= MOST * count
    return Row(
        name="all layouts",
        values=[of.ratio for of in found],
        bar=bar,
        met=met,
        seconds=sum(of.seconds for of in found),
        notes=f"{optimal} of {count} optimal, {good} within {GOOD}",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
