"""The recorder of an episode: what an agent's loop tells while it runs, and the odds it is told."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from somabrain.client.answers import Fact, PredictAnswer
from somabrain.client.deadline import Deadline
from somabrain.client.errors import BrainError, RefusedError
from somabrain.client.telling import action_of, facts_of, facts_with_goal, number_of, paragraph_of

FAIL_OPEN_ODDS = 1.0
"""The odds where the service did not answer: no run is stopped because of that."""

STEPS_MAX = 10_000
"""Most steps of an episode that are recorded, as many as the service takes."""

T = TypeVar("T")
log = logging.getLogger("somabrain.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the last question came to: an answer, or the problem because of which there is none."""

    answer: PredictAnswer | None
    problem: str | None
    took_s: float

    @property
    def failed_open(self) -> bool:
        """Whether the odds were `FAIL_OPEN_ODDS` for want of an answer."""
        return self.answer is None


@dataclass(slots=True, kw_only=True)
class _Step:
    state: dict[str, Fact]
    action: Any
    turn: int
    reward: float = 0.0
    ok: bool | None = None
    salient: bool = False

    def body(self) -> dict[str, Any]:
        found = {"state": {"features": self.state}, "action": self.action, "turn": self.turn, "reward": self.reward}
        return {**found, "ok": self.ok, "salient": self.salient}


class StepRecorder:
    """One action while it is carried out. An exception that leaves the block makes it `ok: false`, and goes on."""

    def __init__(self, episode: Episode, step: _Step) -> None:
        self._episode = episode
        self._step = step

    def __enter__(self) -> Self:
        """The recorder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Never swallows what was raised."""
        if kind is not None:
            self._step.ok = False

    def result(
        self,
        value: T,
        *,
        facts: Mapping[str, Any] | None = None,
        reward: float = 0.0,
        ok: bool | None = None,
        salient: bool = False,
    ) -> T:
        """Returns `value`, which is not recorded; `facts` are those after the action.

        `ok` is what the agent says of the action itself, None where it says nothing; `reward` is what it earned.
        """
        self._step.reward, self._step.salient = number_of(reward), bool(salient)
        self._step.ok = None if ok is None else bool(ok)
        if facts is not None:
            self._episode.after(facts)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What an episode is: fixed when it begins."""

    id: str
    goal: Mapping[str, Fact] = field(default_factory=dict)
    roles: Mapping[str, str | int | float] = field(default_factory=dict)
    agent: str | None = None
    group: str | None = None
    budget: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Episode:
    """An episode under way; made by `Brain.episode`, a context manager that posts it at the end.

    A turn is one decision of the agent. It begins with the first `odds`, `advice` or `observe` after a step, or when
    the same one is called again; the steps up to the next one belong to it. Steps may come from several threads.
    """

    def __init__(
        self,
        run: Run,
        *,
        predict: Callable[[dict[str, Any]], PredictAnswer],
        deadline: Deadline,
        post: Callable[[dict[str, Any]], object],
        tell_outcome: Callable[[bool], object],
    ) -> None:
        """`predict` asks for odds, `post` keeps the episode until it is sent, `tell_outcome` what comes after it."""
        self.run = run
        self.last: Told | None = None
        self._predict, self._deadline, self._post, self._tell_outcome = predict, deadline, post, tell_outcome
        self._lock = threading.Lock()
        self._steps: list[_Step] = []
        self._state = facts_with_goal({}, run.goal)
        self._turn = -1
        self._called: set[str] = set()
        self._asked: dict[str, Fact] | None = None
        self._success: bool | None = None
        self._terminated: bool | None = None
        self._ended = False

    @property
    def id(self) -> str:
        """The episode's id, known from the beginning; `Brain.outcome` takes it."""
        return self.run.id

    @property
    def turns(self) -> int:
        """Turns so far, the one under way included."""
        return self._turn + 1

    def observe(self, facts: Mapping[str, Any]) -> None:
        """The state before a turn, for an agent that asks nothing."""
        self._before("observe", facts)

    def odds(self, facts: Mapping[str, Any]) -> float:
        """The odds in 0 to 1 that the run succeeds which is in this state now; the state before a turn.

        `FAIL_OPEN_ODDS` where the service does not answer within the deadline; `last` says what happened. Never
        raises for want of an answer.
        """
        told = self._told("odds", facts)
        return FAIL_OPEN_ODDS if told.answer is None else told.answer.success_probability

    def advice(self, facts: Mapping[str, Any], *, role: str = "system") -> list[dict[str, str]]:
        """What runs before this one teach here, as messages for a prompt: one short paragraph, or none.

        None where nothing is known of such a state or the service does not answer within the deadline. The numbers
        behind it are in `last`. With `odds` of the same facts it is one question.
        """
        told = self._told("advice", facts)
        text = None if told.answer is None else paragraph_of(told.answer, self._turns_left())
        return [] if text is None else [{"role": role, "content": text}]

    def step(self, call: Any) -> StepRecorder:
        """Records an action that is about to be carried out: `telling.action_of` says what it may be."""
        with self._lock:
            self._turn = max(0, self._turn)
            step = _Step(state=self._state, action=action_of(call), turn=self._turn)
            self._called = {"step"}
            if len(self._steps) < STEPS_MAX:
                self._steps.append(step)
            else:
                log.warning("episode %s: steps beyond %d are not recorded", self.id, STEPS_MAX)
        return StepRecorder(self, step)

    def after(self, facts: Mapping[str, Any]) -> None:
        """The state as it is now, after a step."""
        with self._lock:
            if len(self._steps) < STEPS_MAX:
                self._state = facts_with_goal(facts_of(facts), self.run.goal)

    def outcome(self, *, success: bool) -> None:
        """Whether the run succeeded; after the block ended it is told as `Brain.outcome` does."""
        if self._ended:
            self._tell_outcome(success)
        else:
            self._success = bool(success)

    def over(self, *, terminated: bool) -> None:
        """Whether the world ended in the state that the run is in, or the run was cut off there.

        Where nobody says, the service takes it that a run which succeeded had come to its end, and no other.
        """
        self._terminated = bool(terminated)

    def __enter__(self) -> Self:
        """The episode."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Posts the episode; one without a step teaches nothing and is not posted.

        Success is what `outcome` said, else unknown, also where an exception leaves the block: its name is kept in the
        metadata as `raised`, and it goes on.
        """
        self._ended = True
        if self._steps:
            self._post(self._body(kind))

    def _body(self, raised: type[BaseException] | None) -> dict[str, Any]:
        run = self.run
        extra = {} if raised is None else {"raised": raised.__name__}
        return {
            "episode_id": run.id,
            "steps": [step.body() for step in self._steps],
            "final": {"features": self._state},
            "success": self._success,
            "terminated": self._terminated,
            "agent": run.agent,
            "group": run.group,
            "roles": dict(run.roles),
            "metadata": {**extra, **run.metadata},
        }

    def _turns_left(self) -> int | None:
        return None if self.run.budget is None else max(0, self.run.budget - max(0, self._turn))

    def _before(self, name: str, facts: Mapping[str, Any]) -> None:
        with self._lock:
            if self._turn < 0 or self._called & {"step", name}:
                self._turn = min(STEPS_MAX - 1, self._turn + 1)
                self._called, self._asked = set(), None
            self._called.add(name)
            if len(self._steps) < STEPS_MAX:
                self._state = facts_with_goal(facts_of(facts), self.run.goal)

    def _told(self, name: str, facts: Mapping[str, Any]) -> Told:
        self._before(name, facts)
        state = self._state
        if self.last is None or self._asked != state:
            self._asked = state
            self.last = self._ask(state)
        return self.last

    def _ask(self, state: dict[str, Fact]) -> Told:
        run = self.run
        asked: dict[str, Any] = {"state": {"features": state}, "steps_taken": self._turn, "episode_id": run.id}
        if run.goal:
            asked["target_feature"] = {"features": dict(run.goal)}
        if run.roles:
            asked["roles"] = dict(run.roles)
        if run.agent is not None:
            asked["agent"] = run.agent
        left = self._turns_left()
        if left is not None:
            asked["steps_left"] = left
        begun = time.monotonic()
        try:
            answer = self._deadline.ask(lambda: self._predict(asked))
        except BrainError as error:
            level = logging.WARNING if isinstance(error, RefusedError) else logging.INFO
            log.log(level, "episode %s goes on without odds: %s", run.id, error)
            return Told(answer=None, problem=str(error), took_s=time.monotonic() - begun)
        return Told(answer=answer, problem=None, took_s=time.monotonic() - begun)


def new_episode_id() -> str:
    """An id that nothing else has."""
    return str(uuid.uuid4())
