"""Distances to one set of goals from everywhere, and the values of the best policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from somabrain.oak.planner.graph import Floats, Graph
from somabrain.oak.planner.local import LocalOption
from somabrain.oak.planner.merging import UNREACHED, Merged, merge
from somabrain.oak.planner.policy import policy_values
from somabrain.oak.planner.search import Labels, settle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distances:
    """What there is to know of one goal set before a start is given. Never changes; safe to share."""

    graph: Graph
    goals: frozenset[int]
    merged: Merged
    labels: Labels
    policy: Floats
    """(size,) V"""
    durations: dict[int, float] = field(default_factory=dict)
    """steps along the canonical path, of the prototypes that were asked for: a cache"""

    def cost(self, prototype: int) -> int | None:
        """D in micro-nats; `None` where no path leads to a goal."""
        if prototype in self.goals:
            return 0
        if prototype >= self.graph.size:
            return None
        cost = int(self.labels.cost[prototype])
        return cost if cost < UNREACHED else None

    def hops(self, prototype: int) -> int | None:
        """The number of options on the cheapest path; `None` where no path leads to a goal."""
        if prototype in self.goals:
            return 0
        return None if self.cost(prototype) is None else int(self.labels.hops[prototype])

    def policy_value(self, prototype: int) -> float:
        """V: the probability of reaching a goal from `prototype` under the best policy."""
        if prototype in self.goals:
            return 1.0
        return float(self.policy[prototype]) if prototype < self.graph.size else 0.0


def toward(
    graph: Graph,
    goals: Sequence[int],
    *,
    local: LocalOption | None = None,
    policy: Callable[[], Floats] | None = None,
) -> Distances:
    """Distances and policy values to `goals`, prototype numbers in any order (DESIGN §6.1, §6.4, §6.6).

    `local`: the local goal option of these goals, solved for all of them. It adds edges into the merged goal, and
    nothing to the policy values, which know of its primitives already. `policy` gives what `policy_toward` does, for a
    caller that has it worked out meanwhile.
    """
    merged = merge(graph, _known(graph, goals), local)
    labels = settle(merged, merged.prices)
    best = policy_toward(graph, goals) if policy is None else policy()
    for values in (best, *labels):
        values.setflags(write=False)
    return Distances(graph=graph, goals=frozenset(goals), merged=merged, labels=labels, policy=best)


def policy_toward(graph: Graph, goals: Sequence[int]) -> Floats:
    """V of shape (size,): the part of `toward` that needs nothing of the rest, and takes longest in large graphs."""
    return policy_values(graph.policy, _known(graph, goals), graph.size, graph.parameters.policy_sweeps_max)


def _known(graph: Graph, goals: Sequence[int]) -> list[int]:
    return sorted({goal for goal in goals if goal < graph.size})
