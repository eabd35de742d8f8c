"""The learning curve: what the plans are worth after so many episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from somabrain.demo.agent import Agent
from somabrain.demo.exact import Expected, expected
from somabrain.demo.taxi import Taxi


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What is expected of following the plans made from `runs` reported runs of `episodes` random episodes."""

    episodes: int
    runs: int
    expected: Expected
    choices: Sequence[int | None]


def learning_curve(agent: Agent, taxi: Taxi, at: Sequence[int], lived: Callable[[], object]) -> list[Point]:
    """Lives through `at[-1]` random episodes and looks at the plans after each number in `at`, which ascends.

    `lived` is called after each episode.
    """
    points, runs, episodes = [], 0, 0
    for goal in at:
        while episodes < goal:
            runs += agent.live()
            episodes += 1
            lived()
        choices = agent.choices()
        points.append(Point(episodes=episodes, runs=runs, expected=expected(taxi, choices), choices=choices))
    return points
