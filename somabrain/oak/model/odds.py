"""What became of episodes, counted by where they were: the evidence for the odds of a run, and how such odds did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

EVERYWHERE = -1
"""The state of a tally that counts episodes wherever they were."""

EVERYONE = ""
"""The agent of a tally or a score of all agents, those without a name too."""

EXACT_STEPS = 16
"""Steps below it are counted one by one, above in quarters of octaves."""

PARTS_BITS = 2
"""An octave has 2 ** PARTS_BITS parts."""

BUCKETS = 256
"""More than there are buckets."""


class Tallied(IntEnum):
    """What a tally counts besides its state; `place` says which."""

    RUN = 0
    """Nothing: `place` is 0."""
    STEPS = 1
    """Steps taken until there, as `bucket` has them."""
    LEFT = 2
    """Steps taken until there and steps left until success, as `place_of` has them; successes only."""
    ACTION = 3
    """The number of the action that was taken there."""


class Tally(NamedTuple):
    """Episodes of known outcome that were in `state`, each counted once; `left` sums the steps that successes had left.

    Prototype `state`, or EVERYWHERE; an agent's label, or EVERYONE. A tuple, since an episode adds to hundreds.
    """

    state: int
    kind: Tallied
    place: int
    agent: str
    episodes: int
    successes: int
    left: int


class Tried(NamedTuple):
    """An action that was taken in a state `executions` times: the episodes of known outcome that did, each once.

    A tuple, since an answer is made of many of them.
    """

    action: int
    executions: int
    episodes: int
    successes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """The odds of a run once an action is taken; `executions` is how often it was taken there."""

    action: int
    success_probability: float
    executions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """The odds of a run (ADR 0012).

    `basis` names the finest counts that had evidence, `episodes` how many they hold. `expected_steps`: mean steps that
    successes had left from there, `None` without one.
    """

    success_probability: float
    lower: float
    upper: float
    expected_steps: float | None
    episodes: int
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Odds that were told of an episode whose outcome was not known.

    `steps`: how many it had taken, `None` until kept where nobody said: then as many as predictions before it.
    """

    probability: float
    steps: int | None
    agent: str | None


class Scored(IntEnum):
    """What a score counts; `place` says which."""

    EPISODES = 0
    """Episodes with predictions: `place` is 0."""
    BIN = 1
    """Predictions: the bin of the reliability curve, counted from 0."""
    STOP = 2
    """Episodes that a threshold would have stopped: `place` is the threshold in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How predictions did, in sums, of one agent or EVERYONE.

    `count` of episodes or predictions, `successes` among them; `predicted` and `squares` sum the probabilities told
    and their squared errors; `steps`: of all, or of those that a threshold would have saved.
    """

    agent: str
    kind: Scored
    place: int
    count: int
    successes: int
    predicted: float
    squares: float
    steps: int


def bucket(steps: int) -> int:
    """The place of a number of steps ≥ 0 among those that are counted apart."""
    if steps < EXACT_STEPS:
        return steps
    octave = steps.bit_length() - EXACT_STEPS.bit_length()
    parts = 1 << PARTS_BITS
    part = (steps >> (steps.bit_length() - 1 - PARTS_BITS)) % parts
    return EXACT_STEPS + parts * octave + part


def place_of(taken: int, left: int) -> int:
    """The place of steps taken and steps left together."""
    return bucket(taken) * BUCKETS + bucket(left)
