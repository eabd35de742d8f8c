"""An agent that knows nothing but its actions: it reports what it lived through, and asks what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from somabrain.demo.calling import Caller
from somabrain.demo.taxi import ACTIONS, DELIVERED, GOAL, Taxi

SEED_BITS = 31
"""Gymnasium takes any non-negative whole number; this many bits are plenty for episodes that differ."""

CONSOLIDATE_TIMEOUT_S = 300.0
OPTIONS_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step of a ride: where the taxi was, what it did, what it earned, and which option said so with what odds."""

    state: int
    action: str
    reward: float
    option_id: str
    name: str
    source: str
    probability: float


class Newcomer:
    """An agent in one namespace of a server. Raises `DemoError` where the server refuses or is gone."""

    def __init__(self, caller: Caller, taxi: Taxi, random: Random) -> None:
        """`random` decides what it does while it learns."""
        self._caller = caller
        self._taxi = taxi
        self._random = random
        self.begun: set[int] = set()
        """The raw states that its episodes began in."""

    def live(self) -> int:
        """Lives through one episode of random actions and reports it; returns its steps."""
        taxi, steps, terminated, truncated = self._taxi, [], False, False
        state = taxi.reset(self._random.getrandbits(SEED_BITS))
        self.begun.add(state)
        while not (terminated or truncated):
            action = self._random.randrange(len(ACTIONS))
            following, reward, terminated, truncated = taxi.step(action)
            steps.append({"state": {"features": taxi.fine(state)}, "action": ACTIONS[action], "reward": reward})
            state = following
        body = {"steps": steps, "final": {"features": taxi.fine(state)}, "terminated": terminated}
        self._caller.post("/oak/episode", body)
        return len(steps)

    def consolidate(self) -> dict[str, Any]:
        """Has options worked out from all that was reported, and waits for them."""
        return self._caller.post("/oak/consolidate", {"wait": True, "timeout_s": CONSOLIDATE_TIMEOUT_S})

    def act(self, state: int, running: str | None = None) -> dict[str, Any]:
        """What to do now, on the way to the passenger's delivery."""
        body: dict[str, Any] = {
            "state": {"features": self._taxi.fine(state)},
            "target_feature": {"features": dict(GOAL)},
        }
        return self._caller.post("/oak/act", body if running is None else {**body, "option_id": running})

    def plan(self, state: int) -> dict[str, Any]:
        """The plan to the passenger's delivery."""
        body = {"start_state": {"features": self._taxi.fine(state)}, "target_feature": {"features": dict(GOAL)}}
        return self._caller.post("/oak/plan", body)

    def policy(self) -> list[int | None]:
        """By raw state: the action that the service says; None where it knows no way, or nothing is to be done."""
        answers = [
            None if facts["passenger"] == DELIVERED else self.act(state)["action"]
            for state, facts in enumerate(self._taxi.facts)
        ]
        return [None if action is None else ACTIONS.index(action) for action in answers]

    def discovered(self) -> list[dict[str, Any]]:
        """The options that the service worked out."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"source": "discovered", "status": "active", "limit": OPTIONS_PAGE}
            page = self._caller.get("/oak/options", params if cursor is None else {**params, "cursor": cursor})
            found += page["options"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def ride(self, start: int) -> tuple[list[Turn], int]:
        """Drives from a start as it is told, each option to its end or until a better way shows; the state it ends in.

        Where there is no way, it ends there.
        """
        taxi, turns, running, over = self._taxi, [], None, False
        taxi.begin(start, self._random.getrandbits(SEED_BITS))
        state = start
        while not over:
            answer = self.act(state, running)
            if answer["action"] is None:
                break
            following, reward, terminated, truncated = taxi.step(ACTIONS.index(answer["action"]))
            turns.append(_turn(state, reward, answer))
            running = None if answer["source"] == "primitive" else answer["option_id"]
            state, over = following, terminated or truncated
        return turns, state


def _turn(state: int, reward: float, answer: Mapping[str, Any]) -> Turn:
    return Turn(
        state=state,
        action=answer["action"],
        reward=reward,
        option_id=answer["option_id"],
        name=answer["name"],
        source=answer["source"],
        probability=answer["success_probability"],
    )
