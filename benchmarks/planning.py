"""The planner in process, beside igraph's and scipy's shortest path on the same graph."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count

import igraph
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.figures import Figure, figure, percentile, timed
from benchmarks.workload import Workload, random_workload, table_of
from somabrain.oak.model import PlanParameters
from somabrain.oak.planner import compile_graph, plan, toward

PARAMETERS = PlanParameters(
    min_probability=0.05, time_price=0.001, confidence_z=1.0, replan_gap=0.05, policy_sweeps_max=10_000
)
ROUNDS = 60
COLD_BAR_MS = 6.0
WARM_BAR_MS = 2.0


def measure() -> list[Figure]:
    """Cold: a new model version, so rows are compiled. Warm: the goal set's distances and policy values are known."""
    workload = random_workload(1)
    table = table_of(workload)
    rng = random.Random(2)
    queries = [tuple(rng.sample(range(workload.states), 2)) for _ in range(ROUNDS + 10)]
    numbers = count()

    def cold() -> None:
        start, goal = queries[next(numbers) % len(queries)]
        plan(
            toward(compile_graph(table, PARAMETERS), [goal]),
            start=start,
            at_target=False,
            max_options=20,
            alternatives=0,
        )

    known = toward(compile_graph(table, PARAMETERS), [queries[0][1]])

    def warm() -> None:
        start, _ = queries[next(numbers) % len(queries)]
        plan(known, start=start, at_target=False, max_options=20, alternatives=0)

    cold_ms, warm_ms = timed(cold, ROUNDS), timed(warm, ROUNDS)
    igraph_ms, scipy_ms = _peers(workload, queries)
    size = f"{len(workload.options)} options, {len(table.outcome)} edges"
    prepared = figure(
        f"plan, cold, {size}", cold_ms, bar=f"≤ {COLD_BAR_MS} ms", met=percentile(cold_ms, 0.5) <= COLD_BAR_MS
    )
    ready = figure(
        f"plan, warm, {size}", warm_ms, bar=f"≤ {WARM_BAR_MS} ms", met=percentile(warm_ms, 0.5) <= WARM_BAR_MS
    )
    return [
        _beside(prepared, igraph_ms, "igraph, one path, graph ready"),
        _beside(ready, igraph_ms, "igraph, one path, graph ready"),
        _beside(ready, scipy_ms, "scipy, all distances, graph ready"),
    ]


def _peers(workload: Workload, queries: list[tuple[int, ...]]) -> tuple[list[float], list[float]]:
    best: dict[tuple[int, int], float] = {}
    for row in workload.rows:
        for y, reach in zip(row.outcomes, row.reach, strict=True):
            weight = float(-np.log(reach))
            best[row.start, y] = min(weight, best.get((row.start, y), weight))
    edges, weights = list(best), list(best.values())
    graph = igraph.Graph(n=workload.states, edges=edges, directed=True)
    starts, ends = zip(*edges, strict=True)
    matrix = csr_array((weights, (ends, starts)), shape=(workload.states, workload.states))
    numbers = count()

    def by_igraph() -> None:
        start, goal = queries[next(numbers) % len(queries)]
        graph.get_shortest_path(start, goal, weights=weights)

    def by_scipy() -> None:
        dijkstra(matrix, indices=queries[next(numbers) % len(queries)][1])

    return timed(by_igraph, ROUNDS), timed(by_scipy, ROUNDS)


def _beside(one: Figure, peer_ms: list[float], name: str) -> Figure:
    peer = percentile(peer_ms, 0.5)
    return replace(one, peer=f"{name}: {peer:.3f} ms", ratio=one.median / peer)
