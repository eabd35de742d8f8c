"""How odds do that know only other runs: what stopping below a threshold would have saved, and calibration.

No run is scored by odds that it had a part in. Where runs name their groups (tasks), other runs are those of other
groups: else a task that was tried before would be known by heart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from somabrain.oak.learning import Calibration, Scores, Stopping, Tallies, calibration, less, scored
from somabrain.oak.model import EVERYONE, Prediction
from somabrain.oak.planner import Question, odds
from somabrain.report.model import HeldOut
from somabrain.report.runs import Run
from somabrain.report.shares import Z, share

GROUPS_MIN = 5
"""Groups below which a run is told apart from the others by itself: too little would be left."""

PERCENTS = (2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50)
"""Thresholds, in percent."""

LOST_MAX = 0.05
"""Share of the successes that a recommended threshold may lose at most."""

LOST_UPPER_MAX = 0.1
"""Greatest upper bound of that share (Wilson, 95 %): few successes say little of how many are lost."""

SAVED_MIN = 0.01
"""Share of the turns that a recommended threshold saves at least."""

SAVED_TIMES_LOST = 2
"""It saves a share of the turns at least so many times the share of the successes that it loses."""

AGENTS_MAX = 12
"""Agents that are told apart, those with the most runs."""

EVEN = 0.5
"""The share of successes among no runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """A run, the odds told before each of its turns, and the share of successes that those rest on."""

    run: Run
    told: Sequence[Prediction]
    base: float


def held_out(runs: Sequence[Run], whole: Tallies, progress: Callable[[int], None]) -> HeldOut:
    """Scores runs of known outcome; `whole` are their tallies. Tells `progress` how many came in each step."""
    sums = Scores()
    squares, predictions = 0.0, 0
    for one in foretold(runs, whole):
        success = bool(one.run.success)
        sums.add(scored(one.told, success=success, steps=one.run.length, percents=PERCENTS))
        squares += len(one.told) * (one.base - success) ** 2
        predictions += len(one.told)
        progress(1)
    scores = sums.summed()
    everyone = calibration(EVERYONE, scores, PERCENTS)
    names = sorted({one.agent for one in scores} - {EVERYONE})
    agents = sorted((calibration(name, scores, PERCENTS) for name in names), key=lambda one: -one.episodes)
    return HeldOut(
        whole=everyone,
        agents=tuple(agents[:AGENTS_MAX]),
        agents_left_out=len(agents[AGENTS_MAX:]),
        brier_base=squares / predictions if predictions else None,
        by_group=grouped(runs),
        best=recommended(everyone),
    )


def foretold(runs: Sequence[Run], whole: Tallies) -> Iterator[Foretold]:
    """The runs, each with odds from the others."""
    by_group = grouped(runs)
    folds: dict[tuple[str | None, int], list[Run]] = defaultdict(list)
    for place, run in enumerate(runs):
        folds[(run.group, 0) if by_group and run.group is not None else (None, place)].append(run)
    successes = sum(bool(one.success) for one in runs)
    for fold in folds.values():
        own = Tallies()
        for run in fold:
            own.add(run.lived)
        others = len(runs) - len(fold)
        base = (successes - sum(bool(one.success) for one in fold)) / others if others else EVEN
        for run in fold:
            yield Foretold(run=run, told=_told(run, whole, own), base=base)


def grouped(runs: Sequence[Run]) -> bool:
    """Whether groups are told apart."""
    return len({one.group for one in runs} - {None}) >= GROUPS_MIN


def recommended(found: Calibration) -> int | None:
    """The place of the threshold that saves most, of those that are worth what they lose; `None` without one."""
    fit = [
        (one.steps_saved, -one.threshold, place)
        for place, one in enumerate(found.stopping)
        if one.steps_saved >= max(SAVED_MIN, SAVED_TIMES_LOST * one.successes_lost)
        and one.successes_lost <= LOST_MAX
        and share(lost(found, one), found.successes).upper <= LOST_UPPER_MAX
    ]
    return max(fit)[2] if fit else None


def lost(found: Calibration, one: Stopping) -> int:
    """Successes that a threshold loses."""
    return round(one.successes_lost * found.successes)


def _told(run: Run, whole: Tallies, own: Tallies) -> list[Prediction]:
    found = []
    for turn, state, _ in run.decisions:
        question = Question(state=state, agent=run.agent, steps_taken=turn, steps_left=None)
        known, part = (one.about(state=state, steps=turn, agent=run.agent) for one in (whole, own))
        probability = odds(question, less(known, part), Z).success_probability
        found.append(Prediction(probability=probability, steps=turn, agent=run.agent))
    return found
