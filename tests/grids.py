"""A small slippery grid with a wall, as episodes: what consolidation has something to make of."""

from __future__ import annotations

import random
from typing import Any

from somabrain.oak.learning import facts
from somabrain.oak.model import Episode, Step

SIZE = 5
GOAL = (4, 4)
MOVES = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
SLIP = 0.2


def cell(place: tuple[int, int]) -> dict[str, Any]:
    """The facts of a cell."""
    return {"features": {"x": place[0], "y": place[1]}}


def moved(place: tuple[int, int], move: str) -> tuple[int, int]:
    """Where a move leads; the middle column is a wall but for its middle cell."""
    x, y = (a + b for a, b in zip(place, MOVES[move], strict=True))
    inside = 0 <= x < SIZE and 0 <= y < SIZE and not (x == SIZE // 2 != y)
    return (x, y) if inside else place


def walk(seed: int, steps: int = 40) -> dict[str, Any]:
    """The body of an episode: a random walk that succeeds at the goal."""
    rng = random.Random(seed)
    place, taken = (rng.choice([0, 1]), rng.randrange(SIZE)), []
    for _ in range(steps):
        move = rng.choice(sorted(MOVES))
        taken.append({"state": cell(place), "action": move, "reward": -0.1})
        place = moved(place, rng.choice(sorted(MOVES)) if rng.random() < SLIP else move)
        if place == GOAL:
            break
    return {"steps": taken, "final": cell(place), "success": True if place == GOAL else None}


def walks(first: int, count: int) -> dict[str, Any]:
    """The body of a batch."""
    return {"episodes": [walk(seed) for seed in range(first, first + count)]}


def lived(body: dict[str, Any]) -> Episode:
    """The episode of a body."""
    steps = (
        Step(state=facts(step["state"]["features"]), action=step["action"], reward=step["reward"])
        for step in body["steps"]
    )
    ended = bool(body["success"])
    final = facts(body["final"]["features"])
    return Episode(steps=tuple(steps), final=final, terminated=ended, success=body["success"])
