"""Somabrain from an agent's own program: ask for what is known, and record runs while they last.

It needs httpx and pydantic, and nothing of the service.
"""

from somabrain.client.answers import (
    ActAnswer,
    CalibrationAnswer,
    EpisodeAnswer,
    EpisodeReported,
    MemoryAnswer,
    OptionAnswer,
    OptionList,
    PlanAnswer,
    PredictAnswer,
    RecallAnswer,
)
from somabrain.client.asynchronous import AsyncBrain, AsyncEpisode
from somabrain.client.brain import Brain
from somabrain.client.errors import (
    BrainError,
    BusyError,
    ConflictError,
    DeniedError,
    GarbledError,
    InvalidError,
    MissingError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from somabrain.client.recorder import FAIL_OPEN_ODDS, Episode, StepRecorder, Told
from somabrain.client.telling import State, Step

__all__ = [
    "FAIL_OPEN_ODDS",
    "ActAnswer",
    "AsyncBrain",
    "AsyncEpisode",
    "Brain",
    "BrainError",
    "BusyError",
    "CalibrationAnswer",
    "ConflictError",
    "DeniedError",
    "Episode",
    "EpisodeAnswer",
    "EpisodeReported",
    "GarbledError",
    "InvalidError",
    "MemoryAnswer",
    "MissingError",
    "NotFoundError",
    "OptionAnswer",
    "OptionList",
    "PlanAnswer",
    "PredictAnswer",
    "RecallAnswer",
    "RefusedError",
    "State",
    "Step",
    "StepRecorder",
    "Told",
    "UnavailableError",
]
