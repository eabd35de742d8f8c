"""Requests of the demo's agents, and what goes wrong with them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from somabrain.demo.errors import DemoError


class Caller:
    """The API of the server behind `http`. Raises `DemoError` where the server refuses or is gone."""

    def __init__(self, http: httpx.Client) -> None:
        """`http` has the server's address."""
        self._http = http

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a body."""
        return self._asked("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a query."""
        return self._asked("GET", path, params=params)

    def _asked(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            message = f"{method} {path}: no answer: {error}"
            raise DemoError(message) from error
        if response.is_error:
            message = f"{method} {path}: {response.status_code}: {response.text}"
            raise DemoError(message)
        answer: dict[str, Any] = response.json()
        return answer
