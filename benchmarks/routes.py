"""`python -m benchmarks routes`: one route in random graphs, beside the shortest paths of libraries.

Directed graphs of out-degree 8 with 500 to 1,000,000 edges, random pairs, all in one run. The bars are about the rows
"route": the cheapest way from a start to a goal set, as a plan's alternatives are searched for. It is a search backward
from the goals, merged before, that stops at the start, and the walk; the libraries' graphs are ready as well, igraph is
given its weights as the list that it wants, and networkx is measured where it happens to be installed. "goals merged
and route" adds what a goal set costs that was never asked for. "plan, goal set new" is a whole answer of that kind,
whose labels and policy values are of all prototypes, and which later requests for the goal set share; no library
computes those, and it has no bar here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import cycle

import igraph
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.figures import Figure, figure, percentile, timed
from benchmarks.planning import PARAMETERS
from somabrain.oak.kernels import accelerate
from somabrain.oak.model import FAIL, RowTable
from somabrain.oak.planner import Graph, compile_graph, plan, toward
from somabrain.oak.planner.merging import merge
from somabrain.oak.planner.search import shortest

DEGREE = 8
EDGES = (500, 10_000, 100_000, 1_000_000)
PAIRS = {500: 1000, 10_000: 500, 100_000: 200, 1_000_000: 40}
"""How many are asked for at each size."""
WHOLE = {500: 200, 10_000: 60, 100_000: 15, 1_000_000: 3}
"""How many whole plans, which take longer."""
RATIO_BAR = 0.5
LARGEST_BAR_MS = 60.0

Pair = tuple[int, int]


def random_table(seed: int, edges: int) -> RowTable:
    """A row from every state for each of eight options, which leads to a random state or fails."""
    states = edges // DEGREE
    rows = states * DEGREE
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.3, 1.0, rows)
    start = np.tile(np.arange(states, dtype=np.int32), DEGREE)
    end = (start + rng.integers(1, states, rows, dtype=np.int32)) % states
    return RowTable(
        option_ids=tuple(f"option-{number}" for number in range(DEGREE)),
        option=np.repeat(np.arange(DEGREE, dtype=np.int32), states),
        start=start,
        evidence=np.full(rows, 10.0),
        prediction_share=np.zeros(rows),
        primitive=np.zeros(rows, dtype=np.bool_),
        executions=np.full(rows, 10, dtype=np.int64),
        duration=np.ones(rows),
        reward=np.zeros(rows),
        utility=chance,
        offset=2 * np.arange(rows + 1, dtype=np.int64),
        outcome=np.stack([np.full(rows, FAIL, dtype=np.int32), end], axis=1).ravel(),
        probability=np.stack([1 - chance, chance], axis=1).ravel(),
        reach=np.stack([np.zeros(rows), chance * math.exp(-PARAMETERS.time_price)], axis=1).ravel(),
    )


def measure() -> list[Figure]:
    """The rows of each size, and how they grow."""
    accelerate()
    figures = [one for edges in EDGES for one in of_size(edges)]
    return figures + growth(figures)


def of_size(edges: int) -> list[Figure]:
    """The rows of one size; every route costs what scipy's distance says, or the run ends with an error."""
    graph = compile_graph(random_table(1, edges), PARAMETERS)
    rng = random.Random(2)
    pairs = [(one, other) for one, other in (rng.sample(range(graph.size), 2) for _ in range(PAIRS[edges]))]
    peers = _peers(graph)
    _check(graph, pairs[:20])
    merged = {goal: merge(graph, [goal]) for _, goal in pairs}

    def route(pair: Pair) -> None:
        one = merged[pair[1]]
        shortest(one, one.prices, pair[0])

    def merge_and_route(pair: Pair) -> None:
        one = merge(graph, [pair[1]])
        shortest(one, one.prices, pair[0])

    def whole(pair: Pair) -> None:
        plan(toward(graph, [pair[1]]), start=pair[0], at_target=False, max_options=20, alternatives=0)

    ours = {"route": _each(route, pairs), "goals merged and route": _each(merge_and_route, pairs)}
    ours["plan, goal set new"] = _each(whole, pairs[: WHOLE[edges]])
    theirs = {name: _each(work, pairs) for name, work in peers.items()}
    beside = percentile(theirs["igraph"], 0.5)
    figures = []
    for name, values in ours.items():
        one = figure(f"{name}, {edges:,} edges", values)
        ratio = one.median / beside
        bar, met = "", None
        if name == "route":
            largest = edges == max(EDGES)
            bar = f"≤ {RATIO_BAR} × igraph" + (f", ≤ {LARGEST_BAR_MS:.0f} ms" if largest else "")
            met = ratio <= RATIO_BAR and (not largest or one.median <= LARGEST_BAR_MS)
        told = "; ".join(f"{peer} {percentile(spent, 0.5):.3f} ms" for peer, spent in theirs.items())
        peer = told if name == "route" else "igraph"
        figures.append(replace(one, bar=bar, met=met, peer=peer, ratio=ratio, series=name, size=edges))
    return figures + [
        replace(figure(f"{name}, {edges:,} edges", values), series=name, size=edges) for name, values in theirs.items()
    ]


def growth(figures: list[Figure]) -> list[Figure]:
    """The exponent of cost against E, fitted over the sizes, beside that of E log E."""
    linear_log = _exponent([edges * math.log(edges) for edges in EDGES])
    found = []
    for name in ("route", "goals merged and route", "plan, goal set new"):
        medians = [one.median for one in figures if one.name.startswith(f"{name}, ")]
        fitted = _exponent(medians)
        bar = f"≤ {linear_log:.3f}, of E log E" if name == "route" else ""
        found.append(
            Figure(
                name=f"{name}: exponent of E",
                unit="",
                median=fitted,
                p95=fitted,
                p99=fitted,
                bar=bar,
                met=fitted <= linear_log if bar else None,
            )
        )
    return found


def _peers(graph: Graph) -> dict[str, Callable[[Pair], object]]:
    """The same edges, none cut, in the form that each library is fast with."""
    source, target, weight = graph.source.tolist(), graph.edge_target.tolist(), graph.weight.tolist()
    known = igraph.Graph(n=graph.size, edges=list(zip(source, target, strict=True)), directed=True)
    matrix = _matrix(graph)
    found: dict[str, Callable[[Pair], object]] = {
        "igraph": lambda pair: known.get_shortest_path(pair[0], pair[1], weights=weight),
        "scipy": lambda pair: dijkstra(matrix, indices=pair[1]),
    }
    if find_spec("networkx") is not None:
        import networkx as nx  # noqa: PLC0415 - no dependency

        linked = nx.DiGraph()
        for x, y, w in zip(source, target, weight, strict=True):
            before = linked.get_edge_data(x, y)
            linked.add_edge(x, y, weight=w if before is None else min(w, before["weight"]))
        found["networkx, bidirectional"] = lambda pair: nx.bidirectional_dijkstra(linked, pair[0], pair[1])
    return found


def _matrix(graph: Graph) -> csr_array:
    """Costs from target to source, the cheapest of parallel edges."""
    order = np.lexsort((graph.weight, graph.source, graph.edge_target))
    source, target = graph.source[order], graph.edge_target[order]
    first = np.append(True, (source[1:] != source[:-1]) | (target[1:] != target[:-1]))
    cells = (graph.weight[order][first].astype(np.float64), (target[first], source[first]))
    return csr_array(cells, shape=(graph.size, graph.size))


def _check(graph: Graph, pairs: list[Pair]) -> None:
    matrix = _matrix(graph)
    for start, goal in pairs:
        one = merge(graph, [goal])
        path = shortest(one, one.prices, start)
        if sum(one.weight(edge) for edge in path) != dijkstra(matrix, indices=goal)[start]:
            message = f"the route from {start} to {goal} is not the cheapest"
            raise AssertionError(message)


def _each(work: Callable[[Pair], object], pairs: list[Pair]) -> list[float]:
    """Milliseconds of `work` for each pair."""
    following = cycle(pairs)
    return timed(lambda: work(next(following)), len(pairs))


def _exponent(values: list[float]) -> float:
    return float(np.polyfit(np.log(EDGES), np.log(values), 1)[0])
