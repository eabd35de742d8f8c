"""The HTTP embedder against a real server that misbehaves in every way we thought of."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from somabrain.embedding.remote import RemoteEmbedder, RemoteLimits
from somabrain.errors import ConfigurationError, EmbedderUnavailableError
from tests.reference.embeddings import Answer, Asked, EmbeddingServer, right, vector
from tests.servers import free_port

DIMENSION = 4


def embedder(url: str, *, deadline_s: float = 5.0, attempts: int = 3, ask: bool = True) -> RemoteEmbedder:
    limits = RemoteLimits(deadline_s=deadline_s, attempts=attempts, pause_s=0.01, batch_max=3, text_chars_max=9)
    return RemoteEmbedder(url=url, model="small", key="secret", dimension=DIMENSION, ask=ask, limits=limits)


def status(code: int) -> Callable[[Asked], Answer]:
    return lambda asked: (code, b'{"error": "no"}')


def body(answer: bytes) -> Callable[[Asked], Answer]:
    return lambda asked: (200, answer)


def data(items: Any) -> Callable[[Asked], Answer]:
    return body(json.dumps({"data": items}).encode())


def slow(asked: Asked) -> Answer:
    time.sleep(1.0)
    return right(asked)


def unit(text: str) -> list[float]:
    components = np.array(vector(text, DIMENSION))
    return [float(one) for one in components / np.linalg.norm(components)]


def test_batches_go_out_in_order_with_key_model_and_dimensions() -> None:
    texts = [f"text {at}" for at in range(7)]
    with EmbeddingServer() as server:
        remote = embedder(server.url + "/")
        found = remote.embed(texts)
        remote.close()
    assert [one.array().tolist() for one in found] == [pytest.approx(unit(text), abs=1e-7) for text in texts]
    assert [asked.body["input"] for asked in server.asked] == [texts[:3], texts[3:6], texts[6:]]
    assert {(asked.path, asked.authorization) for asked in server.asked} == {("/v1/embeddings", "Bearer secret")}
    assert server.asked[0].body == {
        "model": "small",
        "input": texts[:3],
        "encoding_format": "float",
        "dimensions": DIMENSION,
    }
    assert remote.id == "http:small"


def test_long_texts_are_cut() -> None:
    with EmbeddingServer() as server:
        long, short = embedder(server.url).embed(["a long text", "a long te"])
    assert long == short
    assert server.asked[0].body["input"] == ["a long te"] * 2


def test_dimensions_are_not_asked_for_where_the_model_takes_none() -> None:
    with EmbeddingServer([data([{"index": 0, "embedding": [1, 2, 3, 4]}])]) as server:
        embedder(server.url, ask=False).embed(["a"])
    assert "dimensions" not in server.asked[0].body


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 529])
def test_what_passes_is_tried_again(code: int) -> None:
    with EmbeddingServer([status(code), status(code)]) as server:
        assert embedder(server.url).embed(["a"])[0].array().tolist() == pytest.approx(unit("a"), abs=1e-7)
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [429, 500])
def test_what_does_not_pass_is_given_up(code: int) -> None:
    with (
        EmbeddingServer([status(code)] * 3) as server,
        pytest.raises(EmbedderUnavailableError, match=f"it answered {code}"),
    ):
        embedder(server.url).embed(["a"])
    assert len(server.asked) == 3


USELESS = {
    "301": (status(301), "it answered 301"),
    "400": (status(400), "it answered 400"),
    "401": (status(401), "it answered 401"),
    "404": (status(404), "it answered 404"),
    "garbage": (body(b"\xff\x00<html>"), "not a list of embeddings"),
    "not JSON": (body(b"{"), "not a list of embeddings"),
    "deep": (body(b"[" * 50_000), "not a list of embeddings"),
    "a list": (body(b"[]"), "not a list of embeddings"),
    "null data": (data(None), "not a list of embeddings"),
    "text data": (data(["x", "y"]), "not a list of embeddings"),
    "no index": (data([{"embedding": [1, 2, 3, 4]}] * 2), "not a list of embeddings"),
    "an index that can't be": (data([{"index": [], "embedding": [1]}]), "not a list of embeddings"),
    "too few": (data([{"index": 0, "embedding": [1, 2, 3, 4]}]), "not one embedding for each of 2"),
    "too many": (data([{"index": at, "embedding": [1, 2, 3, 4]} for at in range(3)]), "not one embedding for each"),
    "twice": (data([{"index": 0, "embedding": [1, 2, 3, 4]}] * 2), "not one embedding for each of 2"),
    "from 1": (data([{"index": at, "embedding": [1, 2, 3, 4]} for at in (1, 2)]), "not one embedding for each of 2"),
    "NaN": (body(b'{"data": [{"index": 0, "embedding": [NaN, 1, 1, 1]}, {"index": 1, "embedding": []}]}'), "finite"),
    "infinite": (body(b'{"data": [{"index": 0, "embedding": [1e999]}, {"index": 1, "embedding": []}]}'), "finite"),
    "huge": (data([{"index": at, "embedding": [10**400, 1, 1, 1]} for at in (0, 1)]), "finite"),
    "true": (data([{"index": at, "embedding": [True, 1, 1, 1]} for at in (0, 1)]), "finite numbers"),
    "text": (data([{"index": at, "embedding": "AAAA"} for at in (0, 1)]), "finite numbers"),
    "another dimension": (
        data([{"index": at, "embedding": [1, 2, 3]} for at in (0, 1)]),
        "its model small gives 3 dimensions, MEMORY_DIM is 4",
    ),
    "zero": (data([{"index": at, "embedding": [0, 0, 0, 0]} for at in (0, 1)]), "must not be zero"),
    "endless": (body(b" " * 200_000), "has more than"),
}


@pytest.mark.parametrize("name", USELESS)
def test_an_answer_that_is_no_answer_is_not_tried_again(name: str) -> None:
    answer, message = USELESS[name]
    with EmbeddingServer([answer]) as server, pytest.raises(EmbedderUnavailableError, match=message) as caught:
        embedder(server.url).embed(["a", "b"])
    assert len(server.asked) == 1
    assert "secret" not in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_slow_server_is_left_at_the_deadline() -> None:
    with EmbeddingServer([slow] * 3) as server:
        began = time.monotonic()
        with pytest.raises(EmbedderUnavailableError, match=r"no answer within 0\.2 s"):
            embedder(server.url, deadline_s=0.2).embed(["a"])
        assert time.monotonic() - began < 0.8
    assert len(server.asked) == 1


def test_an_answer_that_drips_is_left_at_the_deadline() -> None:
    with EmbeddingServer([lambda asked: (200, [b" "] * 60)]) as server:
        began = time.monotonic()
        with pytest.raises(EmbedderUnavailableError, match=r"no whole answer within 0\.2 s"):
            embedder(server.url, deadline_s=0.2).embed(["a"])
        assert time.monotonic() - began < 0.8
    assert len(server.asked) == 1


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(EmbedderUnavailableError, match=r"can't be reached \(ConnectError\)"):
        embedder(f"http://127.0.0.1:{free_port()}").embed(["a"])


@pytest.mark.parametrize("url", ["", "ftp://host/v1", "host/v1", "http://", "http://[::", "/v1"])
def test_an_address_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an http or https URL"):
        embedder(url)
