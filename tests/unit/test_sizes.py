"""Estimated sizes against what the interpreter says it allocates."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from somabrain.oak.learning import StateIndex, facts
from somabrain.oak.model import Prototype
from somabrain.oak.sizes import SAMPLE, size_of

WITHIN = 0.3


def index() -> StateIndex:
    made = StateIndex(8)
    made.append(
        Prototype(number=number, state=facts({"room": f"room number {number}", "floor": number % 7, "lit": True}))
        for number in range(3_000)
    )
    return made


@pytest.mark.parametrize(
    "make",
    [
        index,
        lambda: {f"key {number}": [float(number), str(number) * 9] for number in range(5_000)},
        lambda: [np.arange(number % 50, dtype=np.float64) + 1 for number in range(2_000)],
        lambda: tuple(np.zeros(100_000)[: 50_000 + number] for number in range(SAMPLE)),
    ],
    ids=["index", "dict", "arrays", "views"],
)
def test_sizes_are_what_was_allocated(make: Callable[[], object]) -> None:
    make()  # what is made once for all, such as cached facts, is nobody's
    gc.collect()
    tracemalloc.start()
    try:
        value = make()
        gc.collect()
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size_of(value) == pytest.approx(allocated, rel=WITHIN)


def test_what_is_shared_is_counted_once_and_what_is_apart_not_at_all() -> None:
    whole = np.zeros(10_000)
    parts = {"whole": whole, "first": whole[:10], "again": [whole, whole]}
    assert whole.nbytes < size_of(parts) < whole.nbytes + 2_000
    assert size_of(parts, whole) < 2_000
