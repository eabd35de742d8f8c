"""Sign random projection: bits whose Hamming distance tells the angle between vectors.

M. S. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002, §3: two vectors at the angle θ
lie on different sides of a random hyperplane with probability θ/π.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SEED = b"somabrain sign random projection 1"
"""Names the hyperplanes: with another seed the bits that are stored mean nothing."""

WORD_BYTES = 4
WORDS = 2**32


def hyperplanes(bits: int, dimension: int) -> NDArray[np.float32]:
    """Shape (bits, dimension): independent standard normals, the same on every machine and with every numpy.

    They are SHAKE-256 (FIPS 202) of `SEED` as little-endian 32-bit words u, v, by the transform of Box and Muller
    (Ann. Math. Statist. 29, 1958): sqrt(-2 ln u) cos(2πv), with u in (0, 1] and v in [0, 1).
    """
    stream = hashlib.shake_256(SEED).digest(2 * WORD_BYTES * bits * dimension)
    words = np.frombuffer(stream, dtype="<u4").astype(np.float64).reshape(2, bits, dimension)
    radius = np.sqrt(2 * np.log(WORDS / (words[0] + 1)))
    planes: NDArray[np.float32] = (radius * np.cos(2 * np.pi * words[1] / WORDS)).astype(np.float32)
    return planes


def signs(planes: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> list[bytes]:
    """A bit for each hyperplane, set where the vector is on its positive side; packed, the first bit highest."""
    return [row.tobytes() for row in np.packbits(np.stack(vectors) @ planes.T > 0, axis=1)]
