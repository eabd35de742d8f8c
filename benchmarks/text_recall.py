"""`python -m benchmarks.text_recall [DATA]`: how often recall finds what a question is about, and what it costs.

For each embedder: dense vectors alone, BM25 alone, and the two fused. R@k is the share of questions with an answer
among the first k. Intervals: 95 %, percentile bootstrap over the groups that questions were made from (tasks, goals),
since questions of one group are not independent; differences are paired. Weights are chosen on the development
groups, every other figure is of the other groups.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.figures import MS_PER_S, Figure, figure, machine, show, timed
from benchmarks.recall_tasks import Question, Task, tasks
from somabrain.embedding.hashed import HashedEmbedder
from somabrain.embedding.wordllama import WordLlamaEmbedder
from somabrain.memory.fusion import relevance
from somabrain.memory.lexical import LexicalIndex
from somabrain.ports.vectors import Embedder

DATA = Path(__file__).parents[2] / "shared" / "data"
DIMENSION = 256
LEXICAL_WEIGHT = 0.6
"""The default of RECALL_LEXICAL_WEIGHT."""
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
RANK_CONSTANTS = (60, 10)
"""k of reciprocal-rank fusion; 60 is Cormack, Clarke and Buettcher's (2009)."""
DEPTHS = (1, 5, 10)
RESAMPLES = 2000
ROWS = 100_000
ROW_WORDS = 50
VOCABULARY = 200_000
APPENDED = 100
REMEMBER_BAR_MS = 2.0
APPEND_BAR_MS = 0.2
QUERY_BAR_MS = 5.0

Matrix = NDArray[np.float64]
"""Scores, shape (questions, memories)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One task's scores."""

    task: Task
    dense: Matrix
    lexical: Matrix


def arrays(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    """Shape (texts, DIMENSION)."""
    return np.array([vector.array() for vector in embedder.embed(texts)], dtype=np.float64)


def scored(task: Task, embedder: Embedder) -> Scored:
    """The cosines and BM25 of every question and memory."""
    index = LexicalIndex()
    index.append(task.memories)
    asked = [question.text for question in task.questions]
    return Scored(
        task=task,
        dense=arrays(embedder, asked) @ arrays(embedder, task.memories).T,
        lexical=np.array([index.scores(text) for text in asked]),
    )


def ranks(scores: Matrix, questions: Sequence[Question]) -> NDArray[np.int64]:
    """The place from 0 of each question's first answer, ties by row; what scores 0 is not found, and comes last."""
    places = np.empty(len(questions), dtype=np.int64)
    for at, question in enumerate(questions):
        order = np.argsort(-scores[at], kind="stable")
        first = np.flatnonzero(np.isin(order, list(question.answers)))[0]
        places[at] = first if scores[at, order[first]] else len(order)
    return places


def fusions() -> dict[str, Callable[[Scored], Matrix]]:
    """What is compared on the development groups."""

    def by_supremum(weight: float) -> Callable[[Scored], Matrix]:
        return lambda one: relevance(one.dense, one.lexical, weight)

    def by_maximum(weight: float) -> Callable[[Scored], Matrix]:
        return lambda one: relevance(
            one.dense, one.lexical / np.maximum(one.lexical.max(axis=1, keepdims=True), sys.float_info.min), weight
        )

    def by_rank(weight: float, constant: int) -> Callable[[Scored], Matrix]:
        def place(scores: Matrix) -> Matrix:
            return 1 + np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1).astype(np.float64)

        return lambda one: relevance(
            1 / (constant + place(one.dense)),
            np.where(one.lexical > 0, 1 / (constant + place(one.lexical)), 0),
            weight,
        )

    made: dict[str, Callable[[Scored], Matrix]] = {}
    for weight in WEIGHTS:
        made[f"convex, BM25 / supremum, weight {weight}"] = by_supremum(weight)
        made[f"convex, BM25 / maximum, weight {weight}"] = by_maximum(weight)
        made |= {f"reciprocal rank, k = {k}, weight {weight}": by_rank(weight, k) for k in RANK_CONSTANTS}
    return made


def development(everything: Mapping[str, Sequence[Scored]]) -> None:
    """The mean reciprocal rank of each kind of fusion at its best weight, the mean over tasks."""
    table = Table(title="Development groups: MRR@10, mean of the tasks", title_justify="left")
    for column in ("fusion", *everything):
        table.add_column(column, justify="left" if column == "fusion" else "right")
    for name, fuse in fusions().items():
        table.add_row(name, *(f"{_mean_reciprocal(ones, fuse):.3f}" for ones in everything.values()))
    Console(width=120).print(table)


def _mean_reciprocal(ones: Sequence[Scored], fuse: Callable[[Scored], Matrix]) -> float:
    found = []
    for one in ones:
        chosen = [question.development for question in one.task.questions]
        places = ranks(fuse(one), one.task.questions)[chosen]
        found.append(np.where(places < DEPTHS[-1], 1 / (1 + places), 0).mean())
    return float(np.mean(found))


def interval(values: NDArray[np.float64], groups: Sequence[str]) -> tuple[float, float, float]:
    """The mean and its bootstrap interval over groups."""
    names = sorted(set(groups))
    places = np.array([names.index(group) for group in groups])
    sums, sizes = np.bincount(places, values), np.bincount(places)
    drawn = np.random.default_rng(1).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def report(name: str, ones: Sequence[Scored]) -> None:
    """R@k on the reporting groups for one embedder."""
    table = Table(title=f"Reporting groups, {name}, lexical weight {LEXICAL_WEIGHT}", title_justify="left")
    for column in ("task", "questions", "how", *(f"R@{depth}" for depth in DEPTHS)):
        table.add_column(column, justify="left" if column in {"task", "how"} else "right")
    for one in ones:
        chosen = [at for at, question in enumerate(one.task.questions) if not question.development]
        groups = [one.task.questions[at].group for at in chosen]
        ways = {
            "dense": one.dense,
            "BM25": one.lexical,
            "hybrid": relevance(one.dense, one.lexical, LEXICAL_WEIGHT),
        }
        places = {way: ranks(scores, one.task.questions)[chosen] for way, scores in ways.items()}
        for way, found in places.items():
            cells = [interval((found < depth).astype(float), groups) for depth in DEPTHS]
            first = way == "dense"
            table.add_row(
                f"{one.task.name}, {len(one.task.memories)} memories" if first else "",
                f"{len(chosen)} of {len(set(groups))} groups" if first else "",
                way,
                *(f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in cells),
            )
        for way in ("dense", "BM25"):
            gains = [
                interval((places["hybrid"] < depth).astype(float) - (places[way] < depth), groups) for depth in DEPTHS
            ]
            table.add_row(
                "", "", f"hybrid − {way}", *(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" for mean, low, high in gains)
            )
        table.add_section()
    Console(width=150).print(table)


def costs(embedder: Embedder, texts: Sequence[str]) -> list[Figure]:
    """Milliseconds to embed one of these texts, and one of 64 KiB."""
    embedder.embed(texts)
    at = iter(range(10**9))
    ordinary = timed(lambda: embedder.embed([texts[next(at) % len(texts)]]), 500)
    whole = " ".join(texts)
    long = whole[: 1 << 16]
    fresh = timed(lambda: embedder.embed([whole[(start := next(at) % 7919) : start + (1 << 16)]]), 10)
    rng = random.Random(1)
    unseen = iter(["".join(rng.choices("abcdefghij     ", k=1 << 16)) for _ in range(13)])
    strange = timed(lambda: embedder.embed([next(unseen)]), 10)
    return [
        figure(
            f"{embedder.id}: a memory of {sum(map(len, texts)) // len(texts)} characters",
            ordinary,
            bar=f"p95 ≤ {REMEMBER_BAR_MS} ms",
            met=figure("", ordinary).p95 <= REMEMBER_BAR_MS,
        ),
        figure(f"{embedder.id}: {len(long)} characters of such texts", fresh),
        figure(f"{embedder.id}: {len(long)} characters of random words", strange),
    ]


def loading(kind: str, name: str) -> Figure:
    """Milliseconds, in fresh interpreters that have numpy, to import an embedder, load it, and have a first vector."""
    program = (
        "import os, time; from pathlib import Path; from somabrain.oak.learning import states\n"
        "page = os.sysconf('SC_PAGE_SIZE') / 2**20\n"
        "def resident(): return int(Path('/proc/self/statm').read_text().split()[1]) * page\n"
        "before = resident(); began = time.perf_counter()\n"
        f"from somabrain.embedding.{kind} import {name}; one = {name}({DIMENSION}); one.embed(['a first text'])\n"
        "print(time.perf_counter() - began, resident() - before)"
    )
    runs = [
        tuple(
            map(float, subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout.split())
        )
        for _ in range(5)
    ]
    return figure(
        f"{kind}: import, load and first vector; + {max(memory for _, memory in runs):.0f} MB resident",
        [seconds * MS_PER_S for seconds, _ in runs],
    )


def index_costs() -> list[Figure]:
    """The lexical index at ROWS rows of words drawn by Zipf's law."""
    rng = np.random.default_rng(1)
    shares = 1 / np.arange(1, VOCABULARY + 1)
    letters = np.array(list("etaoinrdlucm"))
    words = ["".join(letters[[(number // 12**power) % 12 for power in range(5)]]) for number in range(VOCABULARY)]
    rng.shuffle(words)

    def text(length: int) -> str:
        return " ".join(words[at] for at in np.searchsorted(bounds, rng.random(length)))

    bounds = np.cumsum(shares / shares.sum())
    bounds[-1] = 1
    texts = [text(ROW_WORDS) for _ in range(ROWS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    index = LexicalIndex()
    parts = iter([texts[at : at + APPENDED] for at in range(0, ROWS, APPENDED)])
    appended = [one / APPENDED for one in timed(lambda: index.append(next(parts)), ROWS // APPENDED, warmup=0)]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queries = iter([text(10) for _ in range(1000)])
    asked = timed(lambda: index.scores(next(queries)), 500)
    frequent = " ".join(words[:10])
    common = timed(lambda: index.scores(frequent), 100)
    for row in range(0, ROWS, 7):
        index.remove(row)
    removed = timed(lambda: index.scores(next(queries)), 400)
    keep = np.ones(ROWS, dtype=np.bool_)
    keep[::7] = False
    compacted = timed(lambda: index.compact(keep), 1, 0)
    size = f"{ROWS} rows of {ROW_WORDS} words"
    return [
        figure(
            f"BM25, append, to {size}; at most + {grown:.0f} MB resident",
            appended,
            bar=f"p95 ≤ {APPEND_BAR_MS} ms",
            met=figure("", appended).p95 <= APPEND_BAR_MS,
        ),
        *(
            figure(name, values, bar=f"p95 ≤ {QUERY_BAR_MS} ms", met=figure("", values).p95 <= QUERY_BAR_MS)
            for name, values in (
                (f"BM25, 10 words drawn as the rows', {size}", asked),
                ("BM25, the 10 most frequent words", common),
                ("BM25, 10 words, every 7th row removed", removed),
            )
        ),
        figure("BM25, compact", compacted),
    ]


def main() -> int:
    """Measures and shows; status 2 where there is no data."""
    parser = argparse.ArgumentParser(description="Recall of texts: quality and cost.")
    parser.add_argument("data", type=Path, nargs="?", default=DATA, help="the shared data folder")
    data: Path = parser.parse_args().data
    try:
        asked = list(tasks(data))
    except FileNotFoundError as fault:
        print(f"no data: {fault.filename} is absent; name the shared data folder", file=sys.stderr)
        return 2
    embedders: list[Embedder] = [HashedEmbedder(DIMENSION), WordLlamaEmbedder(DIMENSION)]
    everything = {embedder.id: [scored(task, embedder) for task in asked] for embedder in embedders}
    development(everything)
    for name, ones in everything.items():
        report(name, ones)
    texts = [text for task in asked for text in task.memories]
    Console().print(machine(), time.strftime("%Y-%m-%d"))
    show(
        [
            *index_costs(),
            *(one for embedder in embedders for one in costs(embedder, texts)),
            loading("hashed", "HashedEmbedder"),
            loading("wordllama", "WordLlamaEmbedder"),
        ]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
