"""What makes a namespace's world hard to learn, each thing with a sentence of advice (DESIGN §7)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from somabrain.oak.learning import StateIndex
from somabrain.oak.model import Facts, Mark, Option, PrimitiveRow, Scalar, Source, State, Status
from somabrain.oak.naming import option_name
from somabrain.oak.roles import NO_ROLES
from somabrain.ports import NamespaceRecord, ReadTransaction

STRETCHES = 10
"""Parts of the time so far of which new states a step are told."""

EXAMPLES = 5
"""States, actions or options that a finding names at most."""

STEPS_MIN = 100
"""Steps below which new states say nothing yet."""

NEW_STATES_MAX = 0.2
"""New states a step, of late, above which the world does not repeat itself enough to be learned."""

VALUES_MIN = 16
"""Distinct values from which on a fact may be what makes states unique."""

UNIQUENESS_MIN = 2.0
"""A fact without which there would be fewer states by this factor makes them unique."""

RISING_MIN = 0.9
"""Share of successive values that do not fall from which on a fact counts up."""

ONCE_MAX = 0.5
"""Share of actions, or of states, seen once above which they are too particular to be learned."""

DISAGREEMENT_MAX = 0.3
"""Pooled chance that two tries of one action from one state end differently, above which it is told."""

_IDENTIFIER = re.compile(r"[0-9a-fA-F-]{8,}|.*\d{4,}.*")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: `value` says how much, `names` of which facts, `examples` where."""

    code: str
    value: float
    advice: str
    names: tuple[str, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found, and the figures that it was found by."""

    episodes: int
    steps: int
    prototypes: int
    actions: int
    new_states_per_step: tuple[float, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
    model_version: int


def diagnose(tx: ReadTransaction, record: NamespaceRecord, index: StateIndex) -> Diagnosis:
    """What stands out in the namespace. `index` holds at least its prototypes."""
    namespace, experience = record.namespace, tx.experience
    reports = experience.reports(namespace, after=record.born - 1)
    states = {number: index.state(number) for number in range(record.prototypes)}
    options = tx.options(namespace)
    rows = experience.rows(namespace)
    steps = sum(taken for taken, _ in reports)
    rates = new_states(reports)
    marks, arrivals = Mark(0), {}
    for one in experience.arrivals(namespace):
        marks |= one.marks
        arrivals[one.number] = one.arrivals
    findings = [
        *_unrepeated(rates, steps),
        *_unique_facts(states, arrivals),
        *_rare_actions([option for option in options if option.source is Source.PRIMITIVE]),
        *_unreached(options, index, record),
        *_disagreeing(rows, states),
        *_unrewarded(marks, record),
    ]
    return Diagnosis(
        episodes=record.episodes,
        steps=steps,
        prototypes=record.prototypes,
        actions=record.actions,
        new_states_per_step=rates,
        findings=tuple(findings),
        model_version=record.model_version,
    )


def new_states(reports: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """New states a step in up to `STRETCHES` parts of the episodes, of as many episodes each."""
    size = math.ceil(len(reports) / STRETCHES)
    parts = [reports[first : first + size] for first in range(0, len(reports), size or 1)]
    return tuple(sum(new for _, new in part) / max(1, sum(taken for taken, _ in part)) for part in parts)


def _unrepeated(rates: Sequence[float], steps: int) -> Iterable[Finding]:
    if rates and steps >= STEPS_MIN and rates[-1] > NEW_STATES_MAX:
        yield Finding(
            code="states_do_not_repeat",
            value=rates[-1],
            advice="Nearly every step leads to a state never seen before, so nothing is learned twice: leave out of "
            "the facts what does not bear on what to do next.",
        )


def _unique_facts(states: Mapping[int, State], arrivals: Mapping[int, int]) -> Iterable[Finding]:
    """Facts without which there would be far fewer states, where most states that tell them came no second time."""
    facts = {number: state for number, state in states.items() if isinstance(state, Facts)}
    values: dict[str, list[Scalar]] = {}
    once: Counter[str] = Counter()
    whole: list[tuple[int, dict[str, int]]] = []
    for number, state in facts.items():
        parts = {name: hash((name, type(value).__name__, value)) for name, value in state.values.items()}
        whole.append((sum(parts.values()), parts))
        for name, value in state.values.items():
            values.setdefault(name, []).append(value)
            once[name] += arrivals[number] <= 1
    for name in sorted(values):
        distinct = len({(type(value).__name__, value) for value in values[name]})
        if distinct < VALUES_MIN or once[name] <= ONCE_MAX * len(values[name]):
            continue
        without = len({total - parts.get(name, 0) for total, parts in whole})
        factor = len(facts) / without
        if factor >= UNIQUENESS_MIN:
            kind, advice = _kind(name, values[name])
            yield Finding(
                code=f"unique_{kind}",
                value=factor,
                advice=advice,
                names=(name,),
                examples=tuple(
                    {"prototype": number, "facts": NO_ROLES.told(state.values)}
                    for number, state in list(facts.items())[:EXAMPLES]
                    if name in state.values
                ),
            )


def _kind(name: str, values: Sequence[Scalar]) -> tuple[str, str]:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) > len(numbers):
        if all(_TIME.fullmatch(text) for text in texts):
            return (
                "time",
                f"The fact {name!r} is a time, so no state comes twice: leave it out, or tell the part of day.",
            )
        if sum(_IDENTIFIER.fullmatch(text) is not None for text in texts) * 2 > len(texts):
            return "id", f"The fact {name!r} names one single thing, so no state comes twice: tell its kind instead."
        return "text", f"The fact {name!r} has nearly as many values as there are states: tell a kind, or leave it out."
    if any(number != int(number) for number in numbers):
        return "float", f"The fact {name!r} is a measured number: round it, or tell which of a few ranges it is in."
    rising = sum(after >= before for before, after in pairwise(numbers))
    if rising >= RISING_MIN * (len(numbers) - 1):
        return "counter", f"The fact {name!r} counts up, so no state comes twice: leave it out."
    return "number", f"The fact {name!r} has nearly as many values as there are states: tell ranges, or leave it out."


def _rare_actions(actions: Sequence[Option]) -> Iterable[Finding]:
    once = [option for option in actions if option.lifetime.executions == 1]
    if len(actions) >= VALUES_MIN and len(once) > ONCE_MAX * len(actions):
        yield Finding(
            code="actions_seen_once",
            value=len(once) / len(actions),
            advice="Most actions were taken once, so nothing is known of them elsewhere: name the kind of action, and "
            "put what it is about into the facts.",
            examples=tuple(_example(option) for option in once[:EXAMPLES]),
        )


def _unreached(options: Sequence[Option], index: StateIndex, record: NamespaceRecord) -> Iterable[Finding]:
    """Active options whose targets no known state meets."""
    lost = []
    for option in options:
        if option.status is not Status.ACTIVE or option.source is Source.PRIMITIVE:
            continue
        default = 1.0 if isinstance(option.spec.target, Facts) else record.learning.similarity_threshold
        least = option.spec.termination.similarity
        met = index.meeting(option.spec.target, default if least is None else least, record.prototypes)
        lost += [] if met.numbers else [option]
    if lost:
        yield Finding(
            code="targets_never_reached",
            value=float(len(lost)),
            advice="No known state meets these targets, so no plan can lead there: report an episode that does, "
            'explore with mode "explore", or mend the target.',
            examples=tuple(_example(option) for option in lost[:EXAMPLES]),
        )


def _example(option: Option) -> dict[str, Any]:
    return {"option_id": option.option_id, "name": option_name(option, NO_ROLES.told)}


def _disagreeing(rows: Sequence[PrimitiveRow], states: dict[int, State]) -> Iterable[Finding]:
    """How often two tries of one action from one state end differently (the pooled disagreement of DESIGN §6.3)."""
    pooled, total = 0.0, 0
    worst: Counter[int] = Counter()
    for row in rows:
        runs = sum(row.counts)
        if runs > 1:
            agreeing = sum(count * (count - 1) for count in row.counts)
            share = 1 - agreeing / (runs * (runs - 1))
            pooled += runs * share
            total += runs
            worst[row.start] += round(runs * share)
    if total and pooled / total > DISAGREEMENT_MAX:
        yield Finding(
            code="outcomes_disagree",
            value=pooled / total,
            advice="The same action in the same state often ends differently: if that is not chance, a fact that "
            "decides it is missing.",
            examples=tuple(
                {"prototype": number, "facts": NO_ROLES.told(state.values)}
                for number, _ in worst.most_common(EXAMPLES)
                if isinstance(state := states[number], Facts)
            ),
        )


def _unrewarded(marks: Mark, record: NamespaceRecord) -> Iterable[Finding]:
    if record.episodes and not marks & (Mark.REWARD | Mark.SUCCESS | Mark.MARKED):
        yield Finding(
            code="nothing_salient",
            value=0.0,
            advice=f"No step earned more than {record.learning.reward_threshold:g}, no episode succeeded and no state "
            "was marked, so skills lead to bottlenecks only: report rewards, success, or salient steps.",
        )
