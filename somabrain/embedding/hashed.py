"""Texts as hashed features: no model, no file, the same vector on every machine.

Signed feature hashing (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", eq. 1) of a text
in NFKC and case-folded. With the words of the text (runs of letters, digits and underscores), each with tf ≥ 1
occurrences, the features and their weights are

- a word w: `w:` + w, by 1;
- its character n-grams of length 3 and 4 in `<w>`, m of them: `g:` + n-gram, each by 2 / √m, as fastText cuts words
  (Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", §3.2);
- two words that follow each other: `b:` + a + space + b, by 0.3;

all times √tf, and times 0.15 where a word is a function word of English. A feature's position and sign come from
BLAKE2b with an 8-byte digest and the key `somabrain-text-1`, read big-endian: bit 63 set means −1, the other 63 bits
mod the dimension the position. The sum is normalised. A text without words, or whose features cancel, is one feature
of its own: `t:` + the text as given.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.learning.states import unit_vector
from somabrain.oak.model import Vector

HASHED_ID = "hashed-1"
"""Names the formula above."""

TEXT_CHARS_MAX = 65_536
"""Characters of a text that are looked at, so that its time is bounded; contents have at most 64 KiB (DESIGN §7)."""

WORD_CHARS_MAX = 64
"""Longer runs are cut into words of this length: encoded data, scripts without spaces."""

_KEY = b"somabrain-text-1"
_HASH_BYTES = 8
_SIGN_BIT = 1 << 63
_GRAM_SIZES = (3, 4)
_GRAM_WEIGHT = 2.0
_PAIR_WEIGHT = 0.3
_FUNCTION_WORD_WEIGHT = 0.15
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by can could did do does for from had has have he her his i if in into is it "
        "its me my not of on or our she so some than that the their them then there these they this to was we were "
        "what when where which who why will with would you your",
    )
)
_WORDS_KEPT = 65_536
"""Words whose features are kept: 30 MB at most for words of ordinary length."""

_WORD = re.compile(rf"\w{{1,{WORD_CHARS_MAX}}}")

Features = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Positions, which may repeat, and the signed weights there."""


class HashedEmbedder:
    """The port `Embedder` by feature hashing. Thread-safe."""

    def __init__(self, dimension: int) -> None:
        """`dimension` is MEMORY_DIM."""
        self._dimension = dimension
        self._word = lru_cache(maxsize=_WORDS_KEPT)(self._word_features)

    @property
    def id(self) -> str:
        """`HASHED_ID`."""
        return HASHED_ID

    def warm(self) -> None:
        """As the port; there is nothing to read."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """As the port says; bytes depend on nothing but the text and the dimension."""
        return [self._embed(text[:TEXT_CHARS_MAX]) for text in texts]

    def _embed(self, text: str) -> Vector:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        total = np.zeros(self._dimension)
        if words:
            counts = Counter(words)
            found = [self._word(word) for word in counts]
            repeats = np.repeat(np.sqrt(list(counts.values())), [len(positions) for positions, _ in found])
            positions = np.concatenate([positions for positions, _ in found])
            total += np.bincount(
                positions, np.concatenate([weights for _, weights in found]) * repeats, self._dimension
            )
        for (first, second), count in Counter(pairwise(words)).items():
            position, sign = self._place(f"b:{first} {second}")
            function = first in _FUNCTION_WORDS or second in _FUNCTION_WORDS
            total[position] += (_FUNCTION_WORD_WEIGHT if function else 1) * sign * _PAIR_WEIGHT * math.sqrt(count)
        if not total.any():
            position, sign = self._place("t:" + text)
            total[position] = sign
        return unit_vector(total.tolist(), self._dimension)

    def _word_features(self, word: str) -> Features:
        bounded = f"<{word}>"
        grams = [bounded[at : at + size] for size in _GRAM_SIZES for at in range(len(bounded) - size + 1)]
        places = [self._place("w:" + word), *(self._place("g:" + gram) for gram in grams)]
        weights = np.array([sign for _, sign in places])
        weights[1:] *= _GRAM_WEIGHT / math.sqrt(len(grams))
        if word in _FUNCTION_WORDS:
            weights *= _FUNCTION_WORD_WEIGHT
        return np.array([position for position, _ in places], dtype=np.intp), weights

    def _place(self, feature: str) -> tuple[int, float]:
        """The feature's position and sign. A lone surrogate, which no JSON brings here, has its own bytes."""
        digest = blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES, key=_KEY).digest()
        bits = int.from_bytes(digest, "big")
        return (bits & ~_SIGN_BIT) % self._dimension, -1.0 if bits & _SIGN_BIT else 1.0
