"""The local goal option: solved at query time, around the goals of one request (DESIGN §6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from somabrain.oak.subtasks import Dynamics, Subtask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalOption:
    """What `toward` is given of it: `model` as solved for all of the goals together, and what that is worth."""

    option_id: str
    dynamics: Dynamics
    model: Subtask
    evidence: float
    """n' of its bounds: it was worked out, not run"""
    kappa: float
    """its utility is κ P + r̂"""

    def end(self, index: int, goals: frozenset[int]) -> int:
        """Where `model`'s `index`-th start leads if each step takes its likeliest turn; else the lowest of `goals`."""
        starts = self.model.start
        for _ in range(starts.size):
            state = self._likeliest(index)
            if state in goals:
                return state
            index = int(np.searchsorted(starts, state))
            if index == starts.size or starts[index] != state:
                break
        return min(goals)

    def _likeliest(self, index: int) -> int:
        """The most probable outcome elsewhere of the action that is taken there, the lowest of equals."""
        dynamics, state = self.dynamics, int(self.model.start[index])
        first, last = dynamics.pair_at[state], dynamics.pair_at[state + 1]
        pair = first + np.searchsorted(dynamics.action[first:last], self.model.action[index])
        span = slice(int(dynamics.offset[pair]), int(dynamics.offset[pair + 1]))
        outcome = dynamics.outcome[span]
        return int(outcome[np.argmax(np.where(outcome == state, -1.0, dynamics.probability[span]))])
