"""Gymnasium's Taxi, learned from episodes of random primitive actions: the exact return of following `/oak/act`.

    python -m benchmarks.environments.taxi [--episodes 200 400] [--seeds N] [--in-process] [--check]
    python -m benchmarks.environments.taxi --rainy | --fickle | --noise 0.02      (the same further arguments)
    python -m benchmarks.environments.taxi --declared ...        the demo's six declared options, `declared.py`

States are facts: row, column, passenger (0 to 3 a place, 4 in the taxi), destination. The target is the passenger at
the destination. With `--noise` states are vectors: a random unit vector for each state of the environment, and to each
component of each observation normal noise of that deviation.

Returns are exact, over all 300 starts and within 200 steps. Where `/oak/act` knows no action, any is taken with equal
chances. The rows are about the seeds whose data hold a way from each of the 300 starts to its target: the transitions
seen lead there. No learner knows more, and half of the seeds have none after 200 episodes, so that 12 are measured
there, else 5.

Fickle: with probability .3 the passenger has another destination after the first move together. The agent asks for the
destination that holds. That this hangs on interruption is shown by an agent that runs each option it has begun to its
end: it asks `/oak/act` with the option's own target, and goes on as long as the answer is that option, which is until
the target is reached or the option knows nothing there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import httpx

from benchmarks.environments import declared
from benchmarks.environments.exact import Choice, Expected, chain, optimum, within
from benchmarks.environments.harness import (
    Follower,
    Row,
    State,
    Walk,
    World,
    episode,
    parser,
    random_walks,
    service,
    show,
)
from benchmarks.environments.taxi_world import ACTIONS, LIMIT, Taxi, Vectors

EPISODES = {"plain": [200, 400], "rainy": [400, 800], "fickle": [200], "noise": [400]}
"""By default those that have a bar."""

SEEDS, MANY_SEEDS = 5, 12
"""The latter where 200 episodes are measured: about half of those data hold a way."""
FEW_EPISODES = 200

SURE = 1 - 1e-9
"""A probability of 1, but for rounding."""

FICKLE_ENDED = 0.99
"""The share of fickle rides that have to be solved, and that are not without interruption."""

Begun = tuple[str, int]
"""An option, and the destination that held where it was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one seed after so many episodes. `stubborn` only in the fickle world."""

    way: bool
    followed: Expected
    stubborn: Expected | None
    seconds: float


class Stubborn:
    """An agent that runs each option it has begun until its own target is reached or it knows nothing there."""

    def __init__(self, world: World, taxi: Taxi) -> None:
        """In a namespace that has learned."""
        self._world = world
        self._taxi = taxi
        self._begins = Follower(world, ACTIONS, taxi.facts, taxi.target)
        self._targets: dict[str, State] = {}

    def __call__(self, state: int, running: Begun | None) -> Choice[Begun]:
        """What to do in a state of the environment, with an option begun or none."""
        if running is not None:
            option_id, _ = running
            answer = self._world.act(self._taxi.facts(state), self._target(running), option_id)
            if answer["option_id"] == option_id:
                return Choice(action=self._begins.chosen(answer).action, running=running)
        begun = self._begins(state, None)
        if begun.running is None:
            return Choice(action=begun.action, running=None)
        return Choice(action=begun.action, running=(begun.running, self._taxi.destination(state)))

    def _target(self, running: Begun) -> State:
        option_id, destination = running
        if option_id.startswith("goal:"):
            return self._taxi.target_of(destination)
        if option_id not in self._targets:
            self._targets[option_id] = self._world.option(option_id)["target"]
        return self._targets[option_id]


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    if "--declared" in arguments:
        return declared.main([argument for argument in arguments if argument != "--declared"])
    options = parser(__doc__, seeds=None)
    options.add_argument("--episodes", type=int, nargs="+", default=None, help="by default those that have a bar")
    kinds = options.add_mutually_exclusive_group()
    kinds.add_argument("--rainy", action="store_true", help="moves slip")
    kinds.add_argument("--fickle", action="store_true", help="passengers change their destination")
    kinds.add_argument("--noise", type=float, default=None, help="states are vectors with this noise in each component")
    options.add_argument("--declared", action="store_true", help="the demo's declared options instead")
    given = options.parse_args(arguments)
    kind = "rainy" if given.rainy else "fickle" if given.fickle else "plain" if given.noise is None else "noise"
    episodes = sorted(set(given.episodes or EPISODES[kind]))
    count = given.seeds or (MANY_SEEDS if episodes[0] == FEW_EPISODES else SEEDS)
    if count < 1 or episodes[0] < 1:
        options.error("--seeds and --episodes are at least 1")
    taxi = Taxi(kind)
    with service(in_process=given.in_process) as http:
        seeds = [measure(http, taxi, seed, episodes, given.noise) for seed in range(count)]
    rows = [
        row
        for place, number in enumerate(episodes)
        for row in rows_of(kind, number, [measured[place] for measured in seeds])
    ]
    best = f"; optimum {optimum(taxi.table, taxi.starts, LIMIT):.4f}" if kind != "fickle" else ""
    return show(f"Taxi-v4, {kind}: exact mean return{best}", rows, check=given.check)


def measure(http: httpx.Client, taxi: Taxi, seed: int, episodes: Sequence[int], noise: float | None) -> list[Measured]:
    """What a seed comes to after each number of episodes, ascending; the seconds are from the first on."""
    began = time.perf_counter()
    world = World(http, f"seed-{seed}")
    vectors = None if noise is None else Vectors(taxi, seed, noise)
    state_of, target_of = (taxi.facts, taxi.target) if vectors is None else (vectors.observed, vectors.target)
    walks = random_walks(taxi.env, seed=seed, count=episodes[-1], limit=LIMIT)
    lived: list[Walk] = []
    measured = []
    for number in episodes:
        fresh = [next(walks) for _ in range(number - len(lived))]
        lived += fresh
        world.post_episodes(episode(walk, state_of, ACTIONS) for walk in fresh)
        world.consolidate()
        follower = Follower(world, ACTIONS, state_of, target_of)
        fickle = taxi.kind == "fickle"
        measured.append(
            Measured(
                way=taxi.way(lived),
                followed=within(chain(taxi.table, taxi.starts, follower), LIMIT),
                stubborn=within(chain(taxi.table, taxi.starts, Stubborn(world, taxi)), LIMIT) if fickle else None,
                seconds=time.perf_counter() - began,
            )
        )
    return measured


def rows_of(kind: str, episodes: int, seeds: Sequence[Measured]) -> list[Row]:
    """The rows after so many episodes, with their bars where they have any."""
    ways = [of.followed for of in seeds if of.way]
    returns = [of.mean_return for of in ways]
    ended = min((of.ended for of in ways), default=0.0)
    bar, met = _bar(kind, episodes, returns, ended)
    without = [of.followed.mean_return for of in seeds if not of.way]
    notes = f"{len(ways)} of {len(seeds)} seeds have a way; success {ended:.4f} (worst)"
    if returns:
        notes += f", median {median(returns):.3f}"
    if without:
        notes += f"; without a way {fmean(without):.3f} (mean)"
    name, seconds = f"{episodes} episodes", sum(of.seconds for of in seeds)
    rows = [Row(name=name, values=returns, bar=bar, met=met, seconds=seconds, notes=notes)]
    if kind == "fickle":
        stubborn = [of.stubborn.ended for of in seeds if of.way and of.stubborn is not None]
        name = f"{episodes} episodes, success of never leaving an option"
        met = bool(stubborn) and max(stubborn) < FICKLE_ENDED
        bar = f"every seed < {FICKLE_ENDED}"
        rows.append(Row(name=name, values=stubborn, bar=bar, met=met, seconds=seconds))
    return rows


def _bar(kind: str, episodes: int, returns: Sequence[float], ended: float) -> tuple[str, bool | None]:
    """What is asked of the seeds whose data hold a way, and whether it is met; `ended`: their least success."""
    if episodes not in EPISODES[kind]:
        return "", None
    if not returns:
        return "a seed with a way", False
    worst, mean, middle = min(returns), fmean(returns), median(returns)
    bars = {
        ("plain", 400): ("every seed >= 7.92, success 1", worst >= 7.92 and ended >= SURE),
        ("noise", 400): ("every seed >= 7.92, success 1", worst >= 7.92 and ended >= SURE),
        ("plain", 200): ("mean >= 7.8", mean >= 7.8),
        ("rainy", 400): ("median >= 3.80, success >= .999", middle >= 3.80 and ended >= 0.999),
        ("rainy", 800): ("mean >= 3.84, worst >= 3.78", mean >= 3.84 and worst >= 3.78),
        ("fickle", 200): ("mean >= 8.0, success >= .99", mean >= 8.0 and ended >= FICKLE_ENDED),
    }
    return bars[kind, episodes]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
