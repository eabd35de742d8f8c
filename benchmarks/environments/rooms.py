"""Rooms with doors, where moves slip: worlds of the project's own, as tables like Gymnasium's.

Moves go astray with probability 1/3 in all, to each of the three other directions alike; a wall stops them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from benchmarks.environments.exact import Branch, Table
from benchmarks.environments.harness import State, Walk

MOVES = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
ACTIONS = tuple(MOVES)
SLIP = 1 / 3

FOUR_ROOMS = """\
#############
#     #     #
#     #     #
#           #
#     #     #
#     #     #
## ####     #
#     ### ###
#     #     #
#     #     #
#           #
#     #     #
#############"""
"""The four rooms of Sutton, Precup and Singh 1999, figure 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Cells by number; `pits` end the world. `leads[cell][move]` is where a move leads if it does not slip."""

    cells: Sequence[tuple[int, int]]
    leads: Sequence[Sequence[int]]
    pits: frozenset[int]

    def facts(self, cell: int) -> State:
        """What an agent says of a cell."""
        row, column = self.cells[cell]
        return {"features": {"row": row, "column": column}}

    def chances(self, cell: int, move: int) -> dict[int, float]:
        """Where a move may lead, and how probably."""
        found: dict[int, float] = {}
        for way, to in enumerate(self.leads[cell]):
            share = 1 - SLIP if way == move else SLIP / (len(MOVES) - 1)
            found[to] = found.get(to, 0.0) + share
        return found

    def table(self, goal: int, *, step: float, arrival: float) -> Table:
        """The decision process of getting to `goal`: each step earns `step`, arriving there `arrival` and the end."""
        known: dict[int, dict[int, list[Branch]]] = {}
        for cell in range(len(self.cells)):
            if cell in self.pits or cell == goal:
                continue
            known[cell] = {
                move: [
                    (share, to, step + (arrival if to == goal else 0.0), to == goal or to in self.pits)
                    for to, share in self.chances(cell, move).items()
                ]
                for move in range(len(MOVES))
            }
        return known

    def best(self, goal: int, *, step: float, arrival: float, tolerance: float = 1e-10) -> NDArray[np.float64]:
        """The best return from each cell, undiscounted: value iteration."""
        size = len(self.cells)
        places = np.array([list(of) for of in self.leads])
        shares = np.full((len(MOVES), len(MOVES)), SLIP / (len(MOVES) - 1))
        np.fill_diagonal(shares, 1 - SLIP)
        over = np.zeros(size, dtype=np.bool_)
        over[[goal, *self.pits]] = True
        gain = np.where(np.arange(size) == goal, arrival, 0.0)
        value = np.zeros(size)
        while True:
            after = gain + np.where(over, 0.0, value)
            new = np.where(over, 0.0, step + (after[places] @ shares.T).max(axis=1))
            if np.abs(new - value).max() < tolerance:
                return new
            value = new

    def walk(self, start: int, random: Random, limit: int) -> Walk:
        """A random walk that a pit ends."""
        states, actions = [start], []
        while len(actions) < limit and states[-1] not in self.pits:
            move = random.randrange(len(MOVES))
            actions.append(move)
            found = self.chances(states[-1], move)
            states += random.choices(list(found), weights=list(found.values()))
        return Walk(
            states=tuple(states),
            actions=tuple(actions),
            rewards=(0.0,) * len(actions),
            terminated=states[-1] in self.pits,
        )


def of_drawing(drawing: str) -> Rooms:
    """Rooms as drawn: walls are #."""
    rows = drawing.split("\n")
    cells = [(row, column) for row, line in enumerate(rows) for column, mark in enumerate(line) if mark != "#"]
    return _rooms(cells, frozenset())


def with_pits(seed: int, *, rooms: int, side: int, doors: int, share: float) -> Rooms:
    """`rooms`² square rooms, `doors` doors in the walls between them, at least one in each, and pits in the rooms."""
    random = Random(seed)
    pitch = side + 1
    walls = [
        [(first * pitch + side, second * pitch + at) for at in range(side)]
        for first in range(rooms - 1)
        for second in range(rooms)
    ]
    walls += [[(column, row) for row, column in wall] for wall in walls]
    twice = set(random.sample(range(len(walls)), doors - len(walls)))
    open_cells = [cell for number, wall in enumerate(walls) for cell in random.sample(wall, 1 + (number in twice))]
    inside = [
        (row, column)
        for row in range(rooms * pitch)
        for column in range(rooms * pitch)
        if row % pitch < side and column % pitch < side
    ]
    cells = sorted([*inside, *open_cells])
    beside = {(row + down, column + right) for row, column in open_cells for down, right in MOVES.values()}
    places: Mapping[tuple[int, int], int] = {cell: number for number, cell in enumerate(cells)}
    candidates = [places[cell] for cell in inside if cell not in beside]
    return _rooms(cells, frozenset(random.sample(candidates, round(share * len(cells)))))


def _rooms(cells: Sequence[tuple[int, int]], pits: frozenset[int]) -> Rooms:
    places = {cell: number for number, cell in enumerate(cells)}
    leads = [
        [places.get((row + down, column + right), number) for down, right in MOVES.values()]
        for number, (row, column) in enumerate(cells)
    ]
    return Rooms(cells=cells, leads=leads, pits=pits)
