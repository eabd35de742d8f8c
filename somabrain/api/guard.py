"""What every guarded request goes through before its route: caller, body, policy, in the order of DESIGN §7.

A route made with `GuardedRoute` can't be reached without a policy question: its operation id must be in `ACTIONS`,
and the policy denies actions that it does not list.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum
from inspect import iscoroutinefunction
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry import trace
from starlette.concurrency import run_in_threadpool

from somabrain.api.services import Services, services_of
from somabrain.errors import (
    BodyTooLargeError,
    ForbiddenError,
    InvalidJsonError,
    OakDisabledError,
    RateLimitedError,
    SomabrainError,
    UnsupportedMediaTypeError,
)
from somabrain.ports import NotAtHandError, Principal, Question
from somabrain.tenancy import DEFAULT_NAMESPACE, is_name

PARSE_INLINE_BYTES = 65_536
"""Bodies above it are parsed in a thread, so that they don't hold up other requests."""

AT_ONCE_BYTES = 16_384
"""Bodies above it are answered in a thread."""


class BodyKind(Enum):
    """Which of the body limits holds."""

    NONE = "none"
    SINGLE = "single"
    BATCH = "batch"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Action:
    """What the policy is told of an operation: the kind of its resource; `body` says how large a body may be.

    `at_once`: most of its answers are a look at what the process keeps, and are given on the event loop where the
    store can be read there (ADR 19).
    """

    resource: str
    body: BodyKind = BodyKind.NONE
    at_once: bool = False


ACTIONS: Mapping[str, Action] = {
    "option_create": Action("option", BodyKind.SINGLE),
    "option_get": Action("option"),
    "option_replace": Action("option", BodyKind.SINGLE),
    "option_retire": Action("option"),
    "option_list": Action("option"),
    "option_model_get": Action("option"),
    "option_search": Action("option", BodyKind.SINGLE),
    "execution_record": Action("option", BodyKind.SINGLE),
    "execution_record_batch": Action("option", BodyKind.BATCH),
    "episode_record": Action("episode", BodyKind.BATCH),
    "episode_record_batch": Action("episode", BodyKind.BATCH),
    "trace_record_batch": Action("episode", BodyKind.BATCH),
    "episode_outcome": Action("episode", BodyKind.SINGLE),
    "episode_get": Action("episode"),
    "consolidate": Action("consolidation", BodyKind.SINGLE),
    "consolidation_get": Action("consolidation"),
    "diagnosis_get": Action("diagnosis"),
    "act": Action("plan", BodyKind.SINGLE, at_once=True),
    "plan": Action("plan", BodyKind.SINGLE, at_once=True),
    "predict": Action("prediction", BodyKind.SINGLE, at_once=True),
    "calibration_get": Action("prediction"),
    "state_list": Action("state"),
    "state_get": Action("state"),
    "namespace_list": Action("namespace"),
    "namespace_delete": Action("namespace"),
    "model_export": Action("model"),
    "model_import": Action("model", BodyKind.MODEL),
    "event_list": Action("event"),
    "memory_remember": Action("memory", BodyKind.SINGLE),
    "memory_remember_batch": Action("memory", BodyKind.BATCH),
    "memory_recall": Action("memory", BodyKind.SINGLE),
    "memory_get": Action("memory"),
    "memory_forget": Action("memory"),
}
"""Every operation that asks the policy, by its id; `option.rego` says which roles may (DESIGN §8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who passed the guard, and the bytes that were sent."""

    principal: Principal
    body: bytes


def caller_of(request: Request) -> Caller:
    """The caller, in a guarded route."""
    caller: Caller = request.scope["somabrain.caller"]
    return caller


def at_once(request: Request) -> bool:
    """Whether other requests wait for this answer: what is not at hand then raises `NotAtHandError`."""
    return bool(request.scope.get("somabrain.at_once"))


class Usage:
    """How many requests each tenant made in the present minute, in this process."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._lock = threading.Lock()
        self._minute = -1
        self._counts: dict[str, int] = {}

    def count(self, tenant: str, now_ms: int, most: int) -> dict[str, float]:
        """Counts one request; the numbers that the policy sees."""
        minute, past_ms = divmod(now_ms, _MINUTE_MS)
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, {}
            self._counts[tenant] = self._counts.get(tenant, 0) + 1
            made = self._counts[tenant]
        return {
            "requests_last_minute": made,
            "requests_per_minute_max": most,
            "seconds_to_reset": (_MINUTE_MS - past_ms) / _MS_PER_S,
        }


_MS_PER_S = 1000
_MINUTE_MS = 60_000


class _ReadRequest(Request):
    """A request whose body has been read and parsed."""

    def __init__(self, request: Request, body: bytes, parsed: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body
        self._parsed = parsed

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._parsed


class GuardedRoute(APIRoute):
    """A route behind authentication, policy, feature switch and body checks."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The guarded handler. Raises `KeyError` when made for an operation that `ACTIONS` does not list."""
        action_id = str(self.operation_id)
        action = ACTIONS[action_id]
        inner, read_body = super().get_route_handler(), self._body_alone()

        async def handle(request: Request) -> Response:
            services = services_of(request)
            _adopt_trace(request)
            principal = await _authenticated(services, request)
            body, parsed, refusal = await _read(services, request, action.body)
            await _allowed(
                services, request, principal, action=action_id, namespace=_namespace(request, parsed, action.body)
            )
            if not services.settings.oak_enabled and request.scope["path"].startswith("/oak"):
                raise OakDisabledError
            if refusal is not None:
                raise refusal
            request.scope["somabrain.caller"] = Caller(principal=principal, body=body)
            if read_body is None:
                return await inner(_ReadRequest(request, body, parsed))
            if action.at_once and len(body) <= AT_ONCE_BYTES and services.store.reads_at_once():
                values = read_body(parsed)
                request.scope["somabrain.at_once"] = True
                try:
                    return self._answered(request, values)
                except NotAtHandError:
                    request.scope["somabrain.at_once"] = False
                return await run_in_threadpool(self._answered, request, values)
            return await run_in_threadpool(lambda: self._answered(request, read_body(parsed)))

        return handle

    def _answered(self, request: Request, values: Mapping[str, Any]) -> Response:
        answer: Response = self.endpoint(request=request, **values)
        return answer

    def _body_alone(self) -> Callable[[Any], dict[str, Any]] | None:
        """What gives the operation its body; `None` where there is more to find out, so that FastAPI has to do it.

        FastAPI looks in each request for every kind of parameter and body that there could be.
        """
        asks = self.dependant
        others = (asks.path_params, asks.query_params, asks.header_params, asks.cookie_params, asks.dependencies)
        if any(others) or len(asks.body_params) != 1 or iscoroutinefunction(self.endpoint):
            return None
        field = asks.body_params[0]

        def read(parsed: Any) -> dict[str, Any]:
            value, errors = field.validate(parsed, {}, loc=("body",))
            if errors:
                raise RequestValidationError(errors, body=parsed)
            return {field.name: value}

        return read


def _adopt_trace(request: Request) -> None:
    """Where spans are made, the request's trace id is theirs."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        request.scope["state"]["trace_id"] = trace.format_trace_id(span.trace_id)


async def _authenticated(services: Services, request: Request) -> Principal:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value  # RFC 9110 §5.3
    if services.authenticator_may_block:
        return await run_in_threadpool(services.authenticator.authenticate, headers)
    return services.authenticator.authenticate(headers)


def _namespace(request: Request, parsed: Any, kind: BodyKind) -> str:
    """The namespace that the request concerns, named where its route reads it: in the body, else in path or query.

    One that is malformed is refused by the route, after the policy.
    """
    if kind in {BodyKind.SINGLE, BodyKind.BATCH}:
        named = None
        if isinstance(parsed, dict):
            named = parsed.get("namespace")
            named = _namespace_of_items(parsed) if named is None else named
    else:
        named = request.path_params.get("namespace") or request.query_params.get("namespace")
    return named if isinstance(named, str) and is_name(named) else DEFAULT_NAMESPACE


def _namespace_of_items(parsed: dict[str, Any]) -> Any:
    """What the first memory of a batch names: the route refuses a batch whose memories name different ones."""
    items = parsed.get("memories")
    first = items[0] if isinstance(items, list) and items else None
    return first.get("namespace") if isinstance(first, dict) else None


async def _allowed(services: Services, request: Request, principal: Principal, *, action: str, namespace: str) -> None:
    tenant = principal.tenant.value
    question = Question(
        method=request.method,
        path=tuple(part for part in request.scope["path"].split("/") if part),
        action=action,
        namespace=namespace,
        resource_kind=ACTIONS[action].resource,
        resource_id=next(iter(request.path_params.values()), None),
        principal=principal,
        usage=request.app.state.usage.count(tenant, services.clock_ms(), services.settings.requests_per_minute),
    )
    began = time.perf_counter()
    result = "error"
    try:
        decision = services.policy.decide(question)
        result = "allow" if decision.allowed else "deny"
    finally:
        services.metrics.policy_latency.labels("embedded", result).observe(time.perf_counter() - began)
    if decision.retry_after_s is not None and not decision.allowed:
        raise RateLimitedError("; ".join(decision.reasons) or None, retry_after_s=decision.retry_after_s)
    if not decision.allowed:
        raise ForbiddenError("; ".join(decision.reasons) or None)


async def _read(services: Services, request: Request, kind: BodyKind) -> tuple[bytes, Any, SomabrainError | None]:
    """The body, what it parses to, and what is wrong with it: told only to a caller that the policy lets in."""
    if kind is BodyKind.NONE:
        return b"", None, None
    limits = services.settings
    most = {
        BodyKind.SINGLE: limits.body_max_bytes,
        BodyKind.BATCH: limits.body_batch_max_bytes,
        BodyKind.MODEL: limits.body_model_max_bytes,
    }[kind]
    too_large = BodyTooLargeError(f"the body is larger than {most} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        return b"", None, too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return b"", None, too_large
        parts.append(part)
    body = b"".join(parts)
    media = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if media != "application/json" or request.headers.get("content-encoding", "identity").lower() != "identity":
        return body, None, UnsupportedMediaTypeError()
    try:
        parsed = orjson.loads(body) if size <= PARSE_INLINE_BYTES else await run_in_threadpool(orjson.loads, body)
    except orjson.JSONDecodeError as error:
        return body, None, InvalidJsonError(f"the body is not JSON: {error}")
    return body, parsed, None
