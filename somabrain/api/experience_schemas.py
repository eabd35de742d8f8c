"""What bodies about episodes and acting may be."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import AfterValidator, Field, GetJsonSchemaHandler, StrictBool, StrictInt, StrictStr, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from somabrain.api.schemas import Metadata, Namespaced, OptionId, Reward, Unit
from somabrain.api.states import Body, Encoding, Roled, StateBody, state_at
from somabrain.errors import InvalidRequestError, SomabrainError
from somabrain.oak.model import Episode, Json, Step
from somabrain.oak.model_document import LABEL_MAX, WHOLE, SafeJson
from somabrain.oak.roles import Roles

STEPS_MAX = 10_000
"""Most steps of an episode (DESIGN §7)."""
EPISODES_MAX = 100
"""Most episodes of a batch (DESIGN §7)."""
ACTION_BYTES_MAX = 8192
"""Largest action, as JSON."""
CANDIDATES_MAX = 20
"""Most candidates of an answer (DESIGN §7)."""
WAIT_MAX_S = 600.0


def _action(value: Any) -> Any:
    """The action as RFC 8785 writes it, so that one action is one JSON text."""
    try:
        canonical = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        raise PydanticCustomError("invalid_request", "an action is JSON of Unicode text and numbers") from None
    if len(canonical) > ACTION_BYTES_MAX:
        raise PydanticCustomError("invalid_request", "an action is at most 8 KiB as JSON")
    return value if isinstance(value, str) else json.loads(canonical)


Action = Annotated[StrictStr | SafeJson, AfterValidator(_action)]
Turn = Annotated[StrictInt, Field(ge=0, lt=STEPS_MAX), WHOLE]
Label = Annotated[StrictStr, Field(min_length=1, max_length=LABEL_MAX)]


class StepBody(Body):
    """One step: the state in which the action was taken, and what it earned."""

    state: StateBody
    action: Action
    reward: Reward = 0.0
    ok: StrictBool | None = None
    salient: StrictBool = False
    turn: Turn | None = Field(None, description="the agent's decision that the step belongs to; by default its place")


class EpisodePart(Roled):
    """A trajectory. `terminated`: the world ended in `final`, by default where `success` is true; else it was cut."""

    episode_id: OptionId | None = None
    steps: Annotated[list[StepBody], Field(min_length=1, max_length=STEPS_MAX)]
    final: StateBody
    terminated: StrictBool | None = None
    success: StrictBool | None = None
    group: Label | None = None
    agent: Label | None = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_turn(self) -> Self:
        turns = [place if step.turn is None else step.turn for place, step in enumerate(self.steps)]
        if any(later < earlier for earlier, later in pairwise(turns)):
            raise PydanticCustomError("invalid_request", "turns do not descend; by default a step's turn is its place")
        return self

    def episode(self, encoding: Encoding) -> Episode:
        """The episode. Raises as `StateBody.state` and `Roled.bound`, and for an action that is too large stored."""
        encoding, steps = self.bound(encoding), []
        for place, step in enumerate(self.steps):
            try:
                state = state_at(step.state, encoding, "state")
                action = _bound(step.action, encoding.roles)
            except SomabrainError as error:
                raise error.within("steps", place) from None
            steps.append(
                Step(
                    state=state,
                    action=action,
                    reward=float(step.reward),
                    ok=step.ok,
                    salient=step.salient,
                    turn=step.turn,
                )
            )
        return Episode(
            steps=tuple(steps),
            final=state_at(self.final, encoding, "final"),
            terminated=bool(self.success) if self.terminated is None else self.terminated,
            success=self.success,
            group=self.group,
            agent=self.agent,
            metadata=json.loads(rfc8785.dumps(self.metadata)),
            roles=encoding.roles.values,
        )


def _bound(action: Json, roles: Roles) -> Json:
    """The action as it is stored: its roles' names may be longer than their values."""
    bound = roles.bind(action)
    if bound != action and len(rfc8785.dumps(bound)) > ACTION_BYTES_MAX:
        message = "an action is at most 8 KiB as JSON, also with its roles named and each $ doubled"
        raise InvalidRequestError(message, loc=("action",))
    return bound


class EpisodeBody(EpisodePart, Namespaced):
    """One trajectory."""


class EpisodeBatch(Namespaced):
    """Trajectories in the order in which they are learned from: all are, or none."""

    episodes: Annotated[list[EpisodePart], Field(min_length=1, max_length=EPISODES_MAX)]


class OutcomeBody(Namespaced):
    """What became of an episode: whether it succeeded, what it earned besides, or both."""

    success: StrictBool | None = None
    reward: Reward | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(schema)
        whole = handler.resolve_ref_schema(reference)
        whole["anyOf"] = [
            {"required": [name], "properties": {name: {"type": kind}}}
            for name, kind in (("success", "boolean"), ("reward", "number"))
        ]
        return dict(reference)

    @model_validator(mode="after")
    def _something(self) -> OutcomeBody:
        if self.success is None and self.reward is None:
            raise PydanticCustomError("invalid_request", "an outcome has success, reward or both")
        return self


class ConsolidateBody(Namespaced):
    """Whether to wait for the options, and for how long."""

    wait: StrictBool = False
    timeout_s: Annotated[float, Field(gt=0, le=WAIT_MAX_S)] = 60.0


class ActBody(Roled, Namespaced):
    """Where the agent is, where it is to get to, and the option that it runs, if it runs one."""

    state: StateBody
    target_feature: StateBody
    option_id: OptionId | None = None
    similarity_thresh: Unit | None = None
    top_k: Annotated[StrictInt, Field(ge=0, le=CANDIDATES_MAX), WHOLE] = 0
    mode: Literal["safe", "explore"] = "safe"
