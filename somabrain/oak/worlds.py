"""What a process keeps of each namespace: its prototypes and its compiled graph, both keyed by what the database says.

A cache and nothing else: two processes on one database, or one that has just started, give the same answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from somabrain.oak.changes import Change
from somabrain.oak.learning import StateIndex, patched, primitive_table, row_table, updated
from somabrain.oak.model import Json, Option, OptionModel, PlanParameters, PrimitiveTable, Status
from somabrain.oak.planner import Distances, compile_graph
from somabrain.oak.sizes import size_of
from somabrain.oak.subtasks import Dynamics, dynamics
from somabrain.oak.world import Begin, LocalSettings, World
from somabrain.ports import NamespaceRecord, NotAtHandError, ReadTransaction
from somabrain.recent import Recent

CHANGES_MAX = 64
"""Journal rows that a kept world is brought up to date with; after more of them it is compiled afresh."""

ACCELERATED_EDGES = 1_000
"""Edges from which a graph is worth compiled kernels: to search it in plain Python keeps other threads waiting."""

REMEASURED = 0.1
"""The memory of a kept world is estimated anew when it has grown or shrunk by this share."""

_NOT_OF_THE_MODEL = frozenset({Change.MEMORY_STORED, Change.MEMORY_FORGOTTEN})
_OF_STEPS = frozenset({Change.EPISODE_RECORDED, Change.EPISODE_OUTCOME})


class _Versioned(NamedTuple):
    """A primitive model and the version that it is of."""

    version: int
    table: PrimitiveTable


class _Lived(NamedTuple):
    """What was reported, as far as it changes a world.

    `runs`: options and the prototypes that they began in. A censored run from a known state is one of them: it counts
    with its option. `steps`: of episodes, or what became of one.
    """

    runs: AbstractSet[tuple[str, int]]
    steps: bool


@dataclass(slots=True)
class _Slot:
    """The cached parts of one namespace; `lock` guards their replacement."""

    lock: threading.RLock
    index: StateIndex
    actions: dict[str, int] = field(default_factory=dict)
    taken: dict[int, Json] = field(default_factory=dict)
    table: _Versioned | None = None
    models: dict[str, tuple[int, OptionModel]] = field(default_factory=dict)
    world: World | None = None
    bytes: int = 0
    """of all of it, what the world works out for goals apart"""
    measured: int = 0
    """the world's extent when `bytes` was estimated"""


class Worlds:
    """The namespaces that this process has used lately."""

    def __init__(
        self,
        *,
        dimension: int,
        parameters: PlanParameters,
        local: LocalSettings,
        accelerate: Callable[[], None],
        beside: Begin,
        namespaces_max: int,
        bytes_max: int,
        goal_sets_max: int,
    ) -> None:
        """At most `namespaces_max` namespaces are kept, that take `bytes_max` bytes together, and at least one.

        `parameters.time_price` is replaced by each namespace's own.
        `accelerate` is called when a world is compiled that episodes taught, or of a large graph: its kernels will be
        of use. `beside` is given what a request may leave to another thread for a while.
        """
        self._dimension = dimension
        self._parameters = parameters
        self._local = local
        self._accelerate = accelerate
        self._beside = beside
        self._goal_sets_max = goal_sets_max
        self._slots: Recent[tuple[str, str, int], _Slot] = Recent(namespaces_max, heaviest=bytes_max)

    @property
    def bytes(self) -> int:
        """What the namespaces that are kept take, estimated; that of one in use as of its last request but one."""
        return self._slots.weight

    def index(self, tx: ReadTransaction, record: NamespaceRecord, *, at_once: bool = False) -> StateIndex:
        """The namespace's prototypes, at least those that `record` counts.

        Raises `NotAtHandError` where they are wanted at once and some are not known yet.
        """
        slot = self._slot(tx, record)
        if len(slot.index) < record.prototypes:
            if at_once:
                raise NotAtHandError
            with slot.lock:
                self._catch_up(slot, tx, record)
        return slot.index

    def actions(self, tx: ReadTransaction, record: NamespaceRecord) -> dict[str, int]:
        """The number of each primitive option, at least those that `record` counts, in the order of numbers."""
        slot = self._slot(tx, record)
        if len(slot.actions) < record.actions:
            with slot.lock:
                first = len(slot.actions)
                for number, option_id in enumerate(tx.experience.actions(record.namespace, first=first), first):
                    slot.actions[option_id] = number
        return slot.actions

    def action(self, tx: ReadTransaction, record: NamespaceRecord, number: int, *, at_once: bool = False) -> Json:
        """The primitive action of a number that `record` counts. Raises as `index`."""
        slot = self._slot(tx, record)
        if number not in slot.taken:
            if at_once:
                raise NotAtHandError
            wanted = next(name for name, known in self.actions(tx, record).items() if known == number)
            option = tx.option(record.namespace, wanted)
            slot.taken[number] = None if option is None else option.spec.policy["action"]
        return slot.taken[number]

    def world(self, tx: ReadTransaction, record: NamespaceRecord, *, at_once: bool = False) -> World:
        """The namespace as `record`'s model version has it; one never written to is not kept.

        Raises `NotAtHandError` where it is wanted at once and would have to be compiled; so do that world's methods.
        """
        slot = self._slot(tx, record) if record.model_version else self._new_slot()
        world = slot.world
        if world is not None:
            self._slots.reweigh(_key(tx, record), slot.bytes + world.worked_out)
        if world is not None and world.model_version == record.model_version:
            return world.at_once() if at_once else world
        if at_once:
            raise NotAtHandError
        if record.model_version == 0:
            return self._compiled(slot, tx, record)
        with slot.lock:
            world = slot.world
            if world is None or world.model_version != record.model_version:
                world = self._compiled(slot, tx, record)
                if slot.world is None or slot.world.model_version < world.model_version:
                    slot.world = world
                    self._slots.reweigh(_key(tx, record), slot.bytes)
        return world

    def _slot(self, tx: ReadTransaction, record: NamespaceRecord) -> _Slot:
        return self._slots.get(_key(tx, record), self._new_slot)

    def _new_slot(self) -> _Slot:
        return _Slot(lock=threading.RLock(), index=StateIndex(self._dimension))

    def _catch_up(self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord) -> None:
        missing = record.prototypes - len(slot.index)
        if missing > 0:
            found = tx.prototypes(record.namespace, first=len(slot.index), limit=missing)
            slot.index.append([stored.prototype for stored in found])

    def _compiled(self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord) -> World:
        self._catch_up(slot, tx, record)
        lived = _lived_since(slot.world, tx, record)
        if slot.world is not None and lived is not None:
            return self._after(slot, slot.world, lived, tx, record)
        options = {option.option_id: option for option in tx.options(record.namespace, status=Status.ACTIVE)}
        table, dyn = self._steps(slot, tx, record)
        models = self._models(slot, tx, record, options)
        rows = row_table(
            tx.rows(record.namespace, active_only=True),
            {option_id: option.spec for option_id, option in options.items()},
            predicted=list(models.values()),
            primitives=dyn,
            action_ids=table.action_ids,
            prediction_weight=self._local.prediction_weight,
        )
        graph = compile_graph(rows, replace(self._parameters, time_price=record.learning.time_price))
        if graph.weight.size > ACCELERATED_EDGES:
            self._accelerate()
        world = World(
            model_version=record.model_version,
            index=slot.index,
            limit=record.prototypes,
            options=options,
            models=models,
            table=table,
            dynamics=dyn,
            graph=graph,
            local=self._local,
            _beside=self._beside,
            _goals=Recent(self._goal_sets_max, weigh=size_of),
            _distances=Recent(self._goal_sets_max, weigh=_size_of_distances),
        )
        self._measure(slot, world)
        return world

    def _measure(self, slot: _Slot, world: World) -> None:
        """Estimates what the slot takes with `world`."""
        kept = (world, slot.index, slot.actions, slot.taken, slot.table, slot.models)
        slot.bytes, slot.measured = size_of(kept, self._local), world.extent

    def _after(self, slot: _Slot, before: World, lived: _Lived, tx: ReadTransaction, record: NamespaceRecord) -> World:
        """The namespace after what was `lived`, with all else as `before` has it."""
        namespace, experience = record.namespace, tx.experience
        table, dyn, moves = before.table, before.dynamics, None
        if lived.steps or table.states != record.prototypes:
            table, dyn = self._steps(slot, tx, record)
        changed = {option_id for option_id, _ in lived.runs}
        concerned = changed
        if lived.steps:
            moves = dyn
            taken = experience.rows(namespace, changed_after=before.model_version)
            changed = changed.union(table.action_ids[row.action] for row in taken)
            concerned = changed.union(table.action_ids)
        options = before.options | tx.options_by_id(namespace, changed)
        if len(options) > len(before.options):
            options = dict(sorted(options.items()))
        rows = patched(
            before.graph.rows,
            [row for option_id, start in lived.runs for row in tx.rows(namespace, option_id=option_id, start=start)],
            {option_id: options[option_id].spec for option_id in concerned},
            predicted=list(before.models.values()),
            primitives=moves,
            action_ids=table.action_ids,
            prediction_weight=self._local.prediction_weight,
        )
        world = replace(
            before,
            model_version=record.model_version,
            limit=record.prototypes,
            options=options,
            table=table,
            dynamics=dyn,
            graph=compile_graph(rows, before.graph.parameters, before.graph),
            _goals=Recent(self._goal_sets_max, weigh=size_of),
            _distances=Recent(self._goal_sets_max, weigh=_size_of_distances),
        )
        if abs(world.extent - slot.measured) > REMEASURED * slot.measured:
            self._measure(slot, world)
        return world

    def _steps(self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord) -> tuple[PrimitiveTable, Dynamics]:
        """What steps of episodes teach."""
        table, learning = self._table(slot, tx, record), record.learning
        if table.start.size:
            self._accelerate()
        return table, dynamics(table, time_price=learning.time_price, loss_price=learning.loss_price)

    def _table(self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord) -> PrimitiveTable:
        """The primitive model: what the slot has, with the rows that changed since, or all anew for older snapshots."""
        known = slot.table
        experience, version = tx.experience, record.model_version
        ids = list(islice(self.actions(tx, record), record.actions))
        if known is None or known.version > version or not known.version:
            rows, arrivals = experience.rows(record.namespace), experience.arrivals(record.namespace)
            table = primitive_table(rows, arrivals, ids, record.prototypes)
        elif known.version == version:
            return known.table
        else:
            rows = experience.rows(record.namespace, changed_after=known.version)
            arrivals = experience.arrivals(record.namespace, changed_after=known.version)
            table = updated(known.table, rows, arrivals, ids, record.prototypes)
        if known is None or known.version < version:
            slot.table = _Versioned(version=version, table=table)
        return table

    def _models(
        self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord, options: Mapping[str, Option]
    ) -> dict[str, OptionModel]:
        """The consolidated models of active options; those whose build the slot has are not read again."""
        wanted = {option_id: option.build for option_id, option in options.items() if option.build}
        known = {name: kept for name, kept in slot.models.items() if wanted.get(name) == kept[0]}
        missing = {name: build for name, build in wanted.items() if name not in known}
        for model in tx.experience.models(record.namespace, missing):
            known[model.option_id] = (missing[model.option_id], model)
        slot.models = known
        return {name: model for name, (_, model) in sorted(known.items())}


def _size_of_distances(distances: Distances) -> int:
    local = distances.merged.local
    return size_of(distances, distances.graph, None if local is None else local.dynamics)


def _key(tx: ReadTransaction, record: NamespaceRecord) -> tuple[str, str, int]:
    return tx.tenant.value, record.namespace.value, record.born


def _lived_since(world: World | None, tx: ReadTransaction, record: NamespaceRecord) -> _Lived | None:
    """What agents reported since `world`; `None` where something else may have changed, or much."""
    span = 0 if world is None else record.model_version - world.model_version
    if world is None or not 0 < span <= CHANGES_MAX:
        return None
    entries = tx.changes(after=world.model_version, limit=span)
    if len(entries) < span:
        return None
    runs: set[tuple[str, int]] = set()
    steps = False
    for entry in entries:
        event = entry.event
        if event.namespace != record.namespace or event.type in _NOT_OF_THE_MODEL:
            continue
        if event.type in _OF_STEPS:
            steps = True
        elif event.type == Change.EXECUTION_RECORDED and event.option_id is not None:
            start = event.payload["start_prototype"]
            runs.add((event.option_id, -1 if start is None else int(start)))
        else:
            return None
    return _Lived(runs=runs, steps=steps)
