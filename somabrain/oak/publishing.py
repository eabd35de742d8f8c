"""Putting the options of a consolidation in place of those before, in one short transaction (DESIGN §5.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from somabrain.oak.building import BuildParameters, Snapshot, room
from somabrain.oak.changes import Change, Stamp, option_event, retirement_event
from somabrain.oak.consolidation import Work
from somabrain.oak.learning.retention import retention_s
from somabrain.oak.model import (
    NAME_MAX,
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
)
from somabrain.oak.naming import facts_name
from somabrain.ports import Consolidation, NamespaceRecord, ReadTransaction, WriteTransaction
from somabrain.tenancy import Namespace

TOLD = frozenset({"radius", "gamma", "kappa", "alpha", "match_similarity"})
"""Parameters that ModelConsolidated tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a published build did: options that have a model, the new, changed and retired ones among them."""

    options: int
    created: int
    changed: int
    retired: int
    model_version: int


@dataclass(slots=True)
class _Difference:
    """Discovered options that a build makes, changes and retires; `other_policy`: ids of those whose rows end."""

    created: list[Option] = field(default_factory=list)
    changed: list[Option] = field(default_factory=list)
    gone: list[Option] = field(default_factory=list)
    other_policy: list[str] = field(default_factory=list)

    @property
    def options(self) -> list[Option]:
        return [*self.created, *self.changed, *self.gone]


def current(tx: ReadTransaction, taken: Snapshot) -> Consolidation | None:
    """How far the namespace's consolidation has come.

    `None` where the namespace began anew, another build was published since the snapshot, or another run began since
    this one did: then this one is void.
    """
    record, known = tx.namespace(taken.record.namespace), tx.experience.consolidation(taken.record.namespace)
    ours = (taken.record.born, taken.consolidation.build, taken.consolidation.run)
    return known if record is not None and (record.born, known.build, known.run) == ours else None


def publish(
    tx: WriteTransaction,
    taken: Snapshot,
    done: Sequence[Work],
    parameters: BuildParameters,
    stamp: Stamp,
    *,
    seconds: float,
) -> Built | None:
    """Puts the options of a build in place of those before; its models have been saved as the next build.

    Where nothing differs, only the record of it moves. Returns `None`, and changes nothing, where the run is void.
    """
    namespace = taken.record.namespace
    record, before = tx.namespace(namespace), current(tx, taken)
    if record is None or before is None:
        return None
    build, through = before.build + 1, taken.record.model_version
    known = {option.option_id: option for option in tx.options(namespace, source=Source.DISCOVERED)}
    limit = room(tx, record, parameters)
    wanted = [work for work in done if not _retired(known.get(work.model.option_id))][:limit]
    models = tx.experience.models(namespace, _builds(known.values()))
    found = _difference(taken, wanted, known, models, _Maker(parameters=parameters, build=build, now_ms=stamp.now_ms))
    version = record.model_version
    if found.options:
        payload: dict[str, Json] = {
            "through_sequence": through,
            "build": build,
            "options": len(wanted),
            "created": len(found.created),
            "changed": len(found.changed),
            "retired": len(found.gone),
            "limit": limit,
            **{name: value for name, value in asdict(parameters).items() if name in TOLD},
        }
        version = _journal(tx, namespace, stamp, found, payload, parameters=parameters)
        tx.save_namespace(_counted(record, found, version))
    after = {**known, **{option.option_id: option for option in found.options}}
    tx.experience.drop_models(namespace, _builds(after.values()))
    built = Built(
        options=len(wanted),
        created=len(found.created),
        changed=len(found.changed),
        retired=len(found.gone),
        model_version=version,
    )
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
            result={
                **asdict(built),
                "states": taken.dynamics.states,
                "seconds": seconds,
                "parameters": asdict(parameters),
            },
        )
    )
    return built


def same_model(one: OptionModel, other: OptionModel) -> bool:
    """Whether two models of an option are the same bits."""
    columns = ("start", "action", "probability", "reach", "reward", "duration")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


def same_policy(one: OptionModel, other: OptionModel) -> bool:
    """Whether two policies take the same action wherever both are defined."""
    _, here, there = np.intersect1d(one.start, other.start, assume_unique=True, return_indices=True)
    return bool(np.array_equal(one.action[here], other.action[there]))


def state_name(state: State, number: int) -> str:
    """What people call an option by: its target."""
    name = facts_name(state.values) if isinstance(state, Facts) else (state.text or "")[:NAME_MAX]
    return name or f"state {number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Makes and changes options of one build."""

    parameters: BuildParameters
    build: int
    now_ms: int

    def new(self, model: OptionModel, target: State) -> Option:
        return Option(
            option_id=model.option_id,
            spec=OptionSpec(
                name=state_name(target, model.target),
                description="",
                target=target,
                policy={},
                termination=Termination(),
                kappa=self.parameters.kappa,
                gamma=self.parameters.gamma,
                alpha=self.parameters.alpha,
                metadata={},
            ),
            status=Status.ACTIVE,
            source=Source.DISCOVERED,
            policy_version=1,
            version=1,
            created_at_ms=self.now_ms,
            updated_at_ms=self.now_ms,
            lifetime=Lifetime(),
            evidence=Evidence(),
            build=self.build,
        )

    def changed(self, option: Option, *, other_policy: bool) -> Option:
        """The option with its new model; another policy starts its rows afresh."""
        moved = replace(option, build=self.build, version=option.version + 1, updated_at_ms=self.now_ms)
        return replace(moved, policy_version=option.policy_version + 1, evidence=Evidence()) if other_policy else moved

    def retired(self, option: Option) -> Option:
        return replace(option, status=Status.RETIRED, version=option.version + 1, updated_at_ms=self.now_ms)


def _difference(
    taken: Snapshot,
    wanted: Sequence[Work],
    known: dict[str, Option],
    models: Iterable[OptionModel],
    make: _Maker,
) -> _Difference:
    before = {model.option_id: model for model in models}
    found = _Difference()
    for work in wanted:
        name = work.model.option_id
        if name not in known:
            found.created.append(make.new(work.model, taken.states.state(work.target)))
        elif name not in before or not same_model(before[name], work.model):
            other = name not in before or not same_policy(before[name], work.model)
            found.changed.append(make.changed(known[name], other_policy=other))
            found.other_policy += [name] if other else []
    staying = {work.model.option_id for work in wanted}
    active = (option for option in known.values() if option.status is Status.ACTIVE)
    found.gone += [make.retired(option) for option in active if option.option_id not in staying]
    return found


def _journal(
    tx: WriteTransaction,
    namespace: Namespace,
    stamp: Stamp,
    found: _Difference,
    payload: dict[str, Json],
    *,
    parameters: BuildParameters,
) -> int:
    """Saves the options, writes their events and the build's own, which holds what a replay makes them again from."""
    tx.save_options(namespace, found.options)
    for option_id in found.other_policy:
        tx.drop_rows(namespace, option_id)
    events = []
    for change, options in ((Change.OPTION_CREATED, found.created), (Change.OPTION_UPDATED, found.changed)):
        for option in options:
            tau_s = retention_s(option.utility, parameters.tau_min_s, parameters.tau_max_s)
            events.append(option_event(stamp, change, namespace, option, tau_s))
    events += [retirement_event(stamp, namespace, option) for option in found.gone]
    for event in events:
        tx.append(replace(event, request=None))
    request = {"through_sequence": payload["through_sequence"], "parameters": asdict(parameters)}
    return tx.append(stamp.event(Change.MODEL_CONSOLIDATED, namespace, payload, request))


def _counted(record: NamespaceRecord, found: _Difference, version: int) -> NamespaceRecord:
    return replace(
        record,
        model_version=version,
        options=record.options + len(found.created),
        active_options=record.active_options + len(found.created) - len(found.gone),
    )


def _retired(option: Option | None) -> bool:
    return option is not None and option.status is Status.RETIRED


def _builds(options: Iterable[Option]) -> dict[str, int]:
    """The builds that the models of active options are of."""
    return {option.option_id: option.build for option in options if option.build and option.status is Status.ACTIVE}
