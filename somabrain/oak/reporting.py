"""What a report is made from, read from one snapshot of a namespace; episodes come one by one, none is kept whole."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from somabrain.oak.changes import Change
from somabrain.oak.learning import calibration, effective_runs, similarity
from somabrain.oak.model import EVERYONE, Facts, Json, Option, Source, State, Status, Vector
from somabrain.oak.naming import facts_name, option_name
from somabrain.oak.roles import NO_ROLES
from somabrain.ports import JournalEntry, NamespaceRecord, ReadTransaction
from somabrain.report import Findings, Forecast, Known, Run, Skill, Stated, Tool, share

JOURNAL_BATCH = 100
"""Journal entries that are read at once: bounds memory, changes no result."""

STATES_BATCH = 2_000
"""Prototypes that are read at once: bounds memory, changes no result."""

MODELS_BATCH = 50
"""Option models that are read at once: bounds memory, changes no result."""


def known_of(
    tx: ReadTransaction, record: NamespaceRecord, *, goal: Facts | None, progress: Callable[[int], None]
) -> Known:
    """All that the report is made from.

    With a `goal` a run succeeded that came to a state that meets it, else it failed, whatever was said of it. Tells
    `progress` how many episodes came in each step.
    """
    visits, met = _states(tx, record, goal)
    options = tx.options(record.namespace, status=Status.ACTIVE)
    skills = [one for one in options if one.source is not Source.PRIMITIVE]
    forecasts = _forecasts(tx, record, skills, visits)
    return Known(
        namespace=record.namespace.value,
        model_version=record.model_version,
        prototypes=record.prototypes,
        runs=[run if goal is None else _toward(run, met) for run in _runs(tx, record, progress)],
        skills=[_skill(tx, record, one, forecasts.get(one.option_id)) for one in skills],
        tools=_tools(tx, record, options),
        live=calibration(EVERYONE, tx.odds.scores(record.namespace, EVERYONE)),
        goal=None if goal is None else facts_name(goal.values),
    )


def states_of(tx: ReadTransaction, record: NamespaceRecord, found: Findings) -> dict[int, Stated]:
    """What the states are that findings name: facts, or a text (empty where a vector has none)."""
    states = tx.states(record.namespace, found.mentioned_states())
    return {number: _told(state) for number, state in states.items()}


def actions_of(tx: ReadTransaction, record: NamespaceRecord, found: Findings) -> dict[int, str]:
    """What the actions are called that findings name."""
    ids = tx.experience.actions(record.namespace)
    options = {number: tx.option(record.namespace, ids[number]) for number in found.mentioned_actions()}
    return {n: ids[n] if one is None else option_name(one, NO_ROLES.told) for n, one in options.items()}


def _told(state: State) -> Stated:
    if isinstance(state, Vector):
        return state.text or ""
    told: Mapping[str, Json] = NO_ROLES.told(dict(state.values))
    return told


def _states(tx: ReadTransaction, record: NamespaceRecord, goal: Facts | None) -> tuple[list[int], frozenset[int]]:
    """How often each prototype was visited, and which of them meet the goal."""
    visits: list[int] = []
    met: set[int] = set()
    while stored := tx.prototypes(record.namespace, first=len(visits), limit=STATES_BATCH):
        visits += [one.visits for one in stored]
        if goal is not None:
            met.update(one.prototype.number for one in stored if similarity(one.prototype.state, goal) == 1)
    return visits, frozenset(met)


def _runs(tx: ReadTransaction, record: NamespaceRecord, progress: Callable[[int], None]) -> list[Run]:
    """The episodes since the namespace began anew, in their order, with outcomes that came later."""
    runs: dict[str, Run] = {}
    for entry in _entries(tx, record):
        request = entry.event.request or {}
        if entry.event.type == Change.EPISODE_RECORDED:
            runs[request["episode_id"]] = _run(request)
            progress(1)
        elif entry.event.type == Change.EPISODE_OUTCOME:
            known = runs[request["episode_id"]]
            success = request["success"]
            runs[request["episode_id"]] = replace(known, success=success, ended=known.ended or bool(success))
    return list(runs.values())


def _entries(tx: ReadTransaction, record: NamespaceRecord) -> Iterator[JournalEntry]:
    after = record.born - 1
    while entries := tx.journal(after=after, limit=JOURNAL_BATCH, namespace=record.namespace):
        yield from entries
        after = entries[-1].sequence


def _run(request: Mapping[str, Json]) -> Run:
    turns = [place if (turn := step.get("turn")) is None else turn for place, step in enumerate(request["steps"])]
    success: bool | None = request["success"]
    return Run(
        states=array("i", request["prototypes"]),
        actions=array("i", request["actions"]),
        turns=array("i", turns),
        agent=request["agent"],
        group=request["group"],
        success=success,
        ended=bool(request["terminated"] or success),
    )


def _toward(run: Run, met: frozenset[int]) -> Run:
    """The run as one toward the goal: it ends where that is met first."""
    place = next((k for k, state in enumerate(run.states) if k and state in met), None)
    if place is None:
        return replace(run, success=False)
    return replace(
        run,
        states=run.states[: place + 1],
        actions=run.actions[:place],
        turns=run.turns[:place],
        success=True,
        ended=True,
    )


def _forecasts(
    tx: ReadTransaction, record: NamespaceRecord, skills: Sequence[Option], visits: Sequence[int]
) -> dict[str, Forecast]:
    """What the skills' models say, by option id; of those that may begin where agents were."""
    found: dict[str, Forecast] = {}
    seen = np.array(visits, dtype=np.float64)
    for first in range(0, len(skills), MODELS_BATCH):
        wanted = {one.option_id: one.build for one in skills[first : first + MODELS_BATCH]}
        for model in tx.experience.models(record.namespace, wanted):
            weights = seen[model.start]
            total = float(weights.sum())
            if total:
                found[model.option_id] = Forecast(
                    target=model.target,
                    starts=len(model.start),
                    visits=round(total),
                    probability=float(weights @ model.probability.astype(np.float64)) / total,
                    duration=float(weights @ model.duration.astype(np.float64)) / total,
                )
    return found


def _skill(tx: ReadTransaction, record: NamespaceRecord, option: Option, forecast: Forecast | None) -> Skill:
    life = option.lifetime
    rows = tx.rows(record.namespace, option_id=option.option_id) if life.executions else []
    known = share(life.successes, life.executions) if life.executions else None
    return Skill(
        option_id=option.option_id,
        name=option_name(option, NO_ROLES.told),
        source=option.source.value,
        target=_told(option.spec.target),
        executions=life.executions,
        evidence=sum(effective_runs(row.z, option.spec.alpha) for row in rows),
        success_rate=option.success_rate,
        lower=None if known is None else known.lower,
        upper=None if known is None else known.upper,
        duration=option.mean_duration,
        forecast=forecast,
    )


def _tools(tx: ReadTransaction, record: NamespaceRecord, options: Sequence[Option]) -> list[Tool]:
    """Actions that were taken; refused is what the agents said did not work."""
    numbers = {option_id: number for number, option_id in enumerate(tx.experience.actions(record.namespace))}
    lives = {numbers[one.option_id]: one.lifetime for one in options if one.option_id in numbers}
    return [
        Tool(action=number, taken=life.executions, refused=life.executions - life.successes)
        for number, life in sorted(lives.items())
        if life.executions
    ]
