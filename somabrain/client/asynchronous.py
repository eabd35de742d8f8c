"""The same for agents that run on an event loop: whatever may wait, waits in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from somabrain.client.brain import DEADLINE_S, TIMEOUT_S, Brain
from somabrain.client.recorder import Episode, StepRecorder, Told

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    method: Callable[Concatenate[Brain, P], R],
) -> Callable[Concatenate[AsyncBrain, P], Awaitable[R]]:
    """The method of `Brain`, to be awaited."""

    def asked(self: AsyncBrain, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        return asyncio.to_thread(method, self.brain, *args, **kwargs)

    asked.__doc__ = method.__doc__
    return asked


class AsyncBrain:
    """`Brain`, awaited: the same methods with the same arguments, answers and errors."""

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "default",
        key: str | None = None,
        data: Path | str | None = None,
        queue: Path | str | None = None,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """As `Brain`; without a `url` it waits until the service in this process is open."""
        self.brain = Brain(
            url, namespace=namespace, key=key, data=data, queue=queue, timeout_s=timeout_s, deadline_s=deadline_s
        )

    remember = _awaited(Brain.remember)
    recall = _awaited(Brain.recall)
    memory = _awaited(Brain.memory)
    forget = _awaited(Brain.forget)
    create_option = _awaited(Brain.create_option)
    options = _awaited(Brain.options)
    plan = _awaited(Brain.plan)
    act = _awaited(Brain.act)
    predict = _awaited(Brain.predict)
    calibration = _awaited(Brain.calibration)
    learn = _awaited(Brain.learn)
    consolidate = _awaited(Brain.consolidate)
    record_episode = _awaited(Brain.record_episode)
    reported_episode = _awaited(Brain.reported_episode)
    outcome = _awaited(Brain.outcome)
    flush = _awaited(Brain.flush)
    close = _awaited(Brain.close)

    def episode(
        self,
        *,
        goal: Mapping[str, Any] | None = None,
        roles: Mapping[str, Any] | None = None,
        agent: str | None = None,
        budget: int | None = None,
        episode_id: str | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncEpisode:
        """As `Brain.episode`, for `async with`."""
        return AsyncEpisode(
            self.brain.episode(
                goal=goal,
                roles=roles,
                agent=agent,
                budget=budget,
                episode_id=episode_id,
                group=group,
                metadata=metadata,
            )
        )

    async def __aenter__(self) -> Self:
        """The brain."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        await self.close()


class AsyncEpisode:
    """`Episode` whose odds and advice are awaited; its steps are recorded at once, in a plain `with`."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    @property
    def id(self) -> str:
        """The episode's id."""
        return self.episode.id

    @property
    def last(self) -> Told | None:
        """What the last question came to."""
        return self.episode.last

    @property
    def turns(self) -> int:
        """Turns so far, the one under way included."""
        return self.episode.turns

    def observe(self, facts: Mapping[str, Any]) -> None:
        """As `Episode.observe`."""
        self.episode.observe(facts)

    async def odds(self, facts: Mapping[str, Any]) -> float:
        """As `Episode.odds`."""
        return await asyncio.to_thread(self.episode.odds, facts)

    async def advice(self, facts: Mapping[str, Any], *, role: str = "system") -> list[dict[str, str]]:
        """As `Episode.advice`."""
        return await asyncio.to_thread(self.episode.advice, facts, role=role)

    def step(self, call: Any) -> StepRecorder:
        """As `Episode.step`."""
        return self.episode.step(call)

    async def outcome(self, *, success: bool) -> None:
        """As `Episode.outcome`."""
        await asyncio.to_thread(self.episode.outcome, success=success)

    def over(self, *, terminated: bool) -> None:
        """As `Episode.over`."""
        self.episode.over(terminated=terminated)

    async def __aenter__(self) -> Self:
        """The episode."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `Episode`: posts the episode and swallows nothing."""
        await asyncio.to_thread(self.episode.__exit__, kind, error, trace)
