"""Unit vectors by one byte a component: which of them can be near a query, for a quarter of the memory to read.

Scalar quantization with a scale for each vector. With v = s·c + e for a code c, and the query q = t·d + f likewise, the
inequality of Cauchy and Schwarz gives

    |q·v − s·t·(c·d)| ≤ ‖e‖ + ‖f‖·(1 + ‖e‖)

so that the product of the codes, which is exact, says between which bounds the cosine lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import PLACES, REALS, kernel

CODE_MAX = 127
QUERY_CODE_MAX = np.iinfo(np.int16).max
_PRODUCT_MAX = np.iinfo(np.int32).max

_CODES = "Array(int8, 2, 'C', readonly=True)"
_QUERY = "Array(int16, 1, 'C', readonly=True)"


def codes_of(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Of vectors, shape (n, d): their codes, shape (n, d), the scales s and the lengths ‖e‖, shape (n,)."""
    scales = np.abs(vectors).max(axis=1, initial=0).astype(np.float64) / CODE_MAX
    safe = np.where(scales > 0, scales, 1.0)[:, None]
    codes = np.rint(vectors / safe)
    return codes.astype(np.int8), scales, np.linalg.norm(vectors - codes * safe, axis=1)


def query_code(query: NDArray[np.float32]) -> tuple[NDArray[np.int16], float, float]:
    """Of a query, shape (d,): its code, finer than that of a vector, the scale t and the length ‖f‖."""
    wide = query.astype(np.float64)
    code_max = min(QUERY_CODE_MAX, _PRODUCT_MAX // (CODE_MAX * len(query)))
    scale = float(np.abs(wide).max(initial=0)) / code_max or 1.0
    code = np.rint(wide / scale)
    return code.astype(np.int16), scale, float(np.linalg.norm(wide - code * scale))


@kernel(
    f"void({_CODES}, {REALS}, {REALS}, {PLACES}, {_QUERY}, float64, float64, {REALS}, float64, float64, "
    "float64[::1], float64[::1])"
)
def relevance_bounds(  # noqa: PLR0917 - called by position
    codes: NDArray[np.int8],
    scales: NDArray[np.float64],
    errors: NDArray[np.float64],
    rows: NDArray[np.int64],
    query: NDArray[np.int16],
    query_scale: float,
    query_error: float,
    words: NDArray[np.float64],
    weight: float,
    margin: float,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> None:
    """Writes between what the relevance (1 − weight) · cosine + weight · words of these rows lies, shape (rows,).

    `words` has the same shape; the bounds are `margin` wider than they have to be.
    """
    for at in range(len(rows)):
        row = rows[at]
        product = np.int32(0)
        for place in range(len(query)):
            product = np.int32(product + np.int32(codes[row, place]) * np.int32(query[place]))
        found = (1 - weight) * (scales[row] * query_scale * product) + weight * words[at]
        error = (1 - weight) * (errors[row] + query_error * (1 + errors[row])) + margin
        low[at] = found - error
        high[at] = found + error
