"""What bodies about the odds of a run may be."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field, StrictInt

from somabrain.api.experience_schemas import STEPS_MAX, Label
from somabrain.api.schemas import Namespaced, OptionId
from somabrain.api.states import Roled, StateBody
from somabrain.oak.model_document import LABEL_MAX, WHOLE

Steps = Annotated[StrictInt, Field(ge=0, le=STEPS_MAX), WHOLE]


class PredictBody(Roled, Namespaced):
    """A run: where it is now, what it is after, who runs it, how many steps it took, and how many it may still take."""

    state: StateBody
    target_feature: StateBody | None = None
    agent: Label | None = None
    steps_taken: Steps | None = None
    steps_left: Steps | None = None
    episode_id: OptionId | None = None


AgentQuery = Annotated[
    str | None, Query(min_length=1, max_length=LABEL_MAX, description="only this agent's; by default all, then each")
]
