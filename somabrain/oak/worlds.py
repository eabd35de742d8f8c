"""What a process keeps of each namespace: its prototypes and its compiled graph, both keyed by what the database says.

A cache and nothing else: two processes on one database, or one that has just started, give the same answers.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from somabrain.oak.learning import StateIndex, row_table
from somabrain.oak.learning.prototypes import Goals
from somabrain.oak.model import Facts, Option, PlanParameters, State, Status
from somabrain.oak.planner import Distances, Graph, compile_graph, toward
from somabrain.ports import NamespaceRecord, ReadTransaction
from somabrain.recent import Recent


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A namespace at one model version, ready to plan in."""

    model_version: int
    index: StateIndex
    limit: int
    options: dict[str, Option]
    graph: Graph
    _goals: Recent[tuple[str | bytes, float], Goals]
    _distances: Recent[tuple[int, ...], Distances]

    def goals(self, target: State, threshold: float, state_similarity: float) -> Goals:
        """The prototypes that meet `target`, with the one that it belongs to itself (DESIGN §6.1)."""
        key = target.canonical if isinstance(target, Facts) else target.data
        return self._goals.get((key, threshold), lambda: self._meeting(target, threshold, state_similarity))

    def _meeting(self, target: State, threshold: float, state_similarity: float) -> Goals:
        met = self.index.meeting(target, threshold, self.limit)
        own = self.index.assigned(target, state_similarity, self.limit)
        if own is None or own.number in met.numbers:
            return met
        return replace(met, numbers=tuple(sorted((*met.numbers, own.number))))

    def distances(self, goals: tuple[int, ...]) -> Distances:
        """Distances and policy values toward the goal set."""
        return self._distances.get(goals, lambda: toward(self.graph, goals))


@dataclass(slots=True)
class _Slot:
    """The cached parts of one namespace; `lock` guards their replacement."""

    lock: threading.Lock
    index: StateIndex
    world: World | None = None


class Worlds:
    """The namespaces that this process has used lately."""

    def __init__(self, *, dimension: int, parameters: PlanParameters, namespaces_max: int, goal_sets_max: int) -> None:
        """`parameters.time_price` is replaced by each namespace's own."""
        self._dimension = dimension
        self._parameters = parameters
        self._goal_sets_max = goal_sets_max
        self._slots: Recent[tuple[str, str, int], _Slot] = Recent(namespaces_max)

    def index(self, tx: ReadTransaction, record: NamespaceRecord) -> StateIndex:
        """The namespace's prototypes, at least those that `record` counts."""
        slot = self._slot(tx, record)
        if len(slot.index) < record.prototypes:
            with slot.lock:
                self._catch_up(slot, tx, record)
        return slot.index

    def world(self, tx: ReadTransaction, record: NamespaceRecord) -> World:
        """The namespace as `record`'s model version has it; one never written to is not kept."""
        if record.model_version == 0:
            return self._compiled(self._new_slot(), tx, record)
        slot = self._slot(tx, record)
        world = slot.world
        if world is not None and world.model_version == record.model_version:
            return world
        with slot.lock:
            world = slot.world
            if world is None or world.model_version != record.model_version:
                world = self._compiled(slot, tx, record)
                if slot.world is None or slot.world.model_version < world.model_version:
                    slot.world = world
        return world

    def _slot(self, tx: ReadTransaction, record: NamespaceRecord) -> _Slot:
        key = (tx.tenant.value, record.namespace.value, record.born)
        return self._slots.get(key, self._new_slot)

    def _new_slot(self) -> _Slot:
        return _Slot(lock=threading.Lock(), index=StateIndex(self._dimension))

    def _catch_up(self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord) -> None:
        missing = record.prototypes - len(slot.index)
        if missing > 0:
            found = tx.prototypes(record.namespace, first=len(slot.index), limit=missing)
            slot.index.append([stored.prototype for stored in found])

    def _compiled(self, slot: _Slot, tx: ReadTransaction, record: NamespaceRecord) -> World:
        self._catch_up(slot, tx, record)
        options = {option.option_id: option for option in tx.options(record.namespace, status=Status.ACTIVE)}
        rows = tx.rows(record.namespace, active_only=True)
        table = row_table(rows, {option_id: option.spec for option_id, option in options.items()})
        parameters = replace(self._parameters, time_price=record.learning.time_price)
        return World(
            model_version=record.model_version,
            index=slot.index,
            limit=record.prototypes,
            options=options,
            graph=compile_graph(table, parameters),
            _goals=Recent(self._goal_sets_max),
            _distances=Recent(self._goal_sets_max),
        )
