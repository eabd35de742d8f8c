"""Codes of vectors against the vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from somabrain.memory.codes import CODE_MAX, codes_of, query_code, relevance_bounds
from tests.kernels import running

SLACK = 1e-6
"""A unit vector of float32 is as long as one only to some 1e-7."""


def units(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


parts = st.floats(-1, 1, width=32).filter(lambda part: part == 0 or abs(part) > 1e-30)
matrices = st.integers(1, 40).flatmap(
    lambda width: st.tuples(
        arrays(np.float64, st.tuples(st.integers(1, 12), st.just(width)), elements=parts).map(units),
        arrays(np.float64, (1, width), elements=parts).map(units),
    )
)


def bounds(
    vectors: NDArray[np.float32], query: NDArray[np.float32], words: NDArray[np.float64], weight: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.empty(len(vectors)), np.empty(len(vectors))
    rows = np.arange(len(vectors))
    relevance_bounds.function(*codes_of(vectors), rows, *query_code(query), words, weight, 0.0, low, high)
    compiled_low, compiled_high = np.empty(len(vectors)), np.empty(len(vectors))
    with running([relevance_bounds], compiled=True):
        relevance_bounds(*codes_of(vectors), rows, *query_code(query), words, weight, 0.0, compiled_low, compiled_high)
    assert low.tolist() == compiled_low.tolist()
    assert high.tolist() == compiled_high.tolist()
    return low, high


@settings(deadline=None)
@given(matrices, st.floats(0, 1), st.floats(0, 1))
def test_the_relevance_lies_between_its_bounds(
    given_: tuple[NDArray[np.float32], NDArray[np.float32]], weight: float, share: float
) -> None:
    vectors, query = given_
    words = np.full(len(vectors), share)
    low, high = bounds(vectors, query[0], words, weight)
    exact = (1 - weight) * (vectors.astype(np.float64) @ query[0].astype(np.float64)) + weight * words
    assert ((low <= exact + SLACK) & (exact <= high + SLACK)).all()


@pytest.mark.parametrize("width", [3, 256, 4096])
def test_bounds_are_near_to_each_other_and_products_do_not_overflow(width: int) -> None:
    rng = np.random.default_rng(width)
    vectors = units(np.vstack([rng.normal(size=(50, width)), np.ones((1, width)), -np.ones((1, width))]))
    for query in (vectors[0], vectors[-1]):
        low, high = bounds(vectors, query, np.zeros(len(vectors)), 0.0)
        exact = vectors.astype(np.float64) @ query.astype(np.float64)
        assert ((low <= exact + SLACK) & (exact <= high + SLACK)).all()
        assert (high - low).max() < 2 * np.sqrt(width) / CODE_MAX


def test_rows_are_taken_in_their_order() -> None:
    vectors = units(np.eye(3))
    low, high = np.empty(2), np.empty(2)
    relevance_bounds(
        *codes_of(vectors), np.array([2, 0]), *query_code(vectors[0]), np.array([0.0, 0.5]), 0.25, 0.0, low, high
    )
    assert low.tolist() == high.tolist() == [0.0, 0.875]
