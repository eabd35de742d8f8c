"""Shares of runs that succeeded, with the interval that a reader expects."""

from __future__ import annotations

from somabrain.oak.planner.routes import wilson_lower
from somabrain.report.model import Share

Z = 1.959964
"""Standard deviations of an interval of 95 % (the normal distribution's quantile at .975)."""


def share(successes: int, runs: int) -> Share:
    """The share with Wilson's interval; of no runs anything is possible."""
    if not runs:
        return Share(runs=0, successes=0, lower=0.0, upper=1.0)
    rate = successes / runs
    lower, upper = wilson_lower(rate, runs, Z), 1 - wilson_lower(1 - rate, runs, Z)
    return Share(runs=runs, successes=successes, lower=lower, upper=upper)
