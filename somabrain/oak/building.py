"""What a consolidation reads, and what it works out of that (DESIGN §5.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.consolidation import Published, Work, consolidate, distinct, targets
from somabrain.oak.ids import DISCOVERED_PREFIX, state_id
from somabrain.oak.learning import StateIndex, primitive_table
from somabrain.oak.learning.states import cosine
from somabrain.oak.model import (
    Source,
    Status,
    Vector,
)
from somabrain.oak.subtasks import Dynamics, dynamics
from somabrain.ports import Consolidation, NamespaceRecord, ReadTransaction


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildParameters:
    """What options are made with; recorded with each build, so that a replay makes the same."""

    radius: int
    states_max: int
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
    room: int
    """how many discovered options there may be"""
    states: StateIndex


def snapshot(
    tx: ReadTransaction,
    record: NamespaceRecord,
    states: StateIndex,
    parameters: BuildParameters,
    *,
    copying: bool = True,
) -> Snapshot:
    """Reads all that a build needs. `states` are at least the namespace's prototypes.

    Options that were made with other parameters are all worked out anew, and so are all others unless `copying`.
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
    comparable = copying and consolidation.result.get("parameters") == asdict(parameters)
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
        room=room(tx, record, parameters),
        states=states,
    )


def chosen_targets(taken: Snapshot, parameters: BuildParameters) -> list[int]:
    """The prototypes that are worth an option, as far as there is room, in the order of DESIGN §5.5.1."""
    if not taken.dynamics.states or not taken.room:
        return []
    found = targets(taken.dynamics, taken.marks, published=taken.kept, limit=taken.dynamics.states)

    def vector(number: int) -> NDArray[np.float32] | None:
        state = taken.states.state(number)
        return state.array() if isinstance(state, Vector) else None

    wanted = (number for number in found if _option_id(taken, number) not in taken.retired)
    return distinct(wanted, vector=vector, cosine=cosine, threshold=parameters.match_similarity, limit=taken.room)


def works(taken: Snapshot, chosen: Sequence[int], parameters: BuildParameters) -> Iterator[Work]:
    """The options toward these targets, each worked out when it is asked for."""
    return consolidate(
        taken.dynamics,
        chosen,
        taken.published,
        taken.changed,
        radius=parameters.radius,
        states_max=parameters.states_max,
        gamma=parameters.gamma,
        option_id_of=lambda number: _option_id(taken, number),
    )


def room(tx: ReadTransaction, record: NamespaceRecord, parameters: BuildParameters) -> int:
    """How many discovered options there may be."""
    declared = tx.options(record.namespace, source=Source.DECLARED, status=Status.ACTIVE)
    return max(0, parameters.options_max - len(declared))


def _option_id(taken: Snapshot, number: int) -> str:
    return state_id(DISCOVERED_PREFIX, taken.states.state(number))
