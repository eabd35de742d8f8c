"""What answers about the odds of a run look like."""

from __future__ import annotations

from typing import Any, Literal

from somabrain.api.answers import Answer, Unbound


class ChanceAnswer(Answer):
    """An action that was tried here: the odds of the run once it is taken, and how often it was."""

    action: str | dict[str, Any]
    success_probability: float
    executions: int


class PredictAnswer(Answer):
    """The odds now.

    `basis`: the finest counts that had evidence, `episodes`: how many they hold. `expected_steps`: the mean of what
    successes had left from here, null without one.
    """

    success_probability: float
    lower: float
    upper: float
    expected_steps: float | None
    episodes: int
    basis: Literal["state+steps+agent", "state+steps", "state", "prior"]
    candidates: list[ChanceAnswer]
    model_version: int
    unbound: Unbound


class ReliabilityAnswer(Answer):
    """Predictions between `low` and the next bin's: their mean, and the share whose run succeeded."""

    low: float
    predictions: int
    predicted: float
    observed: float


class StoppingAnswer(Answer):
    """What stopping each run at its first odds below the threshold would have done, in shares of all."""

    threshold: float
    stopped: int
    steps_saved: float
    successes_lost: float


class AgentCalibration(Answer):
    """How predictions did; Brier's score and the calibration error are null without one. `agent` null: all agents."""

    agent: str | None
    episodes: int
    successes: int
    predictions: int
    brier: float | None
    calibration_error: float | None
    reliability: list[ReliabilityAnswer]
    stopping: list[StoppingAnswer]


class CalibrationAnswer(AgentCalibration):
    """Of all agents or the one that was asked for, then of each."""

    agents: list[AgentCalibration]
