"""The odds of runs as answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from somabrain.api.present import Telling
from somabrain.api.writes import rounded
from somabrain.oak.learning import Calibration
from somabrain.oak.predicting import Foretold
from somabrain.oak.roles import Roles


def predicted(value: Foretold, roles: Roles) -> dict[str, Any]:
    """The odds of a run, its actions with the values of this request."""
    odds, told = value.odds, Telling(roles)
    body = {
        "success_probability": rounded(odds.success_probability),
        "lower": rounded(odds.lower),
        "upper": rounded(odds.upper),
        "expected_steps": None if odds.expected_steps is None else rounded(odds.expected_steps),
        "episodes": odds.episodes,
        "basis": odds.basis,
        "candidates": [
            {
                "action": told(action),
                "success_probability": rounded(one.success_probability),
                "executions": one.executions,
            }
            for action, one in value.candidates
        ],
        "model_version": value.model_version,
    }
    return {**body, "unbound": told.unbound}


def calibrated(value: Sequence[Calibration]) -> dict[str, Any]:
    """How predictions did: the first, and the others beside it."""
    first, *others = [_calibration(one) for one in value]
    return {**first, "agents": others}


def _calibration(value: Calibration) -> dict[str, Any]:
    shown = asdict(value)
    return {
        **_rounded(shown),
        "reliability": [_rounded(one) for one in shown["reliability"]],
        "stopping": [_rounded(one) for one in shown["stopping"]],
    }


def _rounded(document: dict[str, Any]) -> dict[str, Any]:
    return {name: rounded(one) if isinstance(one, float) else one for name, one in document.items()}
