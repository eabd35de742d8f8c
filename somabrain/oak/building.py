"""A consolidation inside transactions: what it reads, what it puts in place of the options before (DESIGN §5.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.changes import Change, Stamp, option_event, retirement_event
from somabrain.oak.consolidation import Published, Work, consolidate, distinct, targets
from somabrain.oak.ids import DISCOVERED_PREFIX, state_id
from somabrain.oak.learning import StateIndex, primitive_table
from somabrain.oak.learning.retention import retention_s
from somabrain.oak.learning.states import cosine
from somabrain.oak.model import (
    Evidence,
    Facts,
    Json,
    Lifetime,
    Option,
    OptionModel,
    OptionSpec,
    Source,
    State,
    Status,
    Termination,
    Vector,
)
from somabrain.oak.subtasks import Dynamics, dynamics
from somabrain.ports import Consolidation, NamespaceRecord, ReadTransaction, WriteTransaction

JOURNALLED = frozenset({"radius", "gamma", "kappa", "alpha", "match_similarity"})
"""Parameters that ModelConsolidated tells of."""

NAME_MAX = 256
"""Longest name of an option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildParameters:
    """What options are made with; recorded with each build, so that a replay makes the same."""

    radius: int
    gamma: float
    kappa: float
    alpha: float
    match_similarity: float
    options_max: int
    tau_min_s: float
    tau_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """What a build is made from: the primitive model of a namespace at one model version."""

    record: NamespaceRecord
    consolidation: Consolidation
    dynamics: Dynamics
    marks: NDArray[np.uint8]
    changed: NDArray[np.int32]
    published: Published
    kept: tuple[int, ...]
    """targets of the published options"""
    retired: frozenset[str]
    """ids of discovered options that stay retired"""
    states: StateIndex


def snapshot(tx: ReadTransaction, record: NamespaceRecord, states: StateIndex, parameters: BuildParameters) -> Snapshot:
    """Reads all that a build needs. `states` are at least the namespace's prototypes.

    Options that were made with other parameters are all worked out anew.
    """
    namespace, experience = record.namespace, tx.experience
    consolidation = experience.consolidation(namespace)
    arrivals = experience.arrivals(namespace)
    table = primitive_table(experience.rows(namespace), arrivals, experience.actions(namespace), record.prototypes)
    marks = np.zeros(record.prototypes, dtype=np.uint8)
    for one in arrivals:
        marks[one.number] = one.marks
    discovered = tx.options(namespace, source=Source.DISCOVERED)
    wanted = {option.option_id: option.build for option in discovered if option.status is Status.ACTIVE}
    models = {model.target: model for model in experience.models(namespace, wanted)}
    comparable = consolidation.result.get("parameters") == asdict(parameters)
    terminal = np.zeros(record.prototypes, dtype=np.bool_)
    terminal[list(consolidation.terminal)] = True
    learning = record.learning
    return Snapshot(
        record=record,
        consolidation=consolidation,
        dynamics=dynamics(table, time_price=learning.time_price, loss_price=learning.loss_price),
        marks=marks,
        changed=np.array(experience.changed_states(namespace, after=consolidation.through), dtype=np.int32),
        published=Published(models=models if comparable else {}, terminal=terminal),
        kept=tuple(sorted(models)),
        retired=frozenset(option.option_id for option in discovered if option.status is Status.RETIRED),
        states=states,
    )


def chosen_targets(taken: Snapshot, parameters: BuildParameters, limit: int) -> list[int]:
    """The prototypes that are worth an option, at most `limit`, in the order of DESIGN §5.5.1."""
    if not taken.dynamics.states or limit < 1:
        return []
    found = targets(taken.dynamics, taken.marks, published=taken.kept, limit=taken.dynamics.states)

    def vector(number: int) -> NDArray[np.float32] | None:
        state = taken.states.state(number)
        return state.array() if isinstance(state, Vector) else None

    wanted = (number for number in found if _option_id(taken, number) not in taken.retired)
    return distinct(wanted, vector=vector, cosine=cosine, threshold=parameters.match_similarity, limit=limit)


def works(taken: Snapshot, chosen: Sequence[int], parameters: BuildParameters) -> Iterator[Work]:
    """The options toward these targets, each worked out when it is asked for."""
    return consolidate(
        taken.dynamics,
        chosen,
        taken.published,
        taken.changed,
        radius=parameters.radius,
        states_max=taken.dynamics.states,
        gamma=parameters.gamma,
        option_id_of=lambda number: _option_id(taken, number),
    )


def room(tx: ReadTransaction, record: NamespaceRecord, parameters: BuildParameters) -> int:
    """How many discovered options there may be."""
    declared = tx.options(record.namespace, source=Source.DECLARED, status=Status.ACTIVE)
    return max(0, parameters.options_max - len(declared))


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a published build did: options that have a model, the new, changed and retired ones among them."""

    options: int
    created: int
    changed: int
    retired: int
    model_version: int


def publish(
    tx: WriteTransaction,
    taken: Snapshot,
    done: Sequence[Work],
    parameters: BuildParameters,
    stamp: Stamp,
    *,
    through: int,
    seconds: float,
) -> Built | None:
    """Puts the options of a build in place of those before; its models have been saved as the next build.

    Where nothing differs, only the record moves. Returns `None`, and changes nothing, where the namespace began anew
    or another build was published since the snapshot.
    """
    namespace = taken.record.namespace
    record, before = tx.namespace(namespace), tx.experience.consolidation(namespace)
    if record is None or record.born != taken.record.born or before.build != taken.consolidation.build:
        return None
    build = before.build + 1
    known = {option.option_id: option for option in tx.options(namespace, source=Source.DISCOVERED)}
    limit = room(tx, record, parameters)
    wanted = [work for work in done if not _retired(known.get(work.model.option_id))][:limit]
    old = {model.option_id: model for model in tx.experience.models(namespace, _builds(known.values()))}
    created, changed = [], []
    for work in wanted:
        option, name = known.get(work.model.option_id), work.model.option_id
        if option is None:
            created.append(_new(work.model, taken.states.state(work.target), parameters, build, stamp.now_ms))
        elif name not in old or not same_model(old[name], work.model):
            changed.append(_changed(tx, option, old.get(name), work.model, build, stamp.now_ms, taken.record))
    staying = {work.model.option_id for work in wanted}
    gone = [
        replace(option, status=Status.RETIRED, version=option.version + 1, updated_at_ms=stamp.now_ms)
        for option in known.values()
        if option.status is Status.ACTIVE and option.option_id not in staying
    ]
    version = record.model_version
    if created or changed or gone:
        payload: dict[str, Json] = {
            "through_sequence": through,
            "build": build,
            "options": len(wanted),
            "created": len(created),
            "changed": len(changed),
            "retired": len(gone),
            "limit": limit,
            **{name: value for name, value in asdict(parameters).items() if name in JOURNALLED},
        }
        version = _journal(tx, record, stamp, (created, changed, gone), payload, parameters)
        tx.save_namespace(
            replace(
                record,
                model_version=version,
                options=record.options + len(created),
                active_options=record.active_options + len(created) - len(gone),
            )
        )
        after = {**known, **{option.option_id: option for option in (*created, *changed, *gone)}}
        tx.experience.drop_models(namespace, _builds(after.values()))
    built = Built(
        options=len(wanted), created=len(created), changed=len(changed), retired=len(gone), model_version=version
    )
    states = int(taken.dynamics.states)
    tx.experience.save_consolidation(
        replace(
            before,
            through=through,
            episodes=taken.record.episodes,
            build=build,
            terminal=tuple(np.flatnonzero(taken.dynamics.terminal).tolist()),
            finished_at_ms=stamp.now_ms,
            done=len(done),
            total=len(done),
            problem=None,
            result={**asdict(built), "states": states, "seconds": seconds, "parameters": asdict(parameters)},
        )
    )
    return built


def same_model(one: OptionModel, other: OptionModel) -> bool:
    """Whether two models of an option are the same bits."""
    columns = ("start", "action", "probability", "reach", "reward", "duration")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


def same_policy(one: OptionModel, other: OptionModel) -> bool:
    """Whether two policies take the same action wherever both are defined."""
    shared, here, there = np.intersect1d(one.start, other.start, assume_unique=True, return_indices=True)
    return bool(shared.size == 0 or np.array_equal(one.action[here], other.action[there]))


def _option_id(taken: Snapshot, number: int) -> str:
    return state_id(DISCOVERED_PREFIX, taken.states.state(number))


def _retired(option: Option | None) -> bool:
    return option is not None and option.status is Status.RETIRED


def _builds(options: Iterable[Option]) -> dict[str, int]:
    """The builds that the models of active options are of."""
    return {option.option_id: option.build for option in options if option.build and option.status is Status.ACTIVE}


def _new(model: OptionModel, target: State, parameters: BuildParameters, build: int, now_ms: int) -> Option:
    return Option(
        option_id=model.option_id,
        spec=OptionSpec(
            name=state_name(target, model.target),
            description="",
            target=target,
            policy={},
            termination=Termination(),
            kappa=parameters.kappa,
            gamma=parameters.gamma,
            alpha=parameters.alpha,
            metadata={},
        ),
        status=Status.ACTIVE,
        source=Source.DISCOVERED,
        policy_version=1,
        version=1,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        lifetime=Lifetime(),
        evidence=Evidence(),
        build=build,
    )


def _changed(
    tx: WriteTransaction,
    option: Option,
    before: OptionModel | None,
    model: OptionModel,
    build: int,
    now_ms: int,
    record: NamespaceRecord,
) -> Option:
    """The option with its new model; another policy starts its rows afresh."""
    moved = replace(option, build=build, version=option.version + 1, updated_at_ms=now_ms)
    if before is not None and same_policy(before, model):
        return moved
    tx.drop_rows(record.namespace, option.option_id)
    return replace(moved, policy_version=option.policy_version + 1, evidence=Evidence())


def state_name(state: State, number: int) -> str:
    """What people call an option by: its target."""
    if isinstance(state, Facts):
        name = ", ".join(f"{key}={value}" for key, value in sorted(state.values.items()))
    else:
        name = state.text or f"state {number}"
    return name[:NAME_MAX] or f"state {number}"


def _journal(
    tx: WriteTransaction,
    record: NamespaceRecord,
    stamp: Stamp,
    options: tuple[list[Option], list[Option], list[Option]],
    payload: dict[str, Json],
    parameters: BuildParameters,
) -> int:
    """Saves the options, writes their events and the build's own, which holds what a replay makes them again from."""
    created, changed, gone = options
    tx.save_options(record.namespace, [*created, *changed, *gone])
    events = []
    for change, options_changed in ((Change.OPTION_CREATED, created), (Change.OPTION_UPDATED, changed)):
        for option in options_changed:
            tau_s = retention_s(option.utility, parameters.tau_min_s, parameters.tau_max_s)
            events.append(option_event(stamp, change, record.namespace, option, tau_s))
    events += [retirement_event(stamp, record.namespace, option) for option in gone]
    for event in events:
        tx.append(replace(event, request=None))
    return tx.append(stamp.event(Change.MODEL_CONSOLIDATED, record.namespace, payload, payload))
