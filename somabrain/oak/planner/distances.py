"""Distances to one set of goals from everywhere, and the values of the best policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from somabrain.oak.planner.graph import Floats, Graph
from somabrain.oak.planner.merging import UNREACHED, Merged, merge
from somabrain.oak.planner.policy import policy_values
from somabrain.oak.planner.search import settle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distances:
    """What there is to know of one goal set before a start is given. Never changes; safe to share."""

    graph: Graph
    goals: frozenset[int]
    merged: Merged
    key: tuple[int, ...]
    """(size,) cost · span + hops of the cheapest path, of fewest hops among equals"""
    policy: Floats
    """(size,) V"""

    def cost(self, prototype: int) -> int | None:
        """D in micro-nats; `None` where no path leads to a goal."""
        key = self._key(prototype)
        return None if key is None else key // self.graph.span

    def hops(self, prototype: int) -> int | None:
        """The number of options on the cheapest path; `None` where no path leads to a goal."""
        key = self._key(prototype)
        return None if key is None else key % self.graph.span

    def policy_value(self, prototype: int) -> float:
        """V: the probability of reaching a goal from `prototype` under the best policy."""
        if prototype in self.goals:
            return 1.0
        return float(self.policy[prototype]) if prototype < self.graph.size else 0.0

    def _key(self, prototype: int) -> int | None:
        if prototype in self.goals:
            return 0
        if prototype >= self.graph.size or self.key[prototype] >= UNREACHED * self.graph.span:
            return None
        return self.key[prototype]


def toward(graph: Graph, goals: Sequence[int]) -> Distances:
    """Distances and policy values to `goals`, prototype numbers in any order (DESIGN §6.1, §6.4, §6.6)."""
    merged = merge(graph, sorted({goal for goal in goals if goal < graph.size}))
    policy = policy_values(graph.policy, merged.goals, graph.size, graph.parameters.policy_sweeps_max)
    policy.setflags(write=False)
    return Distances(
        graph=graph,
        goals=frozenset(goals),
        merged=merged,
        key=tuple(settle(merged, merged.prices)),
        policy=policy,
    )
