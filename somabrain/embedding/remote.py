"""Texts as vectors of an embeddings endpoint in OpenAI's form: `POST {url}/embeddings`.

The one place of the service that speaks HTTP to a model.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from somabrain.embedding.hashed import TEXT_CHARS_MAX
from somabrain.errors import ConfigurationError, EmbedderUnavailableError, InvalidRequestError
from somabrain.oak.learning.states import unit_vector
from somabrain.oak.model import Vector

_NUMBER_BYTES_MAX = 32
"""Bytes that one number of an answer takes, generously: 17 digits, sign, point, exponent, comma, white space."""

_OVERHEAD_BYTES = 1 << 16
"""Bytes of an answer beside its numbers."""

_PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed (RFC 9110 §15.5, RFC 8470 §5.2, RFC 6585 §4)."""

_FAILING = 500
"""The first status that says the fault is the server's (RFC 9110 §15.6)."""


class _RetryableError(Exception):
    """The endpoint did not answer, or said that it can't now; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLimits:
    """What one call of `embed` may cost: `attempts` of each batch of at most `batch_max` texts.

    `deadline_s` bounds each wait on the network, and after it nothing is begun and no answer read on. Before attempt
    n + 1 of a batch it waits `pause_s` · 2ⁿ⁻¹ seconds. Of a text its first `text_chars_max` characters go out: models
    refuse what is longer than they read.
    """

    deadline_s: float
    attempts: int
    pause_s: float
    batch_max: int
    text_chars_max: int = TEXT_CHARS_MAX


class RemoteEmbedder:
    """The port `Embedder` by an endpoint. Thread-safe.

    Equal texts have equal vectors as far as the endpoint's model gives them.
    """

    def __init__(
        self, *, url: str, model: str, key: str | None, dimension: int, ask: bool, limits: RemoteLimits
    ) -> None:
        """Opens nothing. `url` is the API's base, `…/v1` say; `key` goes out as a bearer token.

        `dimension` is MEMORY_DIM; where `ask` it is sent as `dimensions`, which not every model takes. Raises
        `ConfigurationError` where `url` is not an http or https URL.
        """
        try:
            address = httpx.URL(url.rstrip("/") + "/embeddings")
        except httpx.InvalidURL:
            address = httpx.URL("")
        if address.scheme not in {"http", "https"} or not address.host:
            message = f"the text embedder's address {url!r} is not an http or https URL"
            raise ConfigurationError(message)
        self._address = address
        self._model = model
        self._dimension = dimension
        self._asked: Mapping[str, int] = {"dimensions": dimension} if ask else {}
        self._limits = limits
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, follow_redirects=False)

    @property
    def id(self) -> str:
        """`http:` and the model's name: two models of one name are taken for the same."""
        return f"http:{self._model}"

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()

    def warm(self) -> None:
        """As the port; there is nothing to read."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """As the port says. `EmbedderUnavailableError` says in one line what the endpoint did."""
        deadline = time.monotonic() + self._limits.deadline_s
        size = self._limits.batch_max
        found: list[Vector] = []
        for at in range(0, len(texts), size):
            batch = [_sendable(text[: self._limits.text_chars_max]) for text in texts[at : at + size]]
            found += self._batch(batch, deadline)
        return found

    def _batch(self, texts: list[str], deadline: float) -> list[Vector]:
        pause_s = self._limits.pause_s
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return self._read(self._ask(texts, deadline), len(texts))
            except _RetryableError as fault:
                if attempt == self._limits.attempts or time.monotonic() + pause_s >= deadline:
                    message = f"the text embedder at {self._address.host}: {fault}"
                    raise EmbedderUnavailableError(message) from fault
            time.sleep(pause_s)
            pause_s += pause_s
        message = f"the text embedder at {self._address.host} may not be asked: no attempts"
        raise EmbedderUnavailableError(message)

    def _ask(self, texts: list[str], deadline: float) -> bytes:
        """The body of a 200. Raises `_RetryableError`, and `EmbedderUnavailableError` where asking again is no use."""
        body = {"model": self._model, "input": texts, "encoding_format": "float", **self._asked}
        limit = _OVERHEAD_BYTES + len(texts) * self._dimension * _NUMBER_BYTES_MAX
        left = deadline - time.monotonic()
        if left <= 0:
            message = f"no answer within {self._limits.deadline_s:g} s"
            raise _RetryableError(message)
        try:
            with self._client.stream("POST", self._address, json=body, timeout=left) as answer:
                if answer.status_code in _PASSING or answer.status_code >= _FAILING:
                    message = f"it answered {answer.status_code}"
                    raise _RetryableError(message)
                if answer.status_code != httpx.codes.OK:
                    raise self._useless(f"it answered {answer.status_code}")
                data = bytearray()
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > limit:
                        raise self._useless(f"its answer has more than {limit} bytes")
                    if time.monotonic() > deadline:
                        message = f"no whole answer within {self._limits.deadline_s:g} s"
                        raise _RetryableError(message)
                return bytes(data)
        except httpx.TimeoutException as fault:
            message = f"no answer within {self._limits.deadline_s:g} s"
            raise _RetryableError(message) from fault
        except httpx.HTTPError as fault:
            message = f"it can't be reached ({type(fault).__name__})"
            raise _RetryableError(message) from fault

    def _read(self, body: bytes, count: int) -> list[Vector]:
        """The vectors by `index`. Raises `EmbedderUnavailableError` for an answer that is not what was asked for."""
        try:
            answer = json.loads(body)
            items = {item["index"]: item["embedding"] for item in answer["data"]}
            complete = len(answer["data"]) == count and all(at in items for at in range(count))
        except (ValueError, TypeError, KeyError, RecursionError) as fault:
            raise self._useless("its answer is not a list of embeddings") from fault
        if not complete:
            raise self._useless(f"its answer has not one embedding for each of {count} texts")
        return [self._vector(items[at]) for at in range(count)]

    def _vector(self, components: Any) -> Vector:
        if not isinstance(components, list) or not all(_is_number(one) for one in components):
            raise self._useless("an embedding is not a list of finite numbers")
        if len(components) != self._dimension:
            raise self._useless(
                f"its model {self._model} gives {len(components)} dimensions, MEMORY_DIM is {self._dimension}"
            )
        try:
            return unit_vector(components, self._dimension)
        except InvalidRequestError as fault:
            raise self._useless(f"an embedding is of no use: {fault.detail}") from fault

    def _useless(self, what: str) -> EmbedderUnavailableError:
        return EmbedderUnavailableError(f"the text embedder at {self._address.host}: {what}")


def _sendable(text: str) -> str:
    """The text with `?` for lone surrogates, which UTF-8 can't hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_number(value: object) -> bool:
    """Whether JSON's `value` is a number that a double holds; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
