"""`python -m benchmarks.memories`: remember and recall over HTTP at growing sizes, start-up, and what memory it takes.

    python -m benchmarks.memories [--sizes 10000 50000 100000]
    python -m benchmarks.memories --sizes 1000000 --standalone FLAT

One server with default settings (SQLite, Milvus Lite), one client. The peer is a numpy product with a matrix as large.
With `--standalone` the vectors are in a Milvus server of this run, in an index of that kind; beyond RECALL_EXACT_MAX it
proposes what is ranked. It is filled without rests and may take its time (`BULK`), since it shares the cores.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import orjson

from benchmarks.figures import MS_PER_S, Figure, figure, percentile, show, timed
from benchmarks.serving import DIMENSION, JSON, server
from tests.milvus import milvus_server

SIZES = (10_000, 50_000, 100_000)
BATCH = 1000
REMEMBERS = 300
RECALLS = 300
WORDS_KNOWN = 30_000
WORDS = (10, 60)
WORD_LETTERS = (3, 9)
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
SINGLY = 500
"""Memories of each size that are stored one by one while it is measured."""
REMEMBER_BAR_MS = 10.0
RECALL_BAR_MS = 10.0
EXACT_MAX = 100_000
"""Most memories that the bars are about, as RECALL_EXACT_MAX."""
SETTLED_S = 1800.0
BULK = {"MILVUS_REST": "0", "MILVUS_TIMEOUT_S": "60"}


class Corpus:
    """Texts of words drawn by Zipf's law, so that some words are in most of them and most are rare."""

    def __init__(self, seed: int) -> None:
        """Equal seeds give equal texts."""
        self._chance = random.Random(seed)
        self._words = ["".join(self._chance.choices(LETTERS, k=length)) for length in self._lengths()]
        self._weights = np.cumsum([1 / rank for rank in range(1, WORDS_KNOWN + 1)]).tolist()

    def _lengths(self) -> list[int]:
        return [self._chance.randint(*WORD_LETTERS) for _ in range(WORDS_KNOWN)]

    def text(self, words: int) -> str:
        """A text of so many words."""
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=words))

    def memory(self) -> dict[str, object]:
        """A memory with two filterable entries."""
        content = self.text(self._chance.randint(*WORDS))
        return {"content": content, "metadata": {"agent": self._chance.randrange(10), "kind": "note"}}


def resident_mib(process: int) -> float:
    """Resident memory of a process, MiB (proc(5))."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(sizes: tuple[int, ...], **settings: str) -> Iterator[Figure]:
    """The figures at each size, ascending."""
    corpus = Corpus(1)
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        stored = 0
        for size in sizes:
            with server(Path(folder), **settings) as (client, _, process):
                rate = _fill(client, corpus, size - SINGLY - stored)
                stored = size
                yield replace(figure(f"memories stored in batches, up to {size:,}", [rate], unit="1/s"))
                yield figure(f"until Milvus has them, {size:,}", [_settled(client)], unit="s")
            with server(Path(folder), **settings) as (client, first_answer_ms, process):
                yield figure(f"start to first answer, {size:,} memories", [first_answer_ms])
                before = resident_mib(process)
                yield figure(f"first recall after the start, {size:,}", timed(lambda: _recall(client, corpus), 1, 0))
                yield figure(f"memory of the server before, {size:,}", [before], unit="MiB")
                yield figure(f"memory of the server after, {size:,}", [resident_mib(process)], unit="MiB")
                yield figure(f"until Milvus is compared after the start, {size:,}", [_compared(client)], unit="s")
                yield from _requests(client, corpus, size)


def _fill(client: httpx.Client, corpus: Corpus, count: int) -> float:
    began = time.perf_counter()
    for first in range(0, count, BATCH):
        memories = [corpus.memory() for _ in range(min(BATCH, count - first))]
        content = orjson.dumps({"memories": memories})
        client.post("/memory/remember/batch", content=content, headers=JSON).raise_for_status()
    return count / (time.perf_counter() - began)


def _settled(client: httpx.Client) -> float:
    """Seconds until nothing is pending for Milvus."""
    began = time.perf_counter()
    while time.perf_counter() - began < SETTLED_S:
        lines = client.get("/metrics").text.splitlines()
        pending = next((line for line in lines if line.startswith('outbox_pending{sink="milvus"}')), "")
        if pending.endswith(" 0.0"):
            break
        time.sleep(0.5)
    return time.perf_counter() - began


def _compared(client: httpx.Client) -> float:
    """Seconds until Milvus is known to hold what the database holds: background work of the start."""
    began = time.perf_counter()
    while time.perf_counter() - began < SETTLED_S:
        components = client.get("/readyz").json()["components"]
        if all(component["ready"] for component in components):
            break
        time.sleep(0.1)
    return time.perf_counter() - began


def _recall(client: httpx.Client, corpus: Corpus, **more: object) -> None:
    body = {"query": {"text": corpus.text(8)}, **more}
    client.post("/memory/recall", content=orjson.dumps(body), headers=JSON).raise_for_status()


def _remember(client: httpx.Client, corpus: Corpus) -> None:
    client.post("/memory/remember", content=orjson.dumps(corpus.memory()), headers=JSON).raise_for_status()


def _product_ms(size: int) -> float:
    """The median time of a product with so many vectors."""
    matrix, query = np.ones((size, DIMENSION), dtype=np.float32), np.ones(DIMENSION, dtype=np.float32)
    return percentile(timed(lambda: matrix @ query, 50), 0.5)


def _requests(client: httpx.Client, corpus: Corpus, size: int) -> Iterator[Figure]:
    product = _product_ms(size)
    recalls = timed(lambda: _recall(client, corpus), RECALLS)
    by_text = figure(f"recall by text, {size:,}", recalls)
    if size <= EXACT_MAX:
        bar, met = f"p95 ≤ {RECALL_BAR_MS:.0f} ms", percentile(recalls, 0.95) <= RECALL_BAR_MS
        by_text = replace(by_text, bar=bar, met=met)
    yield replace(by_text, peer=f"matrix product: {product:.3f} ms", ratio=by_text.median / product)
    yield figure(
        f"recall by text and filter, {size:,}", timed(lambda: _recall(client, corpus, filter={"agent": 3}), RECALLS)
    )
    remembers = timed(lambda: _remember(client, corpus), REMEMBERS)
    yield figure(
        f"remember, durable, {size:,}",
        remembers,
        bar=f"p95 ≤ {REMEMBER_BAR_MS:.0f} ms",
        met=percentile(remembers, 0.95) <= REMEMBER_BAR_MS,
    )

    def both() -> None:
        _remember(client, corpus)
        began = time.perf_counter()
        _recall(client, corpus)
        after.append((time.perf_counter() - began) * MS_PER_S)

    after: list[float] = []
    timed(both, RECALLS // 3)
    yield figure(f"recall right after a remember, {size:,}", after)


def main() -> int:
    """Measures and shows; status 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--standalone", metavar="INDEX", help="kind of the index in a Milvus server, such as HNSW")
    given = parser.parse_args()
    figures = []
    with ExitStack() as stack:
        settings = {}
        if given.standalone is not None:
            uri = stack.enter_context(milvus_server()).uri
            settings = {"MILVUS_URI": uri, "MILVUS_INDEX_TYPE": given.standalone, **BULK}
        for one in measure(tuple(given.sizes), **settings):
            print(f"{one.name}: {one.median:.3f} {one.unit} (p95 {one.p95:.3f})", file=sys.stderr, flush=True)
            figures.append(one)
    show(figures)
    return 1 if any(one.met is False for one in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
