"""The agent of the demo: it reports what it lived through and asks for plans; of the service it knows the API alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from somabrain.demo.calling import Caller
from somabrain.demo.errors import DemoError
from somabrain.demo.taxi import DELIVERED, GOAL, Facts, Taxi

SEED_BITS = 31
"""Gymnasium takes any non-negative whole number; this many bits are plenty for episodes that differ."""

Choice = Callable[[int], int | None]
"""The option to start in a raw state, by its place in `Taxi.options`, or None where there is no plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """An episode that was to be solved: its return, and whether the passenger was delivered."""

    solved: bool
    total: float


class Agent:
    """An agent in one namespace of a server. Raises `DemoError` where the server refuses or is gone."""

    def __init__(self, caller: Caller, taxi: Taxi, random: Random) -> None:
        """`random` decides what it does while it learns."""
        self._caller = caller
        self._taxi = taxi
        self._random = random
        self.begun: set[int] = set()
        """The raw states that the episodes it learned from began in."""

    def declare(self) -> None:
        """Declares the options."""
        for option in self._taxi.options:
            self._caller.post("/oak/option/create", option.declaration())

    def live(self) -> int:
        """Lives through one episode of random options and reports its runs in one batch; returns how many."""
        taxi, over, runs = self._taxi, False, []
        state = taxi.reset(self._random.getrandbits(SEED_BITS))
        self.begun.add(state)
        while not over:
            option = taxi.options[self._random.choice(taxi.applicable(state))]
            ride = taxi.run(option, state)
            runs += taxi.reports(option, ride)
            state, over = ride.states[-1], ride.over
        self._caller.post("/oak/executions", {"executions": runs})
        return len(runs)

    def plan(self, facts: Facts) -> dict[str, Any]:
        """The service's plan from a description to the passenger's delivery."""
        return self._caller.post(
            "/oak/plan", {"start_state": {"features": dict(facts)}, "target_feature": {"features": dict(GOAL)}}
        )

    def choices(self) -> list[int | None]:
        """By raw state: the first option of the plan from there; None where there is no plan, or nothing to do.

        Raw states of one description have one plan, so it is asked for once, of one version of the model.
        """
        answers = {
            tuple(facts.items()): self.plan(facts) for facts in self._taxi.facts if facts["passenger"] != DELIVERED
        }
        versions = {answer["model_version"] for answer in answers.values()}
        if len(versions) != 1:
            message = f"the model changed while nothing was reported: versions {sorted(versions)}"
            raise DemoError(message)
        first = {known: self.first_option(answer) for known, answer in answers.items()}
        return [first.get(tuple(facts.items())) for facts in self._taxi.facts]

    def first_option(self, answer: Mapping[str, Any]) -> int | None:
        """The place in `Taxi.options` of a plan's first option; None where there is no plan."""
        ids = [option.option_id for option in self._taxi.options]
        return ids.index(answer["options"][0]) if answer["options"] else None

    def solve(self, start: int, choose: Choice, random: Random) -> Solved:
        """Drives from a start, choosing anew after each option.

        Where there is no plan, it is any of the applicable options with equal probability.
        """
        taxi, over, total = self._taxi, False, 0.0
        taxi.begin(start, random.getrandbits(SEED_BITS))
        state = start
        while not over:
            place = choose(state)
            option = taxi.options[random.choice(taxi.applicable(state)) if place is None else place]
            ride = taxi.run(option, state)
            total += sum(ride.rewards)
            state, over = ride.states[-1], ride.over
        return Solved(solved=taxi.facts[state]["passenger"] == DELIVERED, total=total)
