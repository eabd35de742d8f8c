"""DoorKey: a world of the project's own with the rules and the layouts of MiniGrid's, which needs a game library.

A wall with a locked door splits a walled square; agent and key are on the left of it, the goal is in the corner below
on the right. The agent turns, steps forward, picks the key up, drops it in front of it and toggles the door, which only
who carries the key unlocks. What isn't possible changes nothing. A layout is drawn from a seed in the order, and by the
generator, in which MiniGrid draws it (`minigrid/envs/doorkey.py` of version 3.2.0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from random import Random

import numpy as np

from benchmarks.environments.harness import State, Walk

ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle")
"""In MiniGrid's order, without its `done`, which does nothing."""

AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""By direction, the cell in front: right, down, left, up. x goes right, y down."""

Cell = tuple[int, int]


class Door(Enum):
    """What the door is like."""

    LOCKED = "locked"
    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that changes. `key` is `None` where it is carried."""

    agent: Cell
    direction: int
    key: Cell | None
    door: Door

    @property
    def ahead(self) -> Cell:
        """The cell in front of the agent."""
        right, down = AHEAD[self.direction]
        return self.agent[0] + right, self.agent[1] + down


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorKey:
    """A layout. `size` is the side of the square with its walls; `split` the x of the wall that has the door."""

    size: int
    split: int
    door: Cell
    start: Situation

    @property
    def goal(self) -> Cell:
        """The cell that ends the world with reward 1."""
        return self.size - 2, self.size - 2

    @property
    def limit(self) -> int:
        """Steps after which an episode is cut."""
        return 10 * self.size**2

    def after(self, situation: Situation, action: int) -> Situation:
        """What an action leads to, for certain."""
        now, ahead = situation, situation.ahead
        match ACTIONS[action]:
            case "left" | "right" as way:
                turn = 1 if way == "right" else -1
                return replace(now, direction=(now.direction + turn) % len(AHEAD))
            case "forward" if not self._blocked(now, ahead):
                return replace(now, agent=ahead)
            case "pickup" if now.key == ahead:
                return replace(now, key=None)
            case "drop" if now.key is None and not self._wall(ahead) and ahead not in {self.door, self.goal}:
                return replace(now, key=ahead)
            case "toggle" if ahead == self.door and (now.door is not Door.LOCKED or now.key is None):
                return replace(now, door=Door.CLOSED if now.door is Door.OPEN else Door.OPEN)
        return now

    def facts(self, situation: Situation) -> State:
        """What the agent says of a situation: all of it."""
        x, y = situation.agent
        key = "carried" if situation.key is None else "{},{}".format(*situation.key)
        direction = situation.direction
        return {"features": {"x": x, "y": y, "direction": direction, "key": key, "door": situation.door.value}}

    @property
    def target(self) -> State:
        """The agent at the goal, however."""
        x, y = self.goal
        return {"features": {"x": x, "y": y}}

    def optimum(self) -> int | None:
        """The fewest steps from the start to the goal."""
        return self._fewest(lambda situation: [self.after(situation, action) for action in range(len(ACTIONS))])

    def known(self, walks: Iterable[Walk]) -> int | None:
        """The fewest steps from the start to the goal of those that the walks have; `None`: they hold no way."""
        seen: defaultdict[Situation, set[Situation]] = defaultdict(set)
        for walk in walks:
            for situation, following in pairwise(walk.states):
                seen[situation].add(following)
        return self._fewest(lambda situation: seen.get(situation, ()))

    def walk(self, random: Random) -> Walk:
        """An episode in which each action is as likely in every step."""
        states = [self.start]
        actions: list[int] = []
        while len(actions) < self.limit and states[-1].agent != self.goal:
            actions.append(random.randrange(len(ACTIONS)))
            states.append(self.after(states[-1], actions[-1]))
        terminated = states[-1].agent == self.goal
        rewards = (0.0,) * (len(actions) - 1) + (float(terminated),)
        return Walk(states=tuple(states), actions=tuple(actions), rewards=rewards, terminated=terminated)

    def _fewest(self, following: Callable[[Situation], Iterable[Situation]]) -> int | None:
        reached, edge, steps = {self.start}, {self.start}, 0
        while edge:
            if any(situation.agent == self.goal for situation in edge):
                return steps
            edge = {found for situation in edge for found in following(situation)} - reached
            reached |= edge
            steps += 1
        return None

    def _wall(self, cell: Cell) -> bool:
        x, y = cell
        last = self.size - 1
        return x in {0, last} or y in {0, last} or (x == self.split and cell != self.door)

    def _blocked(self, situation: Situation, cell: Cell) -> bool:
        shut = cell == self.door and situation.door is not Door.OPEN
        return shut or cell == situation.key or self._wall(cell)


def layout(size: int, seed: int) -> DoorKey:
    """MiniGrid's layout of a seed."""
    random = np.random.default_rng(seed)
    split = int(random.integers(2, size - 2))

    def inside() -> Cell:
        while True:
            cell = int(random.integers(0, split)), int(random.integers(0, size))
            if cell[0] and 0 < cell[1] < size - 1:
                return cell

    agent = inside()
    direction = int(random.integers(0, len(AHEAD)))
    door = split, int(random.integers(1, size - 2))
    key = inside()
    while key == agent:
        key = inside()
    start = Situation(agent=agent, direction=direction, key=key, door=Door.LOCKED)
    return DoorKey(size=size, split=split, door=door, start=start)
