"""`python -m benchmarks.milvus_indexes`: recall and time of each index of each vector engine.

Recall@10 is the share of the ten nearest by exact cosine that a filtered search returns. The vectors are uniform on the
sphere, where nothing helps an index, and clustered as embeddings of texts are. Parameters are the settings' defaults.
`--check`: status 1 where BIN_IVF_FLAT on a server has a recall under 0.95 on either.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from benchmarks.figures import percentile
from common.config.settings import Settings
from somabrain.milvus_client import MilvusEngine, MilvusParameters
from somabrain.oak.model import Vector
from somabrain.ports import Projected, Shelf
from somabrain.tenancy import Namespace, TenantId
from tests.milvus import milvus_server

LITE = ("FLAT", "IVF_FLAT", "AUTOINDEX", "BIN_FLAT")
SERVER = ("FLAT", "IVF_FLAT", "HNSW", "AUTOINDEX", "BIN_FLAT", "BIN_IVF_FLAT")
DIMENSION, CLUSTERS, SPREAD = 256, 200, 0.8
QUERIES, NEAREST, BATCH = 100, 10, 500
SINGLE_UPSERTS = 50
RECALL_BAR = 0.95
INDEX_TIMEOUT_S = 300.0
SETTLE_S = 5.0
TENANT, HOME = TenantId("bench"), Namespace("default")
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table; times in ms."""

    place: str
    kind: str
    data: str
    recall: float
    search_ms: list[float]
    upsert_ms: list[float]
    rows_s: float

    def __str__(self) -> str:
        """Under `HEADER`."""
        search, upsert = ([percentile(ms, share) for share in (0.5, 0.95)] for ms in (self.search_ms, self.upsert_ms))
        return (
            f"{self.place:7}{self.kind:14}{self.data:11}{self.recall:9.3f}{search[0]:9.1f}{search[1]:7.1f}"
            f"{upsert[0]:9.1f}{upsert[1]:7.1f}{self.rows_s:9.0f}"
        )


HEADER = "engine index         vectors   recall@10  search p50/p95   upsert p50/p95  rows/s"


def directions(array: NDArray[np.float64]) -> Matrix:
    """Each row at length 1."""
    rows: Matrix = (array / np.linalg.norm(array, axis=1, keepdims=True)).astype("<f4")
    return rows


def uniform(rows: int) -> tuple[Matrix, Matrix]:
    """Rows and queries in all directions alike."""
    chance = np.random.default_rng(1)
    return directions(chance.normal(size=(rows, DIMENSION))), directions(chance.normal(size=(QUERIES, DIMENSION)))


def clustered(rows: int) -> tuple[Matrix, Matrix]:
    """Rows and queries around common centres; a cosine of about .6 within a cluster."""
    chance = np.random.default_rng(2)
    centres = directions(chance.normal(size=(CLUSTERS, DIMENSION)))

    def draw(number: int) -> Matrix:
        noise = directions(chance.normal(size=(number, DIMENSION)))
        return directions((centres[chance.integers(CLUSTERS, size=number)] + SPREAD * noise).astype(np.float64))

    return draw(rows), draw(QUERIES)


DATA: Mapping[str, Callable[[int], tuple[Matrix, Matrix]]] = {"clustered": clustered, "uniform": uniform}


def record(number: int, row: Matrix) -> Projected:
    """A small document."""
    return Projected(
        namespace=HOME,
        id=str(number),
        vector=Vector(data=row.tobytes()),
        document='{"text": "' + "word " * 40 + '"}',
        sequence=number,
        checksum="0" * 64,
    )


def parameters(uri: str, kind: str, changes: Mapping[str, int]) -> MilvusParameters:
    """The settings' defaults."""
    defaults: dict[str, Any] = {
        field.name: Settings.model_fields[f"milvus_{field.name}"].get_default()
        for field in fields(MilvusParameters)
        if f"milvus_{field.name}" in Settings.model_fields
    }
    own = {"uri": uri, "prefix": f"bench_{kind}", "dimension": DIMENSION, "index_type": kind, "timeout_s": 60.0}
    return MilvusParameters(**{**defaults, **own, **changes})


@contextmanager
def opened(values: MilvusParameters) -> Iterator[MilvusEngine]:
    """An open engine."""
    engine = MilvusEngine(values, monotonic_s=time.monotonic, sleep=time.sleep, observe=lambda *_: None)
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


def ms(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def settle(values: MilvusParameters) -> None:
    """Waits until a server has sealed and indexed what was written, and serves it so."""
    if values.lite_path is not None:
        return
    client, name = MilvusClient(values.uri), values.collection(Shelf.MEMORIES)
    client.flush(name)
    deadline = time.monotonic() + INDEX_TIMEOUT_S
    while time.monotonic() < deadline:
        segments = client.list_loaded_segments(name)
        if segments and all(segment.state_name == "Sealed" for segment in segments):
            break
        time.sleep(0.5)
    client.close()
    time.sleep(SETTLE_S)


def measure(values: MilvusParameters, place: str, data: str, rows: int) -> Line:
    """One line."""
    vectors, queries = DATA[data](rows)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :NEAREST]
    records = [record(number, row) for number, row in enumerate(vectors)]
    with opened(values) as engine:
        engine.clear(Shelf.MEMORIES)
        start = time.perf_counter()
        for first in range(0, rows, BATCH):
            engine.upsert(Shelf.MEMORIES, TENANT, records[first : first + BATCH])
        rows_s = rows / (time.perf_counter() - start)
        upsert_ms = [ms(lambda n=n: engine.upsert(Shelf.MEMORIES, TENANT, [records[n]])) for n in range(SINGLE_UPSERTS)]  # type: ignore[misc]
        settle(values)
        search_ms, hits = [], 0
        for query, nearest in zip(queries, truth, strict=True):
            start = time.perf_counter()
            found = engine.search(Shelf.MEMORIES, TENANT, HOME, Vector(data=query.tobytes()), limit=NEAREST)
            search_ms.append((time.perf_counter() - start) * 1000)
            hits += len({int(near.id) for near in found} & set(nearest.tolist()))
        engine.clear(Shelf.MEMORIES)
    recall = hits / NEAREST / QUERIES
    return Line(
        place=place,
        kind=values.index_type,
        data=data,
        recall=recall,
        search_ms=search_ms,
        upsert_ms=upsert_ms,
        rows_s=rows_s,
    )


def main() -> int:
    """Measures and shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", choices=["lite", "server"])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="nprobe=128, say")
    asked = parser.parse_args()
    changes = {name: int(number) for name, _, number in (text.partition("=") for text in asked.set)}
    lines: list[Line] = []

    def run(place: str, uri: str, kind: str) -> None:
        for data in DATA:
            lines.append(measure(parameters(uri, kind, changes), place, data, asked.rows))
            print(lines[-1], flush=True)

    print(f"{asked.rows} rows, {DIMENSION} components\n{HEADER}")
    if asked.only != "server":
        for kind in LITE:
            with tempfile.TemporaryDirectory() as folder:
                run("lite", str(Path(folder) / "bench.db"), kind)
    if asked.only != "lite":
        with milvus_server() as server:
            for kind in SERVER:
                run("server", server.uri, kind)
    checked = [line for line in lines if (line.place, line.kind) == ("server", "BIN_IVF_FLAT")]
    return int(asked.check and (not checked or any(line.recall < RECALL_BAR for line in checked)))


if __name__ == "__main__":
    sys.exit(main())
