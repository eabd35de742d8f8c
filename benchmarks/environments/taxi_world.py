"""Gymnasium's Taxi as the benchmark's agent meets it: as facts or as noisy vectors, and as a table."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from benchmarks.environments.exact import Branch, Table
from benchmarks.environments.harness import State, Walk

ACTIONS = ("south", "north", "east", "west", "pick up", "put down")
"""In Gymnasium's order."""
MOVES = 4
IN_TAXI = 4
"""Gymnasium's number of the passenger's being in the taxi."""
STATES, DESTINATIONS = 500, 4
LIMIT = 200
FICKLE = 0.3
DIMENSION = 256


class Taxi:
    """The environment as an agent meets it, and as a table.

    States of the table are Gymnasium's; in the fickle one those of 500 and above are the same with the passenger
    going to change the destination, which nobody sees.
    """

    def __init__(self, kind: str) -> None:
        """`kind`: plain, rainy, fickle or noise."""
        self.kind = kind
        self.env = _environment(kind)
        self._inner = self.env.unwrapped
        self.decoded = [tuple(int(part) for part in self._inner.decode(state)) for state in range(STATES)]
        plain: Table = self._inner.P
        starts = np.flatnonzero(self._inner.initial_state_distrib).tolist()
        self.table: Table = plain
        self.starts: Mapping[int, float] = {state: 1 / len(starts) for state in starts}
        if kind == "fickle":
            self.table = {**plain, **{STATES + state: self._fickle(state) for state in plain}}
            self.starts = {
                begun: share / len(starts)
                for state in starts
                for begun, share in ((state, 1 - FICKLE), (STATES + state, FICKLE))
            }

    def facts(self, state: int) -> State:
        """What the agent says of a state."""
        row, column, passenger, destination = self.decoded[state % STATES]
        return {"features": {"row": row, "column": column, "passenger": passenger, "destination": destination}}

    def destination(self, state: int) -> int:
        """The destination that holds in a state."""
        return self.decoded[state % STATES][-1]

    def target(self, state: int) -> State:
        """The passenger at the destination that holds in a state."""
        return self.target_of(self.destination(state))

    def target_of(self, destination: int) -> State:
        """The passenger at a destination."""
        return {"features": {"passenger": destination, "destination": destination}}

    def delivered(self, destination: int) -> int:
        """The state in which the world ends, for a destination."""
        row, column = self._inner.locs[destination]
        return int(self._inner.encode(row, column, destination, destination))

    def way(self, walks: Sequence[Walk]) -> bool:
        """Whether what the walks went through leads from every start to its target, the destination kept."""
        before: defaultdict[int, set[int]] = defaultdict(set)
        for walk in walks:
            for state, following in zip(walk.states[:-1], walk.states[1:], strict=True):
                if self.destination(state) == self.destination(following):
                    before[int(following)].add(int(state))
        found = {self.delivered(destination) for destination in range(DESTINATIONS)}
        waiting = list(found)
        while waiting:
            fresh = before[waiting.pop()] - found
            found |= fresh
            waiting += fresh
        return all(state % STATES in found for state in self.starts)

    def _fickle(self, state: int) -> dict[int, list[Branch]]:
        """What may follow while the passenger is going to change the destination (Gymnasium's `TaxiEnv.step`)."""
        return {
            action: [
                branch
                for probability, following, reward, final in branches
                for branch in self._changed(state, probability, int(following), reward, final=final)
            ]
            for action, branches in self._inner.P[state].items()
        }

    def _changed(self, state: int, probability: float, following: int, reward: float, *, final: bool) -> list[Branch]:
        row, column, passenger, destination = self.decoded[state]
        new_row, new_column, new_passenger, _ = self.decoded[following]
        if passenger != IN_TAXI or (row, column) == (new_row, new_column):
            return [(probability, STATES + following, reward, final)]
        others = [other for other in range(DESTINATIONS) if other != destination]
        return [
            (
                probability / len(others),
                int(self._inner.encode(new_row, new_column, new_passenger, other)),
                reward,
                final,
            )
            for other in others
        ]


class Vectors:
    """States as random unit vectors; each observation has noise of its own."""

    def __init__(self, taxi: Taxi, seed: int, deviation: float) -> None:
        """`deviation` of the noise in each component."""
        self._random = np.random.default_rng((seed, STATES))
        clean = self._random.standard_normal((STATES, DIMENSION))
        self._clean = clean / np.linalg.norm(clean, axis=1, keepdims=True)
        self._taxi = taxi
        self._deviation = deviation

    def observed(self, state: int) -> State:
        """What the agent sees of a state now."""
        return _packed(self._clean[state] + self._random.normal(0.0, self._deviation, DIMENSION))

    def target(self, state: int) -> State:
        """The vector, without noise, of the state in which the world ends."""
        return _packed(self._clean[self._taxi.delivered(self._taxi.destination(state))])


def _environment(kind: str) -> Any:
    """Typed as Any: Gymnasium does not type what is Taxi's own."""
    rainy, fickle = kind == "rainy", kind == "fickle"
    return gymnasium.make("Taxi-v4", is_rainy=rainy, fickle_passenger=fickle, disable_env_checker=True)


def _packed(vector: NDArray[np.float64]) -> State:
    return {"vector_b64": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
