"""How well memories answer a query: cosine, words, and bounded boosts (ADR 0008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from somabrain.memory.model import Weights
from somabrain.oak.kernels import PLACES, REALS, kernel
from somabrain.oak.learning.states import SIMILARITY_DECIMALS

CHUNK_ROWS = 4096
"""Rows that are widened to float64 at once."""


def importance_boosts(importance: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """What importances in 0..1 add to relevance, shape (n,): `weights.importance` · (2 i − 1)."""
    return np.asarray(weights.importance * (2 * importance - 1))


@kernel(f"void(float64[::1], float64[::1], {REALS}, {PLACES}, float64, float64[::1])")
def raise_bounds(  # noqa: PLR0917 - called by position
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    importance: NDArray[np.float64],
    rows: NDArray[np.int64],
    weight: float,
    best: NDArray[np.float64],
) -> None:
    """Adds to bounds of relevance, shape (rows,), what the importances of these rows do.

    Writes the highest of the lower ones to `best`, ascending; it comes with what they have to be above.
    """
    for at in range(len(rows)):
        boost = weight * (2 * importance[rows[at]] - 1)
        low[at] += boost
        high[at] += boost
        if low[at] > best[0]:
            place = 0
            while place + 1 < len(best) and best[place + 1] < low[at]:
                best[place] = best[place + 1]
                place += 1
            best[place] = low[at]


def recency_boosts(created_at_ms: NDArray[np.int64], now_ms: int, weights: Weights) -> NDArray[np.float64]:
    """What ages take off relevance, shape (n,), within −`weights.recency` … 0.

    `weights.recency` · (2^(−age / half-life) − 1): a memory that was stored just now has 0.
    """
    age_ms = np.maximum(0, now_ms - created_at_ms)
    return np.asarray(weights.recency * (np.exp2(-age_ms / weights.half_life_ms) - 1))


def boosts(
    importance: NDArray[np.float64], created_at_ms: NDArray[np.int64], now_ms: int, weights: Weights
) -> NDArray[np.float64]:
    """What is added to relevance, shape (n,): a memory of the middle importance that was stored just now has 0."""
    return importance_boosts(importance, weights) + recency_boosts(created_at_ms, now_ms, weights)


def exact_cosines(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines of unit vectors, shapes (n, d) and (d,), rounded to 1e-6.

    Products of float32 are exact in float64, so summation order shows some 1e-16 at the most, far below the rounding.
    """
    wide = query.astype(np.float64)
    parts = [
        np.einsum("ij,j->i", vectors[first : first + CHUNK_ROWS].astype(np.float64), wide)
        for first in range(0, len(vectors), CHUNK_ROWS)
    ]
    return rounded_scores(np.clip(np.concatenate(parts) if parts else np.empty(0), -1, 1))


def rounded_scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to 1e-6, without a negative zero."""
    return np.asarray(np.round(scores, SIMILARITY_DECIMALS) + 0.0)
