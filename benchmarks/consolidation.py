"""Options worked out from a primitive model: `python -m benchmarks.consolidation [--check]`.

Rooms of a grid of 10,000 states, four moves of which each slips to the three others with 1/3 in total. `--check`:
status 1 where a bar is missed.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.figures import MS_PER_S, Figure, figure, percentile, show, timed
from somabrain.oak.consolidation import Published, betweenness, consolidate, targets, to_bytes
from somabrain.oak.kernels import accelerate
from somabrain.oak.model import OptionModel, PrimitiveTable
from somabrain.oak.subtasks import Dynamics, dynamics

ROOM, ROOMS, DOOR = 9, 11, 4
"""Cells across a room, rooms across the grid, and where in a room's wall its door is."""

MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))
TRIES, SLIPS = 18, 3
"""Of each move: how often it went as meant, and each of the three other ways."""

TIME_PRICE, LOSS_PRICE, GAMMA = 0.001, 0.01, 0.99
STATES_MAX = 10_000
OPTIONS, STORED = 500, 2000
ROUNDS = 5
EPISODE_STEPS = 200
MIB = 2**20
KIB_PER_MIB = 1024

NEAR, FAR = 12, 24
COLD_BAR_MS = {NEAR: 1000.0, FAR: 4000.0}
WARM_BAR_MS = 200.0
MEMORY_BAR_MIB = 100.0
STORED_BAR_MIB = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The grid: its free cells by number, and how often each (state, move) led where."""

    cells: int
    counts: dict[tuple[int, int], Counter[int]]

    def table(self) -> PrimitiveTable:
        """Everything that was tried, each step at a reward of -1."""
        pairs = sorted(self.counts)
        rows = [sorted(self.counts[pair].items()) for pair in pairs]
        tries = np.array([sum(seen for _, seen in row) for row in rows], dtype=np.int64)
        return PrimitiveTable(
            action_ids=tuple(f"act:{number}" for number in range(len(MOVES))),
            states=self.cells,
            start=np.array([start for start, _ in pairs], dtype=np.int32),
            action=np.array([action for _, action in pairs], dtype=np.int32),
            count=tries,
            reward=-tries.astype(np.float64),
            loss=tries.astype(np.float64),
            fresh=np.zeros(len(pairs), dtype=np.bool_),
            offset=np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
            outcome=np.array([outcome for row in rows for outcome, _ in row], dtype=np.int32),
            outcome_count=np.array([seen for row in rows for _, seen in row], dtype=np.int64),
            terminal=np.zeros(self.cells, dtype=np.bool_),
        )

    def with_episode(self, seed: int) -> tuple[World, np.ndarray]:
        """The world after one more random walk, and the states whose counts it changed."""
        random = Random(seed)
        counts = dict(self.counts)
        state = random.randrange(self.cells)
        changed = set()
        for _ in range(EPISODE_STEPS):
            move = random.randrange(len(MOVES))
            ways = self.counts[state, move]
            outcome = random.choices(list(ways), list(ways.values()))[0]
            counts[state, move] = counts[state, move] + Counter([outcome])
            changed.add(state)
            state = outcome
        return World(cells=self.cells, counts=counts), np.array(sorted(changed), dtype=np.int32)


def rooms() -> World:
    """A square of square rooms, a door in the middle of each wall between two."""
    across = ROOMS * (ROOM + 1) - 1
    number: dict[tuple[int, int], int] = {}
    for y in range(across):
        for x in range(across):
            wall_x, wall_y = x % (ROOM + 1) == ROOM, y % (ROOM + 1) == ROOM
            door = (wall_x and not wall_y and y % (ROOM + 1) == DOOR) or (
                wall_y and not wall_x and x % (ROOM + 1) == DOOR
            )
            if not (wall_x or wall_y) or door:
                number[x, y] = len(number)
    counts: dict[tuple[int, int], Counter[int]] = {}
    for (x, y), state in number.items():
        ways = [number.get((x + dx, y + dy), state) for dx, dy in MOVES]
        for move in range(len(MOVES)):
            counts[state, move] = Counter()
            for way, outcome in enumerate(ways):
                counts[state, move][outcome] += TRIES if way == move else SLIPS
    return World(cells=len(number), counts=counts)


def build(
    dyn: Dynamics, chosen: list[int], radius: int, published: Published | None = None, changed: np.ndarray | None = None
) -> dict[int, OptionModel]:
    """All options of a build."""
    none = np.zeros(0, dtype=np.int32)
    work = consolidate(
        dyn,
        chosen,
        published,
        none if changed is None else changed,
        radius=radius,
        states_max=STATES_MAX,
        gamma=GAMMA,
        option_id_of=lambda target: f"opt:{target:032x}",
    )
    return {one.target: one.model for one in work}


def process(table: PrimitiveTable) -> Dynamics:
    """The decision process of the table."""
    return dynamics(table, time_price=TIME_PRICE, loss_price=LOSS_PRICE)


def measure() -> list[Figure]:
    """Cold and warm builds, the memory that they take, and the bytes of what they save."""
    began = time.perf_counter()
    accelerate()
    compiled = (time.perf_counter() - began) * MS_PER_S
    world = rooms()
    table = world.table()
    dyn = process(table)
    marks = np.zeros(dyn.states, dtype=np.uint8)
    chosen = targets(dyn, marks, published=(), limit=OPTIONS)
    size = f"{dyn.states} states, {len(chosen)} options"
    figures = [figure("kernels ready, compiled or from numba's cache", [compiled])]
    for radius in (NEAR, FAR):
        cold = timed(lambda radius=radius: build(dyn, chosen, radius), ROUNDS, warmup=1)  # type: ignore[misc]
        rows = sum(model.start.size for model in build(dyn, chosen, radius).values())
        bar = COLD_BAR_MS[radius]
        name = f"cold, radius {radius}, {size}, {rows} rows"
        figures.append(figure(name, cold, bar=f"≤ {bar:.0f} ms", met=percentile(cold, 0.5) <= bar))
    figures += [
        figure(f"decision process of the table, {dyn.outcome.size} outcomes", timed(lambda: process(table), ROUNDS)),
        figure("betweenness, 64 sources", timed(lambda: betweenness(dyn), ROUNDS)),
        *_warm(world, chosen),
        *_sizes(table, marks),
    ]
    return figures


def _warm(world: World, chosen: list[int]) -> list[Figure]:
    before = process(world.table())
    published = Published(models=build(before, chosen, NEAR), terminal=before.terminal)
    marks = np.zeros(before.states, dtype=np.uint8)
    took, solved = [], []
    for seed in range(ROUNDS + 1):
        after, changed = world.with_episode(seed)
        table = after.table()
        began = time.perf_counter()
        dyn = process(table)
        again = targets(dyn, marks, published=chosen, limit=OPTIONS)
        models = build(dyn, again, NEAR, published, changed)
        took.append((time.perf_counter() - began) * MS_PER_S)
        solved.append(float(sum(models[one] is not published.models.get(one) for one in again)))
    bar, met = f"≤ {WARM_BAR_MS:.0f} ms", percentile(took[1:], 0.5) <= WARM_BAR_MS
    return [
        figure(f"warm, one more episode, radius {NEAR}: from the table on", took[1:], bar=bar, met=met),
        figure("options that it solved again", solved[1:], unit="options"),
    ]


def _sizes(table: PrimitiveTable, marks: np.ndarray) -> list[Figure]:
    def work() -> None:
        dyn = process(table)
        chosen = targets(dyn, marks, published=(), limit=OPTIONS)
        kept = [build(dyn, chosen, radius) for radius in (NEAR, FAR)]
        kept.clear()

    dyn = process(table)
    models = build(dyn, targets(dyn, marks, published=(), limit=STORED), NEAR)
    stored = [to_bytes(model) for model in models.values()]
    mib = sum(map(len, stored)) / MIB
    rows = sum(model.start.size for model in models.values())
    peak = max(_allocated(work), _resident(work))
    return [
        figure(
            "memory beside the table, both builds held",
            [peak],
            unit="MiB",
            bar=f"≤ {MEMORY_BAR_MIB:.0f} MiB",
            met=peak <= MEMORY_BAR_MIB,
        ),
        figure(
            f"{len(stored)} options stored, radius {NEAR}, {rows} rows",
            [mib],
            unit="MiB",
            bar=f"≤ {STORED_BAR_MIB:.0f} MiB",
            met=mib <= STORED_BAR_MIB,
        ),
    ]


def _allocated(work: Callable[[], None]) -> float:
    """MiB that Python and numpy allocate at most; what kernels take is not seen."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / MIB
    tracemalloc.stop()
    return peak


def _resident(work: Callable[[], None]) -> float:
    """MiB by which the process grows at most, on Linux; what it had freed before is not seen."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        return 0.0
    reset.write_text("5")  # the peak starts again: proc(5)
    before = status.read_text()
    work()
    after = status.read_text()
    return (_kib("VmHWM", after) - _kib("VmRSS", before)) / KIB_PER_MIB


def _kib(name: str, status: str) -> int:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def main(arguments: list[str]) -> int:
    """Measures and shows."""
    figures = measure()
    show(figures)
    return 1 if "--check" in arguments and any(one.met is False for one in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
