"""The findings in a few sentences, for the head of the page and for the terminal. Plain text, not escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from somabrain.report.held_out import lost
from somabrain.report.model import Findings, HeldOut
from somabrain.report.names import Label
from somabrain.report.words import HUNDRED, fine_percent, many, number, percent, shortened, span

FEW_RUNS = 30
"""Runs of known outcome below which the page says that they are few."""

HARDLY = 0.1
"""Part of the plain share's Brier score that odds which are better take off it at least."""

STATE_LENGTH, ACTION_LENGTH = 90, 50
"""Characters of a state's and of an action's name in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What states and actions are called, by their numbers."""

    states: Mapping[int, Label]
    actions: Mapping[int, str]

    def state(self, state: int) -> str:
        """On one line."""
        return shortened(self.states[state].text, STATE_LENGTH)

    def action(self, action: int) -> str:
        """On one line."""
        return shortened(self.actions[action], ACTION_LENGTH) or "(no name)"


def sentences(found: Findings, names: Names) -> list[str]:
    """How many runs there are, where most of them fail, and what stopping would have saved; with plain blanks."""
    told = (outcome_sentence(found), death_sentence(found, names), stopping_sentence(found.held_out))
    return [one.replace("\N{NO-BREAK SPACE}", " ") for one in told]


def outcome_sentence(found: Findings) -> str:
    """How many runs there are, and how many succeeded."""
    known, runs = found.overall.runs, many(found.runs, "run")
    unknown = f"; of {number(found.unknown)} nobody said" if found.unknown and known else ""
    if not found.runs:
        return "No runs were reported."
    if not known:
        return f"{runs}, and of none is it known whether it succeeded."
    if found.overall.successes == known:
        return f"{runs}: all {number(known)} with a known outcome succeeded{unknown}."
    return (
        f"{runs}: {number(found.overall.successes)} of the {number(known)} with a known outcome succeeded "
        f"({percent(found.overall.rate)}){unknown}."
    )


def death_sentence(found: Findings, names: Names) -> str:
    """The place where most is lost, and what to do there."""
    if not found.overall.runs:
        return "Where runs fail can't be told without outcomes."
    if not found.deaths.failures:
        return "No run failed."
    if found.deaths.forks:
        fork = found.deaths.forks[0]
        taken, instead = fork.taken.share, fork.instead.share
        return (
            f"Most is lost in state {fork.state} ({names.state(fork.state)}): {many(taken.runs, 'run')} did "
            f"“{names.action(fork.taken.action)}” there and {percent(taken.rate)} succeeded; of "
            f"{number(instead.runs)} that did “{names.action(fork.instead.action)}” it were {percent(instead.rate)} "
            f"({span(instead.lower, instead.upper)})."
        )
    last = found.deaths.last_turns[0]
    return (
        f"No place stands out where another action did better beyond chance; the most frequent last turn of failed "
        f"runs, in {number(last.failures)} of {number(found.deaths.failures)}, is “{names.action(last.action)}” in "
        f"state {last.state} ({names.state(last.state)})."
    )


def stopping_sentence(found: HeldOut) -> str:
    """What the recommended threshold would have saved and lost."""
    if not found.whole.successes or found.whole.successes == found.whole.episodes:
        return "What stopping early would save can't be told: runs of both outcomes are needed."
    if found.best is None:
        return "No threshold on the odds is sure to save turns at a tolerable loss of successes."
    one = found.whole.stopping[found.best]
    return (
        f"Stopping runs once their odds are below {one.threshold * HUNDRED:.0f}\N{NO-BREAK SPACE}% would have saved "
        f"{fine_percent(one.steps_saved)} of the turns and lost {fine_percent(one.successes_lost)} of the successes "
        f"({number(lost(found.whole, one))} of {number(found.whole.successes)})."
    )


def trust_sentence(found: HeldOut) -> str:
    """Whether the odds can be believed."""
    whole = found.whole
    if whole.brier is None or whole.calibration_error is None or found.brier_base is None:
        return "There are no odds to judge: no outcome is known."
    if whole.episodes < FEW_RUNS:
        return f"{many(whole.episodes, 'run')} of known outcome are too few to say: {FEW_RUNS} are the least."
    points = whole.calibration_error * HUNDRED
    gain = found.brier_base - whole.brier
    verdict = "no better" if gain <= 0 else "hardly better" if gain < HARDLY * found.brier_base else "better"
    return (
        f"The odds are {verdict} than the plain share of successes (Brier {whole.brier:.3f} against "
        f"{found.brier_base:.3f}; lower is better) and off by {points:.1f} percentage points in the mean."
    )
