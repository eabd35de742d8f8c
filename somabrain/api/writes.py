"""One request, one transaction, one answer: idempotent writes (DESIGN §7)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from fastapi import Header, Request, Response

from somabrain.api.guard import Caller, caller_of
from somabrain.api.services import Services, services_of
from somabrain.errors import IdempotencyConflictError
from somabrain.oak.changes import Stamp
from somabrain.ports import Reply, ReplyScope, WriteTransaction

FLOAT_DECIMALS = 9
"""Floats of answers are rounded to 1e-9 (DESIGN §7)."""

_MS_PER_S = 1000
KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="Makes the write happen once: the same key with the same body gives the first answer again.",
    ),
]


def rounded(value: float) -> float:
    """A float of an answer."""
    return round(value, FLOAT_DECIMALS)


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer."""
    return Response(
        orjson.dumps(content), status_code=status, media_type="application/json", headers=dict(headers or {})
    )


def write(request: Request, key: str | None, work: Callable[[Services, WriteTransaction, Stamp], Response]) -> Response:
    """Does `work` in one transaction of the caller's tenant, and stores its answer there under the key.

    A repeat gets the stored answer; a concurrent one waits for the first, since both want the tenant's row. Raises
    `IdempotencyConflictError` where the key was used with another body.
    """
    services, caller = services_of(request), caller_of(request)
    stamp = services.stamp(caller.principal)
    with services.store.write(caller.principal.tenant) as tx:
        if key is None:
            response = work(services, tx, stamp)
        else:
            scope = _scope(request, caller, key)
            digest = hashlib.sha256(caller.body).digest()
            known = tx.reply(scope, stamp.now_ms)
            if known is not None:
                return _again(known, digest)
            response = work(services, tx, stamp)
            tx.save_reply(
                scope, _reply(response, digest, stamp.now_ms + services.settings.idempotency_ttl_s * _MS_PER_S)
            )
    services.committed()
    return response


def _scope(request: Request, caller: Caller, key: str) -> ReplyScope:
    query = request.url.query
    path = request.url.path + (f"?{query}" if query else "")
    return ReplyScope(subject=caller.principal.subject, method=request.method, path=path, key=key)


def _reply(response: Response, digest: bytes, expires_at_ms: int) -> Reply:
    kept = {name: value for name, value in response.headers.items() if name in {"content-type", "etag", "location"}}
    return Reply(
        body_sha256=digest,
        status=response.status_code,
        headers=kept,
        body=bytes(response.body),
        expires_at_ms=expires_at_ms,
    )


def _again(known: Reply, digest: bytes) -> Response:
    if known.body_sha256 != digest:
        raise IdempotencyConflictError
    return Response(known.body, status_code=known.status, headers=dict(known.headers))
