"""How odds did that were told of runs: Brier's score, the calibration error, what stopping would have saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from somabrain.oak.model import EVERYONE, Prediction, Score, Scored

BINS = 10
"""Bins of equal width of the reliability curve."""

THRESHOLDS_PERCENT = (5, 10, 15, 20, 25, 30, 40, 50)
"""Below which a run might be stopped."""

_PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """A bin of the curve: predictions from `low` on, their mean, and the share of them that came true."""

    low: float
    predictions: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """What stopping each run at its first odds below `threshold` would have done.

    `steps_saved` of all steps that runs with predictions took, `successes_lost` of all that they had: shares.
    """

    threshold: float
    stopped: int
    steps_saved: float
    successes_lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How predictions did. `brier` and `calibration_error` (ECE, Naeini 2015) are `None` without one."""

    agent: str | None
    episodes: int
    successes: int
    predictions: int
    brier: float | None
    calibration_error: float | None
    reliability: tuple[Reliability, ...]
    stopping: tuple[Stopping, ...]


def scored(
    told: Sequence[Prediction], *, success: bool, steps: int, percents: Sequence[int] = THRESHOLDS_PERCENT
) -> list[Score]:
    """The scores of an episode of `steps` steps, of EVERYONE and of the agents that the predictions name.

    `percents`: the thresholds.
    """
    agents = sorted({one.agent for one in told if one.agent is not None})
    found: list[Score] = []
    for agent, own in [(EVERYONE, told), *((name, [one for one in told if one.agent == name]) for name in agents)]:
        found.append(_score(agent, Scored.EPISODES, 0, own[:1], success=success, steps=steps))
        for place in range(BINS):
            within = [one for one in own if min(int(one.probability * BINS), BINS - 1) == place]
            if within:
                found.append(_score(agent, Scored.BIN, place, within, success=success, steps=0))
        for percent in percents:
            stop = next((one for one in own if one.probability * _PERCENT < percent), None)
            if stop is not None:
                saved = max(0, steps - (stop.steps or 0))
                found.append(_score(agent, Scored.STOP, percent, [stop], success=success, steps=saved))
    return found


class Scores:
    """Scores of several episodes, summed."""

    def __init__(self) -> None:
        """None yet."""
        self._sums: dict[tuple[str, Scored, int], Score] = {}

    def add(self, scores: Iterable[Score]) -> None:
        """Adds an episode's."""
        for one in scores:
            key = (one.agent, one.kind, one.place)
            before = self._sums.get(key)
            self._sums[key] = one if before is None else _added(before, one)

    def summed(self) -> list[Score]:
        """One of each agent, kind and place."""
        return list(self._sums.values())


def calibration(agent: str, scores: Iterable[Score], percents: Sequence[int] = THRESHOLDS_PERCENT) -> Calibration:
    """What the sums of one agent, or of EVERYONE, come to; `percents`: the thresholds."""
    known = {(one.kind, one.place): one for one in scores if one.agent == agent}
    whole = known.get((Scored.EPISODES, 0))
    bins = [one for place in range(BINS) if (one := known.get((Scored.BIN, place))) is not None]
    predictions = sum(one.count for one in bins)
    curve = [
        Reliability(
            low=one.place / BINS,
            predictions=one.count,
            predicted=one.predicted / one.count,
            observed=one.successes / one.count,
        )
        for one in bins
    ]
    return Calibration(
        agent=None if agent == EVERYONE else agent,
        episodes=0 if whole is None else whole.count,
        successes=0 if whole is None else whole.successes,
        predictions=predictions,
        brier=sum(one.squares for one in bins) / predictions if predictions else None,
        calibration_error=(
            sum(abs(one.predicted - one.observed) * one.predictions for one in curve) / predictions
            if predictions
            else None
        ),
        reliability=tuple(curve),
        stopping=tuple(_stopping(percent, known.get((Scored.STOP, percent)), whole) for percent in percents),
    )


def _score(agent: str, kind: Scored, place: int, told: Sequence[Prediction], *, success: bool, steps: int) -> Score:
    return Score(
        agent=agent,
        kind=kind,
        place=place,
        count=len(told),
        successes=len(told) if success else 0,
        predicted=sum(one.probability for one in told),
        squares=sum((one.probability - success) ** 2 for one in told),
        steps=steps,
    )


def _added(one: Score, other: Score) -> Score:
    return replace(
        one,
        count=one.count + other.count,
        successes=one.successes + other.successes,
        predicted=one.predicted + other.predicted,
        squares=one.squares + other.squares,
        steps=one.steps + other.steps,
    )


def _stopping(percent: int, stopped: Score | None, whole: Score | None) -> Stopping:
    return Stopping(
        threshold=percent / _PERCENT,
        stopped=0 if stopped is None else stopped.count,
        steps_saved=stopped.steps / whole.steps if stopped and whole and whole.steps else 0.0,
        successes_lost=stopped.successes / whole.successes if stopped and whole and whole.successes else 0.0,
    )
