"""One request over HTTP: the only importer of httpx."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from somabrain.client.errors import BY_STATUS, BrainError, GarbledError, RefusedError, UnavailableError

ANSWER_BYTES_MAX = 64 << 20
"""Longest answer that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask: `body` is JSON or None, `key` the Idempotency-Key of a write."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str | int] = field(default_factory=dict)
    key: str | None = None


class Transport:
    """Asks one service as one caller. Thread-safe."""

    def __init__(self, url: str, key: str | None, within: httpx.BaseTransport | None = None) -> None:
        """`key`: a bearer token; `within`: what carries requests instead of the network.

        Raises `ValueError` for an address that is none.
        """
        try:
            base = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{url!r} is not an address: {error}") from None
        if base.scheme not in {"http", "https"} or not base.host:
            raise ValueError(f"{url!r} is not an address of HTTP, such as http://127.0.0.1:9696")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.Client(base_url=base, headers=headers, transport=within, verify=base.scheme == "https")
        self._url = url

    def ask(self, request: Request, *, timeout_s: float) -> Any:
        """The answer's JSON, None where it is empty. Raises `BrainError`.

        `timeout_s` bounds the connection and each read, and is checked between the parts of a body; headers that
        come byte by byte can take longer.
        """
        until = time.monotonic() + timeout_s
        headers, content = {}, None
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(request.body, separators=(",", ":")).encode()
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        try:
            with self._http.stream(
                request.method,
                request.path,
                params=dict(request.query),
                content=content,
                headers=headers,
                timeout=timeout_s,
            ) as response:
                return _understood(response.status_code, _read(response, until))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            raise UnavailableError(f"no answer from {self._url}: {error!r}") from error

    def close(self) -> None:
        """Closes the connections; who asks afterwards gets `UnavailableError`."""
        self._http.close()


def _read(response: httpx.Response, until: float) -> bytes:
    parts, length = [], 0
    for part in response.iter_bytes():
        length += len(part)
        if time.monotonic() > until:
            raise UnavailableError("the answer took too long")
        if length > ANSWER_BYTES_MAX:
            raise GarbledError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def _understood(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content) if content else None
    except (ValueError, RecursionError) as error:
        raise GarbledError(f"status {status}, and the body is not JSON") from error
    if httpx.codes.is_success(status):
        return answer
    raise _refusal(status, answer)


def _refusal(status: int, answer: Any) -> BrainError:
    code = answer.get("code") if isinstance(answer, dict) else None
    if not httpx.codes.is_error(status) or code is None or answer.get("type") != f"/docs/errors#{code}":
        return GarbledError(f"status {status}, and the body says nothing that the service would say")
    found = answer.get("errors")
    return BY_STATUS.get(status, RefusedError)(
        status=status,
        code=code,
        detail=str(answer.get("detail", "")),
        errors=found if isinstance(found, list) else (),
    )
