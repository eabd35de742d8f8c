"""Documents with vectors for tests, and engines on Milvus."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

import numpy as np

from somabrain.milvus_client import MilvusEngine, MilvusParameters
from somabrain.oak.model import Vector
from somabrain.ports import Projected
from somabrain.tenancy import Namespace
from tests.factories import HOME

DIMENSION = 16


def vector(seed: object, dimension: int = DIMENSION) -> Vector:
    """A unit vector in a random direction, the same for the same seed."""
    chance = random.Random(str(seed))
    array = np.array([chance.gauss(0, 1) for _ in range(dimension)])
    return Vector(data=(array / np.linalg.norm(array)).astype("<f4").tobytes())


def record(item_id: str, *, namespace: Namespace = HOME, text: str = "", **changes: Any) -> Projected:
    """A document of its own vector, unless `vector` is given."""
    document = text or f'{{"id": "{item_id}"}}'
    values: dict[str, Any] = {
        "namespace": namespace,
        "id": item_id,
        "vector": vector(item_id),
        "document": document,
        "sequence": 1,
        "checksum": hashlib.sha256(document.encode()).hexdigest(),
    }
    return Projected(**{**values, **changes})


def parameters(uri: str, **changes: Any) -> MilvusParameters:
    """Small ones."""
    values: dict[str, Any] = {
        "uri": uri,
        "token": "",
        "prefix": "test",
        "dimension": DIMENSION,
        "index_type": "FLAT",
        "binary_bits": 1024,
        "nlist": 16,
        "nprobe": 16,
        "m": 16,
        "ef_construction": 200,
        "ef": 256,
        "candidates": 200,
        "timeout_s": 10.0,
        "connect_timeout_s": 60.0,
    }
    return MilvusParameters(**{**values, **changes})


def milvus(uri: str, observed: list[tuple[str, str, float]] | None = None, **changes: Any) -> MilvusEngine:
    """An engine, not open."""
    seen: list[tuple[str, str, float]] = [] if observed is None else observed
    return MilvusEngine(
        parameters(uri, **changes),
        monotonic_s=time.monotonic,
        sleep=time.sleep,
        observe=lambda operation, result, seconds: seen.append((operation, result, seconds)),
    )
