"""Gymnasium's Taxi as the agent of the demo meets it: what it can tell of a state, and six options that it can run.

The environment is the Taxi problem of Dietterich 2000, "Hierarchical Reinforcement Learning with the MAXQ Value
Function Decomposition". The options' policies are given by hand; where they lead is what the service learns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Facts = Mapping[str, str]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ENVIRONMENT = "Taxi-v4"
PLACES = ("R", "G", "Y", "B")
"""The places that have names, in the order in which Gymnasium numbers them."""
ROAD = "road"
IN_TAXI = "taxi"
DELIVERED = "delivered"
GOAL: Facts = {"passenger": DELIVERED}

MOVES = 4
"""The actions below it move the taxi (Gymnasium's action space)."""
ACTIONS = ("south", "north", "east", "west", "pick up", "put down")
"""Gymnasium's actions, in its order."""
PICK_UP = 4
PUT_DOWN = 5
"""Gymnasium's numbers of these actions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The environment's own transition table, `env.unwrapped.P`, as arrays [state, action, branch].

    Missing branches have probability 0. `final`: the transition ends the world.
    """

    probability: FloatArray
    following: IntArray
    reward: FloatArray
    final: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaxiOption:
    """An option; by raw state, whether it may begin there, its policy's action, and whether arrival there ends it."""

    option_id: str
    name: str
    target: Facts
    may_begin: BoolArray
    actions: IntArray
    ends: BoolArray

    def declaration(self) -> dict[str, Any]:
        """The body of `POST /oak/option/create`."""
        return {
            "option_id": self.option_id,
            "name": self.name,
            "target": {"features": dict(self.target)},
            "policy": {"environment": ENVIRONMENT, "routine": self.option_id},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ride:
    """One run of an option: the k + 1 raw states, the k rewards, and what ended with it.

    `over`: the world ended, or its limit of steps was reached; `cut`: the limit came before the option ended.
    """

    states: tuple[int, ...]
    rewards: tuple[float, ...]
    over: bool
    cut: bool


class Taxi:
    """The environment, and what is known of it by raw state; `starts` are the raw states that episodes begin in."""

    def __init__(self, *, rainy: bool) -> None:
        """`rainy`: a move goes astray with probability .2, to either side of where it was meant to go."""
        self._env = _environment(rainy=rainy)
        inner = self._env.unwrapped
        self.table = _table(inner.P)
        self.states = len(inner.P)
        self.steps_max = int(self._env.spec.max_episode_steps)
        self.starts: tuple[int, ...] = tuple(int(state) for state in np.flatnonzero(inner.initial_state_distrib))
        self.facts: tuple[Facts, ...] = tuple(_facts(inner, state) for state in range(self.states))
        self.options = (
            *(_go_to(place, self.facts, self.table) for place in PLACES),
            _at_once("pick-up", "pick up", {"passenger": IN_TAXI}, PICK_UP, self.states),
            _at_once("put-down", "put down", GOAL, PUT_DOWN, self.states),
        )

    def cell(self, state: int) -> tuple[int, int]:
        """Row and column of the taxi, from 0."""
        row, column, _, _ = self._env.unwrapped.decode(state)
        return int(row), int(column)

    def fine(self, state: int) -> dict[str, str | int]:
        """All that there is to tell of a raw state: where the taxi is, the passenger's place, and the destination."""
        row, column = self.cell(state)
        return {
            "row": row,
            "column": column,
            **{name: self.facts[state][name] for name in ("passenger", "destination")},
        }

    def step(self, action: int) -> tuple[int, float, bool, bool]:
        """Takes an action: the raw state after it, its reward, whether the world ended, whether it was cut off."""
        following, reward, terminated, truncated, _ = self._env.step(action)
        return int(following), float(reward), bool(terminated), bool(truncated)

    def applicable(self, state: int) -> list[int]:
        """The places in `options` of those that may begin in a raw state."""
        return [place for place, option in enumerate(self.options) if option.may_begin[state]]

    def reset(self, seed: int) -> int:
        """Begins an episode in a start of the environment's choice."""
        state, _ = self._env.reset(seed=seed)
        return int(state)

    def begin(self, start: int, seed: int) -> None:
        """Begins an episode in this start."""
        self._env.reset(seed=seed)
        self._env.unwrapped.s = start

    def run(self, option: TaxiOption, state: int) -> Ride:
        """Runs an option from the raw state that the environment is in, until it ends or the episode does."""
        states, rewards, terminated, truncated = [state], [], False, False
        while True:
            following, reward, terminated, truncated, _ = self._env.step(int(option.actions[states[-1]]))
            states.append(int(following))
            rewards.append(float(reward))
            ended = terminated or bool(option.ends[states[-1]])
            if ended or truncated:
                return Ride(states=tuple(states), rewards=tuple(rewards), over=terminated or truncated, cut=not ended)

    def reports(self, option: TaxiOption, ride: Ride) -> list[dict[str, Any]]:
        """What is reported of a ride, as the entries of `POST /oak/executions`.

        Besides the run itself, its rest from the first arrival at each further description on the way: the policy
        depends on the raw state alone, so what it did from there on is a run of it too. A run that was cut is reported
        as such.
        """
        if ride.cut:
            return [self._report(option, ride, 0, "censored")]
        return [self._report(option, ride, step, self._ending(option, ride)) for step in self._first_seen(ride)]

    def _first_seen(self, ride: Ride) -> Iterator[int]:
        seen: list[Facts] = []
        for step, state in enumerate(ride.states[:-1]):
            if self.facts[state] not in seen:
                seen.append(self.facts[state])
                yield step

    def _ending(self, option: TaxiOption, ride: Ride) -> str:
        """Success is to make the target hold; an illegal action that leaves it holding as before is a failure."""
        first, last = self.facts[ride.states[0]], self.facts[ride.states[-1]]
        return "target" if holds(option.target, last) and not holds(option.target, first) else "failure"

    def _report(self, option: TaxiOption, ride: Ride, step: int, ending: str) -> dict[str, Any]:
        return {
            "option_id": option.option_id,
            "start": {"features": dict(self.facts[ride.states[step]])},
            "final": {"features": dict(self.facts[ride.states[-1]])},
            "rewards": list(ride.rewards[step:]),
            "terminated_by": ending,
        }


def _environment(*, rainy: bool) -> Any:
    """Typed as Any: Gymnasium does not type what is Taxi's own."""
    return gymnasium.make(ENVIRONMENT, is_rainy=rainy)


def holds(target: Facts, facts: Facts) -> bool:
    """Whether all that the target names is so."""
    return all(facts.get(name) == value for name, value in target.items())


def _facts(inner: Any, state: int) -> Facts:
    """A coarse description: which of the 21 road cells the taxi is in is left out.

    The passenger is only ever at the destination where a ride has just succeeded.
    """
    row, column, passenger, destination = inner.decode(state)
    cell = (row, column)
    waiting = PLACES[passenger] if passenger < len(PLACES) else IN_TAXI
    return {
        "at": PLACES[inner.locs.index(cell)] if cell in inner.locs else ROAD,
        "passenger": DELIVERED if passenger == destination else waiting,
        "destination": PLACES[destination],
    }


def _table(transitions: Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]) -> Table:
    actions = MOVES + len((PICK_UP, PUT_DOWN))
    branches = max(len(found) for by_action in transitions.values() for found in by_action.values())
    shape = (len(transitions), actions, branches)
    table = Table(
        probability=np.zeros(shape),
        following=np.zeros(shape, np.int64),
        reward=np.zeros(shape),
        final=np.zeros(shape, np.bool_),
    )
    for state, by_action in transitions.items():
        for action, found in by_action.items():
            for branch, (probability, following, reward, final) in enumerate(found):
                place = (state, action, branch)
                table.probability[place], table.following[place] = probability, following
                table.reward[place], table.final[place] = reward, final
    return table


def _go_to(place: str, facts: Sequence[Facts], table: Table) -> TaxiOption:
    """The option to drive to a place by the fewest moves, were each to end where it most probably does.

    The first action wins ties.
    """
    there = np.array([known["at"] == place for known in facts])
    likeliest = table.probability.argmax(axis=-1)[..., np.newaxis]
    leads = np.take_along_axis(table.following, likeliest, axis=-1)[:, :MOVES, 0]
    moves = np.where(there, 0.0, np.inf)
    while not np.isfinite(moves).all():
        moves = np.where(there, 0.0, 1.0 + moves[leads].min(axis=1))
    return TaxiOption(
        option_id=f"go-to-{place}",
        name=f"go to {place}",
        target={"at": place},
        may_begin=~there,
        actions=moves[leads].argmin(axis=1),
        ends=there,
    )


def _at_once(option_id: str, name: str, target: Facts, action: int, states: int) -> TaxiOption:
    """An option of one action, which may be tried anywhere."""
    everywhere = np.ones(states, np.bool_)
    return TaxiOption(
        option_id=option_id,
        name=name,
        target=target,
        may_begin=everywhere,
        actions=np.full(states, action, np.int64),
        ends=everywhere,
    )
