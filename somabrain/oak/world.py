"""A namespace at one model version, ready to plan in: what meets a target, and how far everything is from it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from somabrain.oak.ids import FRONTIER, GOAL_PREFIX, state_id
from somabrain.oak.learning import StateIndex
from somabrain.oak.learning.prototypes import Goals, Match
from somabrain.oak.model import Facts, Option, OptionModel, PrimitiveTable, Source, State, Vector
from somabrain.oak.planner import (
    Distances,
    Graph,
    LocalOption,
    frontier,
    nearest,
    policy_toward,
    route_kernel,
    toward,
)
from somabrain.oak.planner.graph import Floats
from somabrain.oak.subtasks import Dynamics, Subtask, solve
from somabrain.ports import NotAtHandError
from somabrain.recent import Recent

AT_ONCE_STATES, AT_ONCE_LIKENESSES = 10_000, 1_000
"""Prototypes of the largest namespaces in which the nearest, and those with facts in common, are found at once."""

AT_ONCE_EDGES, AT_ONCE_EDGES_PLAIN = 20_000, 2_000
"""Edges of the largest graph that is searched at once: by array operations or compiled, and by plain Python."""

BESIDE_OUTCOMES = 4_000
"""Outcomes of a policy's rows from which its values are worked out beside the rest of a goal's distances."""

Begin = Callable[[Callable[[], Floats]], Callable[[], Floats]]
"""Begins work that needs no other, maybe in another thread; what it gives returns the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How the local goal option is solved at query time, and what its predictions weigh (DESIGN §6)."""

    radius: int
    states_max: int
    gamma: float
    kappa: float
    prediction_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A namespace at one model version, ready to plan in."""

    model_version: int
    index: StateIndex
    limit: int
    options: dict[str, Option]
    models: dict[str, OptionModel]
    table: PrimitiveTable
    dynamics: Dynamics
    graph: Graph
    local: LocalSettings
    _beside: Begin
    _goals: Recent[tuple[str | bytes, float], Goals]
    _distances: Recent[tuple[str | bytes, tuple[int, ...]], Distances]
    _at_once: bool = False

    @property
    def worked_out(self) -> int:
        """Bytes of what was worked out for goals by now, estimated."""
        return self._goals.weight + self._distances.weight

    @property
    def extent(self) -> int:
        """How many states and outcomes it has."""
        return self.limit + self.graph.rows.outcome.size + self.table.outcome.size

    def at_once(self) -> World:
        """The same, but what would take a while raises `NotAtHandError`."""
        return replace(self, _at_once=True)

    def closest(self, state: State) -> Match | None:
        """As `StateIndex.closest`."""
        if self._at_once and isinstance(state, Vector) and self.limit > AT_ONCE_STATES:
            raise NotAtHandError
        return self.index.closest(state, self.limit)

    def goals(self, target: State, threshold: float, state_similarity: float) -> Goals:
        """The prototypes that meet `target`, with the one that it belongs to itself (DESIGN §6.1)."""
        make = _refused if self._at_once else lambda: self._meeting(target, threshold, state_similarity)
        return self._goals.get((_key(target), threshold), make)

    def _meeting(self, target: State, threshold: float, state_similarity: float) -> Goals:
        met = self.index.meeting(target, threshold, self.limit)
        own = self.index.assigned(target, state_similarity, self.limit)
        if own is None or own.number in met.numbers:
            return met
        return replace(met, numbers=tuple(sorted((*met.numbers, own.number))))

    def distances(self, goals: tuple[int, ...], target: State) -> Distances:
        """Distances and policy values toward the prototypes that meet `target`."""
        make = _refused if self._at_once else lambda: self._toward(goals, state_id(GOAL_PREFIX, target))
        return self._distances.get((_key(target), goals), make)

    def frontier(self) -> Distances:
        """Distances to the known states in which an action of the namespace is untried (DESIGN §6.8)."""
        make = _refused if self._at_once else lambda: self._toward(frontier(self.table), None)
        return self._distances.get((FRONTIER, ()), make)

    def _toward(self, goals: Sequence[int], option_id: str | None) -> Distances:
        """`option_id`: that of the local goal option, where there is to be one."""
        policy = None
        if self.graph.policy.row.size >= BESIDE_OUTCOMES:
            policy = self._beside(lambda: policy_toward(self.graph, goals))
        local = None if option_id is None else self._local(option_id, goals)
        return toward(self.graph, goals, local=local, policy=policy)

    def about_to_search(self, *, plain: bool = False) -> None:
        """Raises `NotAtHandError` where to search the graph takes a while; `plain`: array operations don't do it."""
        slow = plain and not route_kernel.compiled
        if self._at_once and self.graph.weight.size > (AT_ONCE_EDGES_PLAIN if slow else AT_ONCE_EDGES):
            raise NotAtHandError

    def unexplored(self, start: int | None, count: int) -> tuple[int, ...]:
        """The known states of `frontier` that are cheapest to reach from `start`."""
        self.about_to_search(plain=True)
        return nearest(self.graph, sorted(self.frontier().goals), start, count)

    def likest(self, state: State, count: int) -> tuple[Match, ...]:
        """The known states most like `state`."""
        if self._at_once and self.limit > AT_ONCE_LIKENESSES:
            raise NotAtHandError
        return self.index.nearest(state, count, self.limit)

    def _local(self, option_id: str, goals: Sequence[int]) -> LocalOption | None:
        if not goals or not self.dynamics.start.size:
            return None
        settings = self.local
        found = solve(
            self.dynamics, goals, radius=settings.radius, states_max=settings.states_max, gamma=settings.gamma
        )
        return LocalOption(
            option_id=option_id,
            dynamics=self.dynamics,
            model=found,
            evidence=settings.prediction_weight,
            kappa=settings.kappa,
        )

    def action(self, option_id: str, at: int, distances: Distances) -> str | None:
        """The primitive option that an option takes at a prototype; `None` where that is the agent's own affair.

        So it is of declared options, and of others where they were run from states in which they have no policy.
        """
        if option_id in self.models:
            model: OptionModel | Subtask = self.models[option_id]
        elif distances.merged.local is not None and option_id == distances.merged.local.option_id:
            model = distances.merged.local.model
        else:
            return option_id if option_id in self.options and _primitive(self.options[option_id]) else None
        place = bisect_left(model.start, at)
        if place == model.start.size or model.start[place] != at:
            return None
        return self.table.action_ids[int(model.action[place])]


def _key(target: State) -> str | bytes:
    return target.canonical if isinstance(target, Facts) else target.data


def _refused() -> NoReturn:
    raise NotAtHandError


def _primitive(option: Option) -> bool:
    return option.source is Source.PRIMITIVE
