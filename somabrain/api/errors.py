"""Refusals as RFC 9457 problems: one total table from error classes to statuses, and the handlers that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from somabrain import errors as e

PROBLEM_JSON = "application/problem+json"

STATUS: Mapping[type[e.SomabrainError], int] = {
    e.InvalidRequestError: 422,
    e.NumberOutOfRangeError: 422,
    e.FactsCancelError: 422,
    e.TraceInvalidError: 422,
    e.TraceFormatUnknownError: 422,
    e.TraceNotJsonError: 422,
    e.TraceTooLargeError: 422,
    e.TraceWithoutStepsError: 422,
    e.TraceOrderError: 422,
    e.OptionExistsError: 409,
    e.OptionLimitError: 409,
    e.OptionNotFoundError: 404,
    e.MemoryNotFoundError: 404,
    e.OptionRetiredError: 409,
    e.OptionIsPrimitiveError: 409,
    e.OptionNotDeclaredError: 409,
    e.EpisodeConflictError: 409,
    e.EpisodeNotFoundError: 404,
    e.OutcomeKnownError: 409,
    e.ActionLimitError: 409,
    e.VersionConflictError: 412,
    e.StateLimitError: 409,
    e.NamespaceNotEmptyError: 409,
    e.ModelIncompatibleError: 409,
    e.IdempotencyConflictError: 409,
    e.NotFoundError: 404,
    e.MethodNotAllowedError: 405,
    e.InvalidJsonError: 400,
    e.BodyTooLargeError: 413,
    e.UnsupportedMediaTypeError: 415,
    e.OakDisabledError: 404,
    e.UnauthenticatedError: 401,
    e.TenantInvalidError: 401,
    e.ForbiddenError: 403,
    e.BadHostError: 403,
    e.BadOriginError: 403,
    e.RateLimitedError: 429,
    e.EmbedderUnavailableError: 503,
    e.RecallUnavailableError: 503,
    e.PolicyUnavailableError: 503,
    e.IdentityUnavailableError: 503,
    e.StoreUnavailableError: 503,
    e.InternalError: 500,
}
"""Every refusal and its status."""

BY_CODE = {error.code: error for error in STATUS}

_BY_HTTP_STATUS: Mapping[int, type[e.SomabrainError]] = {
    400: e.InvalidJsonError,
    404: e.NotFoundError,
    405: e.MethodNotAllowedError,
    413: e.BodyTooLargeError,
    415: e.UnsupportedMediaTypeError,
}

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""The statuses' names (RFC 9110 §15, RFC 6585 §4)."""

_RETRY_UNAVAILABLE_S = 1

_UNAVAILABLE = (
    e.EmbedderUnavailableError,
    e.IdentityUnavailableError,
    e.PolicyUnavailableError,
    e.RecallUnavailableError,
    e.StoreUnavailableError,
)
"""What the operator has to look at."""

log = structlog.get_logger()


def problem(
    error: e.SomabrainError,
    trace_id: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem document of a refusal."""
    status = STATUS[type(error)]
    body: dict[str, Any] = {
        "type": f"/docs/errors#{error.code}",
        "title": TITLES[status],
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "trace_id": trace_id,
    }
    if errors:
        body["errors"] = list(errors)
    elif error.loc:
        body["errors"] = [{"loc": list(error.loc), "msg": error.detail}]
    return Response(
        orjson.dumps(body),
        status_code=status,
        media_type=PROBLEM_JSON,
        headers={**_headers(error, status), **(headers or {})},
    )


def _headers(error: e.SomabrainError, status: int) -> dict[str, str]:
    if isinstance(error, e.RateLimitedError):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, e.UnauthenticatedError):
        return {"WWW-Authenticate": "Bearer"}
    if status == STATUS[e.StoreUnavailableError]:
        return {"Retry-After": str(_RETRY_UNAVAILABLE_S)}
    if isinstance(error, e.BodyTooLargeError):
        return {"Connection": "close"}
    return {}


def trace_id_of(request: Request) -> str:
    """The request's trace id, set by the outermost middleware."""
    return str(request.scope.get("state", {}).get("trace_id", ""))


def install(app: FastAPI) -> None:
    """Makes every refusal a problem document."""
    app.add_exception_handler(e.SomabrainError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_defect)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, e.SomabrainError)
    if isinstance(error, _UNAVAILABLE):
        log.warning("unavailable", code=error.code, cause=repr(error.__cause__), trace_id=trace_id_of(request))
    return problem(error, trace_id_of(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"loc": _location(item["loc"]), "msg": str(item["msg"])} for item in error.errors()]
    kind = next((BY_CODE[item["type"]] for item in error.errors() if item["type"] in BY_CODE), e.InvalidRequestError)
    first = found[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem(kind(f"{where}: {first['msg']}{more}" if where else str(first["msg"])), trace_id_of(request), found)


def _location(loc: Sequence[str | int]) -> list[str | int]:
    parts = list(loc)
    return parts[1:] if len(parts) > 1 and parts[0] == "body" else parts


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_HTTP_STATUS.get(error.status_code, e.InternalError)
    headers = dict(error.headers or {})
    if kind is e.MethodNotAllowedError:
        headers = {"Allow": ", ".join(_methods(request))}
    return problem(kind(), trace_id_of(request), headers=headers)


def _methods(request: Request) -> list[str]:
    """The methods of the address; a path without parameters is itself, whatever else it would match (OpenAPI 3.1)."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    exact = [route for route in matching if route.path == request.scope["path"]]
    return sorted({method for route in exact or matching for method in route.methods})


async def _on_gone(request: Request, _error: Exception) -> Response:
    """The caller hung up before the end of the body: nobody reads this, and nothing was done."""
    return problem(e.InvalidJsonError("the body ended early"), trace_id_of(request))


async def _on_defect(request: Request, error: Exception) -> Response:
    log.error("defect", error=repr(error), trace_id=trace_id_of(request), exc_info=error)
    return problem(e.InternalError(), trace_id_of(request))
