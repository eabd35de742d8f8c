"""What FrozenLake and CliffWalking share: facts of a grid's cells, and one seed measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from benchmarks.environments.exact import Chain, Expected, Table, chain
from benchmarks.environments.harness import Follower, State, World, episode, random_walks


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A Gymnasium environment whose states are the cells of a grid, row by row; `goal` is one of them.

    `actions` by number; `limit`: steps after which a random episode is cut.
    """

    env: Any
    columns: int
    goal: int
    actions: Sequence[str]
    limit: int

    @property
    def table(self) -> Table:
        """What may follow."""
        known: Table = self.env.unwrapped.P
        return known

    @property
    def starts(self) -> Mapping[int, float]:
        """The probabilities of first states."""
        shares = self.env.unwrapped.initial_state_distrib
        return {int(state): float(shares[state]) for state in np.flatnonzero(shares)}

    def facts(self, state: int) -> State:
        """What the agent says of a cell."""
        row, column = divmod(int(state), self.columns)
        return {"features": {"row": row, "column": column}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one seed after so many episodes; the seconds from its first."""

    expected: Expected
    seconds: float


def measure(
    http: httpx.Client, grid: Grid, seed: int, episodes: Sequence[int], value: Callable[[Chain], Expected]
) -> list[Measured]:
    """What the policy of `/oak/act` toward the goal is worth after each number of random episodes, ascending."""
    began = time.perf_counter()
    world = World(http, f"seed-{seed}")
    walks = random_walks(grid.env, seed=seed, count=episodes[-1], limit=grid.limit)
    measured, lived = [], 0
    for number in episodes:
        lived += world.post_episodes(episode(next(walks), grid.facts, grid.actions) for _ in range(number - lived))
        world.consolidate()
        follower = Follower(world, grid.actions, grid.facts, lambda _: grid.facts(grid.goal))
        found = value(chain(grid.table, grid.starts, follower))
        measured.append(Measured(expected=found, seconds=time.perf_counter() - began))
    return measured
