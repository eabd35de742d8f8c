"""What is true of every embedder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from somabrain.embedding.hashed import HASHED_ID, TEXT_CHARS_MAX, HashedEmbedder
from somabrain.embedding.remote import RemoteEmbedder, RemoteLimits
from somabrain.embedding.wordllama import WordLlamaEmbedder
from somabrain.errors import ConfigurationError
from somabrain.ports.vectors import Embedder
from tests.reference.embeddings import EmbeddingServer

DIMENSION = 256
TEXTS = [
    "The mug is in the cabinet.",
    "the mug is in the cabinet",
    "Wo ist die Tasse? Im Schränkchen!",
    "杯子在柜子里",
    "הספל בארון",
    "\u202eright to left\u202c",
    "🙂🙃👩‍👩‍👧",
    "\x00",
    "a\x00b",
    " ",
    "\t\n \u3000",
    "-",
    "…",
    "a",
    "\ud800",
    "e\u0301",
    "getUserDetails(user_id=42)",
    "word " * 12_000,
    "x" * (1 << 16),
]


def remote_embedder(server: EmbeddingServer, dimension: int = DIMENSION) -> RemoteEmbedder:
    limits = RemoteLimits(deadline_s=30.0, attempts=2, pause_s=0.01, batch_max=4, text_chars_max=1 << 16)
    return RemoteEmbedder(url=server.url, model="test", key=None, dimension=dimension, ask=True, limits=limits)


@pytest.fixture(params=["hashed", "wordllama", "remote"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "remote":
        with EmbeddingServer() as server:
            remote = remote_embedder(server)
            yield remote
            remote.close()
    else:
        yield HashedEmbedder(DIMENSION) if request.param == "hashed" else WordLlamaEmbedder(DIMENSION)


def test_every_text_has_a_unit_vector(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert len(vectors) == len(TEXTS)
    for vector in vectors:
        assert len(vector.data) == DIMENSION * 4
        assert np.linalg.norm(vector.array().astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_no_texts_have_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]) == []


def test_a_vector_depends_on_its_text_alone(embedder: Embedder) -> None:
    """To the bit: whatever else is in the batch, in whatever order."""
    together = embedder.embed(TEXTS)
    assert [embedder.embed([text])[0] for text in TEXTS] == together
    assert embedder.embed(TEXTS[::-1]) == together[::-1]
    assert embedder.embed([*TEXTS, *TEXTS]) == together + together


def test_threads_do_not_show(embedder: Embedder) -> None:
    """The first texts of a fresh embedder come from eight threads at once."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: embedder.embed([text])[0], TEXTS * 4))
    assert found == embedder.embed(TEXTS) * 4


def test_different_texts_have_different_vectors(embedder: Embedder) -> None:
    words = embedder.embed(["mug", "desk", "take the mug", "杯子", "🙂"])
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("make", [HashedEmbedder, WordLlamaEmbedder])
@pytest.mark.parametrize("dimension", [1, 8, 64, 100, 256, 384])
def test_any_dimension_is_served(make: Callable[[int], Embedder], dimension: int) -> None:
    for vector in make(dimension).embed(TEXTS):
        assert vector.array().shape == (dimension,)
        assert np.linalg.norm(vector.array().astype(np.float64)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("make", [HashedEmbedder, WordLlamaEmbedder])
def test_what_is_related_is_nearer(make: Callable[[int], Embedder]) -> None:
    asked, related, other = (
        vector.array()
        for vector in make(DIMENSION).embed(
            ["Where are the mugs?", "I saw a mug on the desk.", "Book a flight to Rome."]
        )
    )
    assert asked @ related > asked @ other


@pytest.mark.parametrize("make", [HashedEmbedder, WordLlamaEmbedder])
def test_only_the_beginning_of_a_text_without_end_counts(make: Callable[[int], Embedder]) -> None:
    begun = "word " * (TEXT_CHARS_MAX // 5) + "x" * (TEXT_CHARS_MAX % 5)
    first, second = make(DIMENSION).embed([begun, begun + " another end" * 100_000])
    assert first == second


def test_hashing_is_what_it_is_documented_to_be() -> None:
    """The word a weighs 1, its one character n-gram `<a>` 2."""
    vector = HashedEmbedder(1 << 20).embed(["A"])[0].array()
    assert sorted(np.abs(vector[vector != 0]).tolist()) == pytest.approx([1 / 5**0.5, 2 / 5**0.5])
    assert HashedEmbedder(8).id == HASHED_ID == "hashed-1"


def test_hashed_vectors_are_the_same_forever() -> None:
    """An id stands for its vectors: another formula needs another id."""
    vector = HashedEmbedder(8).embed(["The mug is in the cabinet; the mugs aren't."])[0].array()
    assert vector.tolist() == pytest.approx(
        [0.41308987, 0.44203368, -0.03966587, -0.07001986, 0.56868821, 0.12623574, -0.53670126, 0.00984148], abs=1e-7
    )


def test_the_wordllama_id_says_what_was_trained() -> None:
    assert [WordLlamaEmbedder(dimension).id for dimension in (32, 64, 255, 256, 384)] == [
        f"wordllama-l2_supercat-{width}" for width in (32, 64, 128, 256, 256)
    ]


def test_beyond_what_was_trained_are_zeros() -> None:
    text = "The mug is in the cabinet."
    narrow, wide = WordLlamaEmbedder(256).embed([text])[0].array(), WordLlamaEmbedder(384).embed([text])[0].array()
    assert wide[:256].tolist() == narrow.tolist()
    assert not wide[256:].any()


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="takes a network namespace of its own")
def test_wordllama_needs_no_network_and_writes_nothing(tmp_path: Path) -> None:
    """In a namespace without network, an empty home that can't be written, and no log from its package."""
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys, logging; from somabrain.embedding.wordllama import WordLlamaEmbedder; e = WordLlamaEmbedder(256);"
        "assert 'wordllama' not in sys.modules; e.warm(); print(e.embed(['mug'])[0].data.hex());"
        "assert not logging.getLogger().handlers"
    )
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", program],
        env={"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert bytes.fromhex(done.stdout) == WordLlamaEmbedder(256).embed(["mug"])[0].data
    assert list(home.iterdir()) == []


def test_another_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """A package of that name comes first on the path, with other weights."""
    package = tmp_path / "wordllama"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    program = "from somabrain.embedding.wordllama import WordLlamaEmbedder; WordLlamaEmbedder(256).warm()"

    def refusal() -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stderr.strip().splitlines()[-1]

    assert refusal().startswith(f"somabrain.errors.{ConfigurationError.__name__}: ")
    assert "can't be read" in refusal()
    (package / "weights" / "l2_supercat_256.safetensors").write_bytes(b"other")
    assert "is not the model" in refusal()


def test_where_wordllama_is_not_installed_the_message_says_what_to_do() -> None:
    program = (
        "import sys; sys.modules['wordllama'] = None\n"
        "from somabrain.embedding.wordllama import WordLlamaEmbedder; WordLlamaEmbedder(256).warm()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.strip().endswith("is not installed: pip install 'somabrain[wordllama]'")
