"""The bearer token of a request (RFC 6750 §2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from somabrain.errors import UnauthenticatedError

TOKEN_BYTES_MAX = 16 * 1024
"""Longest token looked at: more than identity providers issue, and bounded work for whoever has none."""

_CREDENTIALS = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<token>[A-Za-z0-9._~+/-]+=*)")


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of the `authorization` header, in ASCII; the scheme's case does not matter (RFC 9110 §11.1).

    Raises `UnauthenticatedError` where there is none, or one longer than `TOKEN_BYTES_MAX`.
    """
    value = headers.get("authorization")
    if value is None:
        raise UnauthenticatedError
    if len(value) > TOKEN_BYTES_MAX + len("Bearer "):
        message = f"The bearer token is longer than {TOKEN_BYTES_MAX} bytes."
        raise UnauthenticatedError(message)
    match = _CREDENTIALS.fullmatch(value)
    if match is None:
        message = "The Authorization header is not of the form `Bearer <token>`."
        raise UnauthenticatedError(message)
    return match["token"]
