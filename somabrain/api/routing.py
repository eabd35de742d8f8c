"""Routers of guarded operations, and the refusals that each operation documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path

from somabrain.api.answers import Problem
from somabrain.api.errors import PROBLEM_JSON, TITLES
from somabrain.api.guard import GuardedRoute
from somabrain.oak.model_document import OPTION_ID_PATTERN
from somabrain.tenancy import DEFAULT_NAMESPACE, NAME_PATTERN

OptionPath = Annotated[str, Path(pattern=OPTION_ID_PATTERN, description="The option's id.")]
EpisodePath = Annotated[str, Path(pattern=OPTION_ID_PATTERN, description="The episode's id.")]
NamespacePath = Annotated[str, Path(pattern=NAME_PATTERN, description="The namespace.")]

ALWAYS = (401, 403, 422, 429, 500, 503)
"""Refusals that any guarded operation may give."""
NAMED = (404, 405)
"""Refusals of operations whose path names something: a name with a slash in it is another address."""
WITH_BODY = (400, 413, 415)
"""Refusals of operations that take a body."""


_TEXT = {"type": "string"}
ETAG = {
    "ETag": {
        "description": "The option's version, for If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
    }
}
LOCATION = {"Location": {"description": "Where the option is.", "required": True, "schema": _TEXT}}

_RETRY = {
    "Retry-After": {"description": "Whole seconds to wait.", "required": True, "schema": {"type": "integer"}},
}
_OF_REFUSALS: Mapping[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "required": True, "schema": _TEXT}},
    405: {"Allow": {"description": "The methods of the address.", "required": True, "schema": _TEXT}},
    429: _RETRY,
    503: _RETRY,
}
"""Headers of refusals by status; every answer has X-Request-Id besides."""


def guarded_router(tag: str) -> APIRouter:
    """A router whose every route asks the policy."""
    return APIRouter(route_class=GuardedRoute, tags=[tag])


def location(path: str, namespace: str) -> str:
    """The address of what was created, as its Location header tells it."""
    return path if namespace == DEFAULT_NAMESPACE else f"{path}?namespace={namespace}"


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented refusals of an operation: `ALWAYS` and these."""
    content = {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {
        status: {"description": TITLES[status], "content": content, "headers": dict(_OF_REFUSALS.get(status, {}))}
        for status in sorted({*ALWAYS, *statuses})
    }
