"""Texts as the mean of token vectors of the model `l2_supercat`, which the PyPI package `wordllama` carries.

Where its weights come from, and why it is not the default: docs/adr/0006-embedder.md. The package's own code is not
imported: it configures the root logger, and can download. Its files are read where pip put them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from somabrain.embedding.hashed import TEXT_CHARS_MAX, HashedEmbedder
from somabrain.errors import ConfigurationError
from somabrain.oak.learning.states import unit_vector
from somabrain.oak.model import Vector

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINED_DIMENSIONS = (64, 128, 256)
"""Leading components that are a vector by themselves (Kusupati et al. 2022, "Matryoshka Representation Learning").

wordllama's documentation names these and larger ones, which the package does not carry.
"""

WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
WEIGHTS_SHA256 = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
TOKENIZER_SHA256 = "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"
_TENSOR = "embedding.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """`weights`: float16, shape (tokens, 256)."""

    weights: NDArray[np.float16]
    tokenizer: Tokenizer


class WordLlamaEmbedder:
    """The port `Embedder` by wordllama's token vectors. Thread-safe; loads on first use, or by `warm`.

    A dimension that was not trained takes the next smaller trained one (below 64: the first components) and zeros.
    """

    def __init__(self, dimension: int) -> None:
        """Reads nothing. `dimension` is MEMORY_DIM."""
        self._dimension = dimension
        self._width = max((one for one in TRAINED_DIMENSIONS if one <= dimension), default=dimension)
        self._hashed = HashedEmbedder(dimension)
        self._lock = threading.Lock()
        self._model: _Model | None = None

    @property
    def id(self) -> str:
        """Names the model's files, which are compared by SHA-256, and the components used."""
        return f"wordllama-l2_supercat-{self._width}"

    def warm(self) -> None:
        """Loads the model. Raises `ConfigurationError` where its files are absent or others than the id names."""
        self._loaded()

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """As the port says; of a text longer than TEXT_CHARS_MAX, its beginning. Raises as `warm`.

        Each text by itself, its sum exact in float64 (float16 has 11 bits, the weights lie within 2⁻²⁴ to 2⁴, and a
        text has fewer than 2¹⁹ tokens), so neither batch, thread nor machine shows. A text whose sum is zero, or
        that has no token, is hashed.
        """
        model = self._loaded()
        return [self._embed(model, text[:TEXT_CHARS_MAX]) for text in texts]

    def _embed(self, model: _Model, text: str) -> Vector:
        # A lone surrogate is no Unicode text, and the tokenizer takes none.
        readable = text.encode("utf-8", "replace").decode("utf-8")
        ids, counts = np.unique(model.tokenizer.encode(readable, add_special_tokens=False).ids, return_counts=True)
        total = np.zeros(self._dimension)
        if len(ids):
            total[: self._width] = counts @ model.weights[ids.astype(np.intp), : self._width].astype(np.float64)
        if not total.any():
            return self._hashed.embed([text])[0]
        return unit_vector(total.tolist(), self._dimension)

    def _loaded(self) -> _Model:
        model = self._model
        if model is None:
            with self._lock:
                model = self._model or _load()
                self._model = model
        return model


def _load() -> _Model:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        message = "the text embedder wordllama is not installed: pip install 'somabrain[wordllama]'"
        raise ConfigurationError(message)
    from safetensors.numpy import load  # noqa: PLC0415 - comes with wordllama, which is optional
    from tokenizers import Tokenizer  # noqa: PLC0415 - comes with wordllama, which is optional

    folder = Path(spec.submodule_search_locations[0])
    weights = load(_checked(folder / WEIGHTS, WEIGHTS_SHA256))[_TENSOR]
    tokenizer = Tokenizer.from_buffer(_checked(folder / TOKENIZER, TOKENIZER_SHA256))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return _Model(weights=weights, tokenizer=tokenizer)


def _checked(path: Path, digest: str) -> bytes:
    """The file's bytes. Raises `ConfigurationError` where it is absent or another."""
    try:
        data = path.read_bytes()
    except OSError as fault:
        message = f"the text embedder wordllama: {path.name} can't be read ({fault.strerror})"
        raise ConfigurationError(message) from fault
    if sha256(data).hexdigest() != digest:
        message = f"the text embedder wordllama: {path.name} is not the model that this version of Somabrain knows"
        raise ConfigurationError(message)
    return data
