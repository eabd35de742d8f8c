"""Gymnasium: `env = Recorded(env, brain)` reports every episode, and asks for what to do next."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from somabrain.client import Brain, BrainError, Episode
from somabrain.observations import SUCCESS_INFO, Fact, action_of_environment, facts_of_observation

log = logging.getLogger("somabrain.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an episode ended: what the last `step` gave, and the sum of all rewards."""

    observation: Any
    reward: float
    total: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


def told_success(ending: Ending) -> bool | None:
    """What the environment itself says of success, None where it says nothing."""
    return next((bool(ending.info[name]) for name in SUCCESS_INFO if name in ending.info), None)


class Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose episodes are reported as they end. What it gives is what the environment gives.

    An episode that is reset or closed before its end was cut off; one whose observations can't be facts, or whose
    actions have no JSON, is not reported, with a warning.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        brain: Brain,
        *,
        facts: Callable[[Any], Mapping[str, Fact]] = facts_of_observation,
        success: Callable[[Ending], bool | None] = told_success,
        agent: str | None = None,
        group: str | None = None,
    ) -> None:
        """`facts` of an observation; `success` of an episode that ended, None where it is not known."""
        super().__init__(env)
        self._brain, self._agent, self._group = brain, agent, group
        self._facts_of, self._success_of = facts, success
        self._episode: Episode | None = None
        self._facts: Mapping[str, Fact] = {}
        self._total = 0.0

    @property
    def episode_id(self) -> str | None:
        """Of the episode under way, for `Brain.outcome` later; None between episodes."""
        return None if self._episode is None else self._episode.id

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's. Raises `ValueError` where the observation can't be facts."""
        self._cut_off()
        observation, info = super().reset(seed=seed, options=options)
        self._facts, self._total = self._facts_of(observation), 0.0
        self._episode = self._brain.episode(agent=self._agent, group=self._group)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """As the environment's."""
        episode = self._episode
        if episode is None:
            return super().step(action)
        try:
            told = action_of_environment(action)
        except ValueError as error:
            self._give_up(episode, error)
            return super().step(action)
        episode.observe(self._facts)
        with episode.step(told) as step:
            observation, reward, terminated, truncated, info = super().step(action)
            try:
                self._facts = self._facts_of(observation)
            except ValueError as error:
                self._give_up(episode, error)
                return observation, reward, terminated, truncated, info
            self._total += float(reward)
            step.result(None, facts=self._facts, reward=float(reward))
        if terminated or truncated:
            ending = Ending(
                observation=observation,
                reward=float(reward),
                total=self._total,
                terminated=bool(terminated),
                truncated=bool(truncated),
                info=info,
            )
            success = self._success_of(ending)
            if success is not None:
                episode.outcome(success=success)
            self._end(episode, terminated=bool(terminated))
        return observation, reward, terminated, truncated, info

    def advised(self, target: Mapping[str, Fact]) -> Any:
        """The action that leads from here to the target's facts, as `step` takes it; None where none is known.

        None too where the service does not answer: the agent has to have a choice of its own.
        """
        try:
            answer = self._brain.act(self._facts, target)
        except BrainError as error:
            log.info("no advice: %s", error)
            return None
        if answer.action is None or isinstance(self.action_space, spaces.Text):
            return answer.action
        try:
            action = json.loads(str(answer.action))
        except ValueError:
            log.warning("no advice: %r is no action of this environment", answer.action)
            return None
        if isinstance(self.action_space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
            return np.asarray(action, dtype=self.action_space.dtype)
        return action

    def close(self) -> None:
        """Reports what is under way, and closes the environment."""
        self._cut_off()
        super().close()

    def _give_up(self, episode: Episode, error: ValueError) -> None:
        log.warning("episode %s is not reported: %s", episode.id, error)
        self._episode = None

    def _cut_off(self) -> None:
        if self._episode is not None:
            self._end(self._episode, terminated=False)

    def _end(self, episode: Episode, *, terminated: bool) -> None:
        episode.over(terminated=terminated)
        episode.__exit__(None, None, None)
        self._episode = None
