"""Routers of guarded operations, and the refusals that each operation documents."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from somabrain.api.answers import Problem
from somabrain.api.errors import PROBLEM_JSON, TITLES
from somabrain.api.guard import GuardedRoute
from somabrain.oak.model_document import OPTION_ID_PATTERN
from somabrain.tenancy import NAME_PATTERN

OptionPath = Annotated[str, Path(pattern=OPTION_ID_PATTERN, description="The option's id.")]
NamespacePath = Annotated[str, Path(pattern=NAME_PATTERN, description="The namespace.")]

ALWAYS = (401, 403, 422, 429, 500, 503)
"""Refusals that any guarded operation may give."""
WITH_BODY = (400, 413, 415)
"""Refusals of operations that take a body."""


def guarded_router(tag: str) -> APIRouter:
    """A router whose every route asks the policy."""
    return APIRouter(route_class=GuardedRoute, tags=[tag])


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented refusals of an operation: `ALWAYS` and these."""
    content = {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": TITLES[status], "content": content} for status in sorted({*ALWAYS, *statuses})}
