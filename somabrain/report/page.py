"""The findings as one HTML page that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import hashlib

from somabrain.report.inventory import actions, mapping, method, skills
from somabrain.report.model import Findings
from somabrain.report.sections import dying, stopping, trusting
from somabrain.report.style import CSS
from somabrain.report.summary import (
    FEW_RUNS,
    Names,
    death_sentence,
    outcome_sentence,
    stopping_sentence,
    trust_sentence,
)
from somabrain.report.words import HUNDRED, escaped, fine_percent, many, number, percent

SENTENCE_LENGTH = 600
"""Characters of a sentence with names of users in it."""

NAMESPACE_LENGTH = 64

CONTENTS = (
    ("dies", "Where runs fail"),
    ("stops", "What stopping saves"),
    ("trust", "Can the odds be trusted?"),
    ("map", "Map of states"),
    ("skills", "Skills"),
    ("actions", "Actions"),
    ("how", "How to read this"),
)


def page(found: Findings, names: Names, *, made_at: str) -> str:
    """The whole page; `made_at` is when, as people write it."""
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    namespace = escaped(found.namespace, NAMESPACE_LENGTH)
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">',
            f"<title>{namespace}: what its runs say</title><style>{CSS}</style></head><body>",
            _head(found, names, namespace),
            "<main>",
            dying(found, names),
            stopping(found),
            trusting(found),
            mapping(found, names),
            skills(found),
            actions(found, names),
            method(found),
            f"</main><footer><p>Made {escaped(made_at, NAMESPACE_LENGTH)} by <code>somabrain report</code> from ",
            f"namespace {namespace}, model version {found.model_version}.</p></footer></body></html>\n",
        ]
    )


def _head(found: Findings, names: Names, namespace: str) -> str:
    links = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in CONTENTS)
    few = (
        f'<p class="warn">Only {many(found.overall.runs, "run")} with a known outcome: read everything here as a '
        "hint.</p>"
        if 0 < found.overall.runs < FEW_RUNS
        else ""
    )
    return (
        f'<header><p class="kicker">Somabrain report · namespace {namespace}</p><h1>{_title(found)}</h1>'
        f'<p class="lead">{escaped(outcome_sentence(found), SENTENCE_LENGTH)} They took {many(found.turns, "turn")} in '
        f"{many(found.chart.states, 'state')}.</p>{few}{_keys(found, names)}</header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
    )


def _title(found: Findings) -> str:
    overall = found.overall
    if not found.runs:
        return "No runs yet"
    if not overall.runs:
        return f"{many(found.runs, 'run')}, no known outcome"
    if overall.successes == overall.runs:
        return "Every run succeeded"
    if not overall.successes:
        return "No run succeeded"
    return f"{percent(overall.rate)} of runs succeed"


def _keys(found: Findings, names: Names) -> str:
    """The three findings that matter most."""
    held = found.held_out
    forks = found.deaths.forks
    best = None if held.best is None else held.whole.stopping[held.best]
    error = held.whole.calibration_error
    cards = [
        (
            "Likely avoidable failures",
            f'<span class="bad">≈ {number(found.deaths.recoverable)} of {many(found.deaths.failures, "failure")}</span>'
            if forks
            else "none stand out"
            if found.deaths.failures
            else "none",
            death_sentence(found, names),
        ),
        (
            "Saved by stopping early",
            f'<span class="good">{fine_percent(best.steps_saved)} of turns</span>' if best else "nothing yet",
            stopping_sentence(held),
        ),
        (
            "Trust in the odds",
            f"{error * HUNDRED:.1f} points off"
            if error is not None and held.whole.episodes >= FEW_RUNS
            else "not known yet",
            trust_sentence(held),
        ),
    ]
    return (
        '<ul class="key">'
        + "".join(
            f'<li><h2>{head}</h2><p class="big">{figure}</p><p>{escaped(text, SENTENCE_LENGTH)}</p></li>'
            for head, figure, text in cards
        )
        + "</ul>"
    )
