"""Public routes: liveness, readiness, metrics, and the documentation pages, which need no network."""

from __future__ import annotations

from functools import cache
from html import escape
from http import HTTPStatus
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from somabrain.api import answers as a
from somabrain.api.errors import BY_CODE, STATUS
from somabrain.api.services import services_of
from somabrain.api.writes import json_response
from somabrain.errors import NotFoundError
from somabrain.oak.model import Reason

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REASON_REMEDIES: dict[Reason, str] = {
    Reason.ALREADY_AT_TARGET: "The start meets the target: there is nothing to do.",
    Reason.UNKNOWN_START: (
        "No run was ever reported from or to this state. `nearest` names known states and the facts in which they "
        "differ: report runs from here, or describe states by fewer facts."
    ),
    Reason.NO_GOAL_STATE: (
        "No known state meets the target. Name fewer facts, lower similarity_thresh, or report a run that reaches it."
    ),
    Reason.NO_OPTIONS: "No active option has been run in this namespace: record executions first.",
    Reason.UNREACHABLE: "No sequence of known outcomes leads to the target: report runs of options near the goal.",
    Reason.UNREACHABLE_WITHIN_MAX_OPTIONS: "There is a way, but it is longer: raise max_options.",
}
"""What to do about each reason of a plan that is empty."""

router = APIRouter()
metrics_router = APIRouter()


@router.get("/healthz", operation_id="health", tags=["health"], response_model=a.Health)
def health() -> Response:
    """Whether the process runs."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="readiness",
    tags=["health"],
    response_model=a.Readiness,
    responses={503: {"description": "Requests can't be served.", "model": a.Readiness}},
)
def readiness(request: Request) -> Response:
    """Whether requests can be served, and each component's state."""
    components = services_of(request).components()
    ready = all(component.ready or not component.required for component in components)
    content = {
        "status": "ready" if ready else "unavailable",
        "version": version("somabrain"),
        "components": [{"name": c.name, "ready": c.ready, "detail": c.detail} for c in components],
    }
    return json_response(content, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


@metrics_router.get(
    "/metrics",
    operation_id="metrics",
    tags=["health"],
    response_class=Response,
    responses={
        200: {"description": "Prometheus text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def metrics(request: Request) -> Response:
    """The process's metrics."""
    return Response(services_of(request).metrics.exposition(), media_type=METRICS_TYPE)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """The API, to read and to try."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Somabrain API",
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


@router.get("/docs/assets/{name}", include_in_schema=False)
def docs_asset(name: Literal["swagger-ui-bundle.js", "swagger-ui.css"]) -> FileResponse:
    """The page's script and style, from the installed package that carries them."""
    return FileResponse(_assets() / name)


@router.get("/docs/errors", include_in_schema=False)
def docs_errors() -> HTMLResponse:
    """Every error code and every reason of an empty plan, with what to do about it."""
    return HTMLResponse(_error_page())


@cache
def _assets() -> Path:
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise NotFoundError
    return Path(found.origin).parent / "static"


@cache
def _error_page() -> str:
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{STATUS[error]}</td>'
        f"<td>{escape(error.message())}</td><td>{escape(error.remedy())}</td></tr>"
        for code, error in sorted(BY_CODE.items())
    )
    reasons = "".join(
        f'<tr id="{reason.value}"><td><code>{reason.value}</code></td><td>{escape(text)}</td></tr>'
        for reason, text in REASON_REMEDIES.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Somabrain errors</title>"
        "<meta name=viewport content='width=device-width'><style>:root{color-scheme:light dark}"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{border-bottom:1px solid #8884;padding:.4rem .8rem;text-align:left;"
        "vertical-align:top}tr:target{background:#fc04}</style>"
        "<h1>Errors</h1><p>Every refusal is <code>application/problem+json</code> (RFC 9457) with a stable "
        "<code>code</code>.</p><table><tr><th>code<th>status<th>meaning<th>what to do</tr>"
        f"{rows}</table><h1>Reasons of an empty plan</h1><p>Not finding a way is an answer: status 200, "
        "<code>reached: false</code> and one of these.</p><table><tr><th>reason<th>what to do</tr>"
        f"{reasons}</table></html>"
    )
