"""The planner by the book: DESIGN §6.1 to §6.7 in dictionaries and loops, to check the real one against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from somabrain.oak.model import FAIL, PlanParameters, RowTable

GOAL = -2
"""The vertex that all goals are merged into."""

Edge = tuple[str, int]
"""(option id, target vertex): an edge of a known source."""

Edges = dict[int, dict[Edge, int]]
"""Costs by source and edge."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One plannable row; `outcomes` maps prototype or FAIL to (P, P~)."""

    option_id: str
    start: int
    outcomes: Mapping[int, tuple[float, float]]
    evidence: float = 10.0
    prediction_share: float = 0.0
    primitive: bool = False
    executions: int = 10
    duration: float = 1.0
    reward: float = 0.0
    utility: float = 0.0

    def again(self, which: int) -> float:
        """Q (`which` = 0) or q~ (1): what is retried."""
        return 0.0 if self.primitive else self.outcomes.get(self.start, (0.0, 0.0))[which]

    @property
    def live(self) -> bool:
        """Whether the row leaves its start."""
        return 1 - self.again(0) >= 1e-9

    @property
    def weight(self) -> float:
        """N'."""
        return self.evidence * (1 - self.again(0))

    def leaving(self) -> dict[int, float]:
        """P' of all outcomes, FAIL among them, but the start."""
        return {y: p / (1 - self.again(0)) for y, (p, _) in self.outcomes.items() if y != self.start}


def table(rows: Sequence[Row]) -> RowTable:
    """`rows` as the arrays that the planner takes, sorted as it wants them."""
    ordered = sorted(rows, key=lambda row: (row.option_id, row.start))
    ids = sorted({row.option_id for row in ordered})
    cells = [(y, *row.outcomes[y]) for row in ordered for y in sorted(row.outcomes)]
    return RowTable(
        option_ids=tuple(ids),
        option=np.array([ids.index(row.option_id) for row in ordered], dtype=np.int32),
        start=np.array([row.start for row in ordered], dtype=np.int32),
        evidence=np.array([row.evidence for row in ordered], dtype=np.float64),
        prediction_share=np.array([row.prediction_share for row in ordered], dtype=np.float64),
        primitive=np.array([row.primitive for row in ordered], dtype=np.bool_),
        executions=np.array([row.executions for row in ordered], dtype=np.int64),
        duration=np.array([row.duration for row in ordered], dtype=np.float64),
        reward=np.array([row.reward for row in ordered], dtype=np.float64),
        utility=np.array([row.utility for row in ordered], dtype=np.float64),
        offset=np.cumsum([0, *(len(row.outcomes) for row in ordered)], dtype=np.int64),
        outcome=np.array([cell[0] for cell in cells], dtype=np.int32),
        probability=np.array([cell[1] for cell in cells], dtype=np.float64),
        reach=np.array([cell[2] for cell in cells], dtype=np.float64),
    )


def doubt(rows: Sequence[Row], option_id: str, time_price: float) -> float:
    """u_o (DESIGN §6.3)."""
    above, below = 0.1, 1.0
    for row in rows:
        weight = row.weight * (1 - row.prediction_share)
        if row.option_id == option_id and not row.primitive and row.live and weight >= 2:
            agreement = sum(p * p for p in row.leaving().values())
            above += weight * max(0.0, 1 - agreement) * weight / (weight - 1)
            below += weight
    mean = above / below
    return 1.0 if mean >= 0.5 else max(time_price, mean / (1 - mean))


def micro_nats(chance: float) -> int:
    """W of −ln `chance` (DESIGN §6.3)."""
    return min(2**40, max(1, math.ceil(1e6 * -math.log(chance) - 1e-3)))


def merged(row: Row, goals: Collection[int]) -> dict[int, tuple[float, float]]:
    """The row's (P, P~) with all goals as one outcome; without FAIL and the start."""
    sums: dict[int, tuple[float, float]] = {}
    for y, (p, reach) in sorted(row.outcomes.items()):
        if y not in (FAIL, row.start):
            vertex = GOAL if y in goals else y
            before = sums.get(vertex, (0.0, 0.0))
            sums[vertex] = (before[0] + p, before[1] + reach)
    return sums


def edges(rows: Sequence[Row], goals: Collection[int], parameters: PlanParameters) -> Edges:
    """All edges with their costs (DESIGN §6.1 to §6.3)."""
    found: Edges = {}
    for row in rows:
        if row.start in goals or not row.live:
            continue
        chances = merged(row, goals)
        most = max((p for p, _ in chances.values()), default=0.0)
        held = doubt(rows, row.option_id, parameters.time_price) * (1 - row.prediction_share)
        for y, (p, reach) in chances.items():
            if min(p, reach) > 0 and (p >= parameters.min_probability or p >= most):
                chance = reach / (1 - row.again(1)) * (row.weight / (row.weight + held))
                found.setdefault(row.start, {})[row.option_id, y] = micro_nats(chance)
    return found


def distances(graph: Edges) -> dict[int, tuple[int, int]]:
    """(D, hops) of every vertex that reaches the goal, by Bellman and Ford."""
    best = {GOAL: (0, 0)}
    changed = True
    while changed:
        changed = False
        for x, leaving in graph.items():
            for (_, y), w in leaving.items():
                if y in best:
                    through = (best[y][0] + w, best[y][1] + 1)
                    if x not in best or through < best[x]:
                        best[x] = through
                        changed = True
    return best


def canonical(graph: Edges, start: int) -> list[Edge]:
    """The walk of DESIGN §6.4 from `start`, which must reach the goal."""
    best = distances(graph)
    path: list[Edge] = []
    x = start
    while x != GOAL:
        path.append(
            min(
                edge
                for edge, w in graph[x].items()
                if edge[1] in best and (best[edge[1]][0] + w, best[edge[1]][1] + 1) == best[x]
            )
        )
        x = path[-1][1]
    return path


def paths(graph: Edges, start: int, hops_max: int) -> Iterator[tuple[int, int, list[Edge]]]:
    """Every path without a cycle of at most `hops_max` edges, as (cost, hops, edges): the smallest is the plan."""

    def onward(x: int, cost: int, taken: list[Edge], seen: frozenset[int]) -> Iterator[tuple[int, int, list[Edge]]]:
        if x == GOAL:
            yield cost, len(taken), taken
        elif len(taken) < hops_max:
            for edge, w in graph.get(x, {}).items():
                if edge[1] not in seen:
                    yield from onward(edge[1], cost + w, [*taken, edge], seen | {edge[1]})

    yield from onward(start, 0, [], frozenset({start}))


def sources(start: int, path: Sequence[Edge]) -> list[int]:
    """Where each edge of a path starts."""
    return [start, *(edge[1] for edge in path[:-1])]


def best_policy(rows: Sequence[Row], goals: Collection[int]) -> dict[int, float]:
    """V for every start by solving every deterministic policy exactly (DESIGN §6.6)."""
    choices: dict[int, list[dict[int, float]]] = {}
    for row in rows:
        if row.start not in goals and row.live and (row.primitive or row.prediction_share < 1):
            outcomes = {y: p for y, (p, _) in row.outcomes.items()} if row.primitive else row.leaving()
            choices.setdefault(row.start, []).append(outcomes)
    states = sorted(choices)
    value = dict.fromkeys(states, 0.0)
    for policy in itertools.product(*(choices[x] for x in states)):
        for x, v in _follow(dict(zip(states, policy, strict=True)), goals).items():
            value[x] = max(value[x], v)
    return value


def _follow(policy: Mapping[int, Mapping[int, float]], goals: Collection[int]) -> dict[int, float]:
    """The probability of reaching a goal, by linear algebra over the states from which it is possible."""
    able: set[int] = set()
    grown = True
    while grown:
        more = {
            x for x, outcomes in policy.items() if any(p > 0 and (y in goals or y in able) for y, p in outcomes.items())
        }
        grown = more != able
        able = more
    states = sorted(able)
    if not states:
        return {}
    matrix, target = np.eye(len(states)), np.zeros(len(states))
    for i, x in enumerate(states):
        for y, p in policy[x].items():
            if y in goals:
                target[i] += p
            elif y in able:
                matrix[i, states.index(y)] -= p
    return dict(zip(states, np.linalg.solve(matrix, target).tolist(), strict=True))


@dataclass(kw_only=True)
class LearnedRow:
    """A row learned from runs by DESIGN §5.3, as far as planning needs it."""

    option_id: str
    start: int
    alpha: float
    z: float = 0.0
    runs: int = 0
    outcomes: dict[int, tuple[float, float]] = field(default_factory=lambda: {FAIL: (0.0, 0.0)})

    def run(self, outcome: int, worth: float) -> None:
        """One execution that ended in `outcome` with discount `worth` (D)."""
        self.z += self.alpha * (1 - self.z)
        w = self.alpha / self.z
        self.runs += 1
        self.outcomes.setdefault(outcome, (0.0, 0.0))
        for y, (p, reach) in self.outcomes.items():
            hit = float(y == outcome)
            self.outcomes[y] = (
                p + w * (hit - p),
                0.0 if y == FAIL else reach + w * (worth * hit - reach),
            )

    @property
    def evidence(self) -> float:
        """n_eff."""
        return (2 - self.alpha) / self.alpha * self.z / (2 - self.z)

    def row(self) -> Row:
        """As the planner sees it."""
        return Row(
            option_id=self.option_id,
            start=self.start,
            outcomes=dict(self.outcomes),
            evidence=self.evidence,
            executions=self.runs,
        )
