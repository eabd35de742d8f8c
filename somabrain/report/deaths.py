"""Where runs fail, and what those that succeeded did there instead."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from somabrain.oak.model import Odds
from somabrain.report.model import Branch, Deaths, Fall, Fork, LastTurn
from somabrain.report.runs import Run
from somabrain.report.shares import share

FORKS_MAX = 8
"""States that are told where another action did better."""

BRANCHES_MAX = 2
"""Further actions that are told of each."""

FALLS_MAX = 6
"""Steps that are told after which odds fell."""

LAST_TURNS_MAX = 6
"""Last turns of failed runs that are told."""

EVIDENCE_MIN = 5
"""Runs below which an action is no example for others."""

LOST_MIN = 0.5
"""Successes lost below which a place is not worth telling: it rounds to none."""


def deaths(runs: Sequence[Run], odds: Mapping[int, Odds]) -> Deaths:
    """What runs of known outcome say; `odds` of the states that they were in."""
    failed = [one for one in runs if not one.success]
    found = forks(runs)
    return Deaths(
        forks=tuple(found[:FORKS_MAX]),
        forks_left_out=len(found[FORKS_MAX:]),
        recoverable=recoverable(runs),
        falls=tuple(falls(runs, odds)[:FALLS_MAX]),
        last_turns=tuple(last_turns(failed)[:LAST_TURNS_MAX]),
        failures=len(failed),
        cut_off=sum(not one.ended for one in failed),
        failed_repeats=repeats(failed),
        succeeded_repeats=repeats(one for one in runs if one.success),
    )


def forks(runs: Iterable[Run]) -> list[Fork]:
    """States where one action did worse than another beyond what chance explains, the greatest loss first.

    A run counts once for each state and action that it began a turn with. Of a state the action is told that loses
    most; `instead` is the one, of those with enough runs, whose share of successes has the greatest lower bound.
    """
    found = []
    for state, branches in _branches(runs).items():
        instead = _example(branches)
        if instead is None:
            continue
        losses = [(one.share.failures * (instead.share.lower - one.share.upper), one) for one in branches]
        lost, taken = max(losses, key=lambda pair: (pair[0], pair[1].share.runs, -pair[1].action))
        if lost >= LOST_MIN:
            rest = sorted(
                (one for one in branches if one.action not in {taken.action, instead.action}),
                key=lambda one: (-one.share.runs, one.action),
            )
            others = tuple(rest[:BRANCHES_MAX])
            found.append(Fork(state=state, taken=taken, instead=instead, others=others, lost=lost))
    return sorted(found, key=lambda one: (-one.lost, one.state))


def recoverable(runs: Sequence[Run]) -> float:
    """Failures that another action would have avoided, each run counted at the worst of its forks alone."""
    gaps: dict[tuple[int, int], float] = {}
    for state, branches in _branches(runs).items():
        instead = _example(branches)
        if instead is not None:
            gaps |= {(state, one.action): instead.share.lower - one.share.upper for one in branches}
    failed = ([(one.state, one.action) for one in run.decisions] for run in runs if not run.success)
    return sum(max(0.0, *(gaps.get(pair, 0.0) for pair in pairs)) for pairs in failed)


def falls(runs: Iterable[Run], odds: Mapping[int, Odds]) -> list[Fall]:
    """Turns after which the odds lay lower, with the bounds of both apart; the greatest loss first.

    A run counts once for each of them.
    """
    made, failures = Counter[tuple[int, int, int]](), Counter[tuple[int, int, int]]()
    for run in runs:
        places, decisions = run.places, run.decisions
        moves = {(one.state, one.action, after) for one, (_, after) in zip(decisions, pairwise(places), strict=False)}
        made.update(moves)
        failures.update(() if run.success else moves)
    found = []
    for (state, action, outcome), times in failures.items():
        before, after = odds[state], odds[outcome]
        lost = times * (before.lower - after.upper)
        if lost >= LOST_MIN:
            found.append(
                Fall(
                    state=state,
                    action=action,
                    outcome=outcome,
                    runs=made[state, action, outcome],
                    failures=times,
                    before=before.success_probability,
                    after=after.success_probability,
                    lost=lost,
                )
            )
    return sorted(found, key=lambda one: (-one.lost, one.state, one.action, one.outcome))


def last_turns(failed: Iterable[Run]) -> list[LastTurn]:
    """How failed runs began their last turn, the most frequent first."""
    ends, cut_off = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for run in failed:
        last = run.decisions[-1]
        ends[last.state, last.action] += 1
        cut_off[last.state, last.action] += not run.ended
    found = [
        LastTurn(state=state, action=action, failures=times, cut_off=cut_off[state, action])
        for (state, action), times in ends.items()
    ]
    return sorted(found, key=lambda one: (-one.failures, one.state, one.action))


def repeats(runs: Iterable[Run]) -> float | None:
    """The share of turns that began in a state with an action that the run had begun a turn with there before."""
    turns = again = 0
    for run in runs:
        done = [(one.state, one.action) for one in run.decisions]
        turns += len(done)
        again += len(done) - len(set(done))
    return again / turns if turns else None


def _branches(runs: Iterable[Run]) -> dict[int, list[Branch]]:
    """What was done in each state, and how many of the runs that did it succeeded."""
    counts: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for run in runs:
        for state, action in {(one.state, one.action) for one in run.decisions}:
            tried = counts[state][action]
            tried[0] += 1
            tried[1] += bool(run.success)
    return {
        state: [Branch(action=a, share=share(successes, n)) for a, (n, successes) in sorted(actions.items())]
        for state, actions in sorted(counts.items())
    }


def _example(branches: Iterable[Branch]) -> Branch | None:
    """The action that others might follow."""
    enough = [one for one in branches if one.share.runs >= EVIDENCE_MIN]
    return max(enough, key=lambda one: (one.share.lower, one.share.runs, -one.action), default=None)
