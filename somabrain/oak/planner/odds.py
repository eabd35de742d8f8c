"""The odds of a run, from counts of how the runs before it ended (ADR 0012).

The counts are backed off from the finest that apply to the coarsest, each shrunk toward the next: what all episodes
came to, those after as many steps, those in this state, those in it after as many steps, and of the latter those of
this agent, after a correction for the agent's record elsewhere. No level counts the episodes of a finer one again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from somabrain.oak.model import (
    BUCKETS,
    EVERYONE,
    EVERYWHERE,
    Chance,
    Odds,
    Tallied,
    Tally,
    Tried,
    bucket,
)
from somabrain.oak.planner.routes import wilson_lower

SHRINKAGE = 2.0
"""How many episodes the next coarser counts are worth (ADR 0012)."""

EVEN = 0.5
"""The odds of a run before there is any evidence."""

UNKNOWN = EVERYWHERE - 1
"""The number of no state."""

PRIOR = "prior"
BASES = ("state+steps+agent", "state+steps", "state")
"""What odds rest on, the finest first (ADR 0012)."""

CERTAIN = 1e-3
"""Nearest that a probability comes to 0 or 1 before an agent's record moves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a run is asked about: its state's prototype (`None`: not known), its agent, its steps and its budget."""

    state: int | None
    agent: str | None
    steps_taken: int | None
    steps_left: int | None


def odds(question: Question, tallies: Iterable[Tally], confidence_z: float) -> Odds:
    """The odds, from the tallies of EVERYWHERE and of the state: of EVERYONE, and of the agent.

    `lower` and `upper` are Wilson's bounds for the episodes in that state and the shrinkage.
    """
    known = _Known(tallies)
    state = UNKNOWN if question.state is None else question.state
    steps = None if question.steps_taken is None else bucket(question.steps_taken)
    overall, here = known.run(EVERYWHERE), known.run(state)
    after, then = known.steps(EVERYWHERE, steps), known.steps(state, steps)
    record, own = known.run(EVERYWHERE, question.agent), known.steps(state, steps, question.agent)
    rate = overall.shrunk(EVEN)
    probability = overall.less(here if steps is None else after).shrunk(EVEN)
    probability = after.less(then).shrunk(probability)
    probability = here.less(then).shrunk(probability)
    probability = then.less(own).shrunk(probability)
    probability = own.shrunk(_moved(probability, rate, record.less(own).shrunk(rate)))
    finest = next((one for one in (own, then, here, after, overall) if one.episodes), NONE)
    basis = next((name for name, one in zip(BASES, (own, then, here), strict=True) if one.episodes), PRIOR)
    evidence = SHRINKAGE + (0 if basis == PRIOR else finest.episodes)
    within = _within(question, state, known)
    return Odds(
        success_probability=probability * within,
        lower=wilson_lower(probability, evidence, confidence_z) * within,
        upper=(1 - wilson_lower(1 - probability, evidence, confidence_z)) * within,
        expected_steps=next((one.left / one.successes for one in (then, here, after, overall) if one.successes), None),
        episodes=finest.episodes,
        basis=basis,
    )


def chances(
    state: int, tallies: Iterable[Tally], tried: Iterable[Tried], probability: float, most: int
) -> list[Chance]:
    """Of the actions that were `tried` in `state`, the most promising first, then those taken most, by number.

    `probability`: the odds of the run there. An action moves them as its episodes' odds differ from those of all there.
    """
    here = _Known(tallies).run(state)
    before = here.shrunk(EVEN)
    shift = _logit(probability) - _logit(before)

    @cache
    def moved(episodes: int, successes: int) -> float:
        taken = _Counts(episodes, successes, 0)
        rate = taken.shrunk(here.less(taken).shrunk(EVEN))
        return probability if rate == before else _logistic(_logit(rate) + shift)

    found = sorted(tried, key=lambda one: (-moved(one.episodes, one.successes), -one.executions, one.action))
    return [
        Chance(action=one.action, success_probability=moved(one.episodes, one.successes), executions=one.executions)
        for one in found[:most]
    ]


class _Counts(NamedTuple):
    """Episodes, how many succeeded, and the steps that those had left."""

    episodes: int
    successes: int
    left: int

    def less(self, part: _Counts) -> _Counts:
        """Without those that `part`, which is of them, counts: they are not to count twice."""
        episodes = max(0, self.episodes - part.episodes)
        return _Counts(episodes, min(max(0, self.successes - part.successes), episodes), 0)

    def shrunk(self, toward: float) -> float:
        """The share that succeeded, if as many more episodes as SHRINKAGE says had come to `toward`."""
        return (self.successes + SHRINKAGE * toward) / (self.episodes + SHRINKAGE)


NONE = _Counts(0, 0, 0)


class _Known:
    """Tallies by what they count."""

    def __init__(self, tallies: Iterable[Tally]) -> None:
        self.tallies = {(one.state, one.kind, one.place, one.agent): one for one in tallies}

    def run(self, state: int, agent: str | None = EVERYONE) -> _Counts:
        return self._counts(state, Tallied.RUN, 0, agent)

    def steps(self, state: int, steps: int | None, agent: str | None = EVERYONE) -> _Counts:
        return NONE if steps is None else self._counts(state, Tallied.STEPS, steps, agent)

    def _counts(self, state: int, kind: Tallied, place: int, agent: str | None) -> _Counts:
        found = None if agent is None else self.tallies.get((state, kind, place, agent))
        return NONE if found is None else _Counts(found.episodes, found.successes, found.left)


def _moved(probability: float, rate: float, record: float) -> float:
    """`probability` times the ratio of the odds that an agent's record and the overall rate stand for."""
    if record == rate:
        return probability
    return _logistic(_logit(probability) + _logit(record) - _logit(rate))


def _logit(probability: float) -> float:
    kept = min(max(probability, CERTAIN), 1 - CERTAIN)
    return math.log(kept / (1 - kept))


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _within(question: Question, state: int, known: _Known) -> float:
    """The share of successes from here that came within the steps left; 1 where no budget is named."""
    if question.steps_left is None:
        return 1.0
    steps, most = question.steps_taken, bucket(question.steps_left)
    share = 1.0
    for at in (EVERYWHERE, state):
        successes = soon = 0
        for (where, kind, place, _), one in known.tallies.items():
            taken, left = divmod(place, BUCKETS)
            if where == at and kind is Tallied.LEFT and (steps is None or taken == bucket(steps)):
                successes += one.successes
                soon += one.successes if left <= most else 0
        share = (soon + SHRINKAGE * share) / (successes + SHRINKAGE)
    return share
