"""States as values: canonical facts, unit vectors, and the one similarity used everywhere (DESIGN §5.1)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import rfc8785
from numpy.typing import NDArray

from somabrain.errors import FactsCancelError, InvalidRequestError, NumberOutOfRangeError
from somabrain.oak.model import Facts, Scalar, State, Vector

ENCODER_ID = "somabrain-facts-1"
"""Names the feature hashing below; it is also the key of its hash, so another encoder hashes differently."""

SAFE_INTEGER = 2**53 - 1
"""Largest whole number that every reader of JSON keeps (RFC 8259 §6)."""

COMPONENT_MAX = 1e15
"""Greatest magnitude of a vector's component (DESIGN §5.1)."""

SIMILARITY_DECIMALS = 6
"""Cosines are rounded to 1e-6, so that no machine's summation order shows (DESIGN §5.2)."""

_HASH_BYTES = 8
_SIGN_BIT = 1 << 63


def facts(values: Mapping[str, Scalar]) -> Facts:
    """The facts with these values; equal by RFC 8785, so 1 = 1.0 and true ≠ 1 ≠ "1".

    Raises `NumberOutOfRangeError` for numbers beyond ±(2^53 - 1), where RFC 8785 and JSON readers part ways, and
    `InvalidRequestError` for text that is not Unicode.
    """
    for name, value in values.items():
        if not isinstance(value, str) and not abs(value) <= SAFE_INTEGER:
            message = f"the fact {name!r} is beyond ±(2^53 - 1)"
            raise NumberOutOfRangeError(message, loc=("features", name))
    try:
        entries = frozenset(_entry(name, value) for name, value in values.items())
        canonical = rfc8785.dumps(dict(values)).decode()
    except rfc8785.CanonicalizationError:
        message = "a fact holds a lone surrogate, which is no Unicode text"
        raise InvalidRequestError(message, loc=("features",)) from None
    return Facts(values=json.loads(canonical), canonical=canonical, entries=entries)


@lru_cache(maxsize=8192, typed=True)
def _entry(name: str, value: Scalar) -> str:
    """A fact by RFC 8785. An agent's states differ in few of theirs from one step to the next."""
    return rfc8785.dumps([name, value]).decode()


ANYWHERE = facts({})
"""The description that every state of facts meets: where a primitive action may end."""


def pairs_kernel(shared: NDArray[np.int64]) -> NDArray[np.float64]:
    """The inner product, before normalising, of two states with this many entries in common, entries and pairs counted.

    What the signed hashes of `facts_vector` have in the mean (Weinberger et al. 2009, lemma 2).
    """
    product: NDArray[np.float64] = shared + shared * (shared - 1) / 2
    return product


def facts_vector(state: Facts, dimension: int) -> NDArray[np.float32]:
    """The facts' feature vector: signed hashing of entries and pairs of entries, unit length, shape (dimension,).

    Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", eq. 1, with one keyed BLAKE2b
    (RFC 7693) for position and sign. Raises `FactsCancelError` where the signed features sum to zero.
    """
    entries = sorted(state.entries)
    features = entries + [f"[{a},{b}]" for place, a in enumerate(entries) for b in entries[place + 1 :]]
    counts = [0] * dimension
    for feature in features:
        digest = blake2b(feature.encode(), digest_size=_HASH_BYTES, key=ENCODER_ID.encode()).digest()
        bits = int.from_bytes(digest, "big")
        counts[(bits & ~_SIGN_BIT) % dimension] += -1 if bits & _SIGN_BIT else 1
    norm = math.sqrt(sum(count * count for count in counts))
    if norm == 0:
        raise FactsCancelError(loc=("features",))
    return np.array([count / norm for count in counts], dtype=np.float32)


def unit_vector(components: Sequence[float] | NDArray[np.float32], dimension: int) -> Vector:
    """The state of this direction. Raises `InvalidRequestError` (length, zero) and `NumberOutOfRangeError`."""
    if len(components) != dimension:
        message = f"a vector has {dimension} components (MEMORY_DIM), this one has {len(components)}"
        raise InvalidRequestError(message, loc=("vector",))
    values = np.asarray(components, dtype=np.float64)
    if not np.isfinite(values).all() or np.abs(values).max() > COMPONENT_MAX:
        message = f"a vector's components are finite and within ±{COMPONENT_MAX:g}"
        raise NumberOutOfRangeError(message, loc=("vector",))
    largest = float(np.abs(values).max())
    if largest == 0:
        message = "a vector must not be zero"
        raise InvalidRequestError(message, loc=("vector",))
    scaled = values / largest
    norm = math.sqrt(math.fsum((scaled * scaled).tolist()))
    return Vector(data=(scaled / norm).astype("<f4").tobytes())


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The cosine of two unit vectors, rounded to 1e-6; the same on every machine.

    Products of float32 are exact in float64 and `math.fsum` rounds once, so no order of summation shows.
    """
    total = math.fsum((a.astype(np.float64) * b.astype(np.float64)).tolist())
    return min(1.0, max(-1.0, round(total, SIMILARITY_DECIMALS)))


def similarity(state: State, target: State) -> float | None:
    """How far `state` meets `target`; `None` where one is facts and the other is not.

    Facts: the share of the target's entries that hold in the state, so a partial description is a set of states.
    An empty description holds in every state of facts. Vectors: the cosine.
    """
    if isinstance(state, Facts) and isinstance(target, Facts):
        if not target.entries:
            return 1.0
        return len(target.entries & state.entries) / len(target.entries)
    if isinstance(state, Vector) and isinstance(target, Vector):
        return cosine(state.array(), target.array())
    return None
