"""Routes: plan, look at states and namespaces, export and import models, read events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

import orjson
from fastapi import Path, Query, Request, Response

from somabrain.api import answers as a
from somabrain.api import present
from somabrain.api.experience_answers import ActAnswer
from somabrain.api.experience_schemas import ActBody
from somabrain.api.guard import at_once, caller_of
from somabrain.api.pages import (
    DEFAULT_NAMESPACE,
    NUMBER_MAX,
    PAGE_DEFAULT,
    Limit,
    NamespaceQuery,
    StateCursor,
    state_after,
    state_cursor,
)
from somabrain.api.routing import NAMED, WITH_BODY, NamespacePath, guarded_router, refusals
from somabrain.api.schemas import PlanBody
from somabrain.api.services import Services, services_of
from somabrain.api.states import state_at
from somabrain.api.writes import IdempotencyKey, json_response, rounded, write
from somabrain.errors import NotFoundError
from somabrain.oak.changes import Stamp
from somabrain.oak.learning.states import SAFE_INTEGER
from somabrain.oak.model_document import ModelDocument
from somabrain.oak.option_manager import is_empty
from somabrain.oak.rows import named_prototypes, rows_of_state
from somabrain.oak.transfer import export_model, import_model, parse_model
from somabrain.ports import WriteTransaction
from somabrain.tenancy import Namespace

EVENTS_MAX = 1000
MODEL = {"$ref": f"#/components/schemas/{ModelDocument.__name__}"}
_MS_PER_S = 1000

router = guarded_router("planning")
events_router = guarded_router("events")


@router.post("/oak/plan", operation_id="plan", response_model=a.PlanAnswer, responses=refusals(404, *WITH_BODY))
def plan(request: Request, body: PlanBody) -> Response:
    """The options that lead from a state to a target, with their odds. Finding none is an answer, with a reason."""
    services = services_of(request)
    haste = at_once(request)
    encoding = body.bound(services.encoding(body, at_once=haste))
    start = state_at(body.start_state, encoding, "start_state")
    target = state_at(body.target_feature, encoding, "target_feature")
    began, tenant = services.monotonic_s(), caller_of(request).principal.tenant
    with services.store.read(tenant) as tx:
        answer = services.planning.plan(
            tx,
            Namespace(body.namespace),
            start,
            target,
            threshold=body.similarity_thresh,
            max_options=body.max_options,
            alternatives=body.alternatives,
            mode=body.mode,
            at_once=haste,
        )
    elapsed_s = services.monotonic_s() - began
    used = [step for step in answer.options.values() if step.source == "discovered"]
    services.uses.note(tenant, Namespace(body.namespace), [step.option_id for step in used])
    result, reason = present.planned(answer)
    services.metrics.planner_latency.labels(result).observe(elapsed_s)
    services.metrics.plans.labels(result, reason).inc()
    return json_response(present.plan(answer, elapsed_s * _MS_PER_S, encoding.roles))


@router.post("/oak/act", operation_id="act", response_model=ActAnswer, responses=refusals(404, *WITH_BODY))
def act(request: Request, body: ActBody) -> Response:
    """What to do now on the way to a target: go on with the option that runs, its next action, or switch."""
    services = services_of(request)
    haste = at_once(request)
    encoding = body.bound(services.encoding(body, at_once=haste))
    state = state_at(body.state, encoding, "state")
    target = state_at(body.target_feature, encoding, "target_feature")
    tenant = caller_of(request).principal.tenant
    with services.store.read(tenant) as tx:
        found = services.planning.act(
            tx,
            Namespace(body.namespace),
            state,
            target,
            running=body.option_id,
            threshold=body.similarity_thresh,
            top_k=body.top_k,
            mode=body.mode,
            at_once=haste,
        )
    if found.option is not None and found.option.source == "discovered":
        services.uses.note(tenant, Namespace(body.namespace), [found.option.option_id])
    reason = found.decision.reason
    services.metrics.acts.labels("action" if reason is None else reason.value).inc()
    return json_response(present.doing(found, encoding.roles))


@router.get("/oak/states", operation_id="state_list", response_model=a.StateList, responses=refusals(404))
def state_list(
    request: Request,
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
    limit: Limit = PAGE_DEFAULT,
    cursor: StateCursor = None,
) -> Response:
    """Lists abstract states by number."""
    services, world = services_of(request), Namespace(namespace)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        found = tx.prototypes(world, first=state_after(cursor) + 1, limit=limit + 1)
        record = tx.namespace(world)
    page = found[:limit]
    return json_response(
        {
            "states": [present.state_summary(stored) for stored in page],
            "next_cursor": state_cursor(page[-1].prototype.number) if len(found) > limit else None,
            "model_version": 0 if record is None else record.model_version,
        }
    )


@router.get(
    "/oak/state/{prototype}", operation_id="state_get", response_model=a.StateDetail, responses=refusals(*NAMED)
)
def state_get(
    request: Request,
    prototype: Annotated[int, Path(ge=0, le=NUMBER_MAX, description="The state's number.")],
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
) -> Response:
    """An abstract state, and what each option is known to do from there."""
    services, world = services_of(request), Namespace(namespace)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        found = tx.prototypes(world, first=prototype, limit=1)
        record = tx.namespace(world)
        if record is None or not found or found[0].prototype.number != prototype:
            message = f"there is no state {prototype} in namespace {namespace}"
            raise NotFoundError(message)
        seen = services.planning.world(tx, world)
        rows = rows_of_state(tx, world, seen, prototype)
        states = {number: seen.index.state(number) for number in named_prototypes(rows)}
    options = [
        {
            "option_id": known.row.option_id,
            "outcomes": present.outcomes(known.row, states),
            "duration": rounded(known.row.duration),
            "reward": rounded(known.row.reward),
            "utility": rounded(known.utility),
            "executions": known.row.executions,
            "source": known.source,
        }
        for known in rows
    ]
    return json_response({**present.state_summary(found[0]), "options": options, "model_version": record.model_version})


@router.get("/oak/namespaces", operation_id="namespace_list", response_model=a.NamespaceList, responses=refusals(404))
def namespace_list(request: Request) -> Response:
    """The tenant's namespaces that hold something."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        return json_response(present.namespaces([record for record in tx.namespaces() if not is_empty(record)]))


@router.delete(
    "/oak/namespace/{namespace}",
    operation_id="namespace_delete",
    status_code=204,
    response_class=Response,
    responses=refusals(*NAMED, 409),
)
def namespace_delete(request: Request, namespace: NamespacePath, idempotency_key: IdempotencyKey = None) -> Response:
    """Deletes all that a namespace holds; its journal stays."""

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        services.manager.delete_namespace(tx, Namespace(namespace), stamp)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return write(request, idempotency_key, work)


@router.get(
    "/oak/model",
    operation_id="model_export",
    response_class=Response,
    responses={
        **refusals(404),
        200: {"description": "The model.", "content": {"application/json": {"schema": MODEL}}},
    },
)
def model_export(request: Request, namespace: NamespaceQuery = DEFAULT_NAMESPACE) -> Response:
    """Exports a namespace's whole model, in RFC 8785 form, floats exact."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        content = export_model(tx, Namespace(namespace), services.limits.dimension)
    return Response(content, media_type="application/json")


@router.put(
    "/oak/model",
    operation_id="model_import",
    response_model=a.ImportAnswer,
    responses=refusals(404, 409, *WITH_BODY),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": MODEL}}}},
)
def model_import(
    request: Request,
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
    mode: Annotated[Literal["empty", "replace"], Query(description="`replace`: in place of what is there.")] = "empty",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Imports a model that was exported, into an empty namespace or in place of what one holds."""
    services = services_of(request)
    model = parse_model(orjson.loads(caller_of(request).body), services.limits.dimension)

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        version = import_model(
            tx,
            Namespace(namespace),
            model,
            stamp,
            manager=services.manager,
            limits=services.limits,
            replacing=mode == "replace",
        )
        return json_response(
            {
                "prototypes": len(model.prototypes),
                "options": len(model.options),
                "rows": len(model.rows),
                "model_version": version,
            }
        )

    return write(request, idempotency_key, work)


@events_router.get("/events", operation_id="event_list", response_model=a.EventList, responses=refusals())
def event_list(
    request: Request,
    after: Annotated[int, Query(ge=0, le=SAFE_INTEGER, description="`next` of the answer before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_MAX, description="Most events of an answer.")] = PAGE_DEFAULT,
) -> Response:
    """The tenant's journal, oldest first."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        entries = tx.changes(after=after, limit=limit + 1)
    page = entries[:limit]
    return json_response(
        {
            "events": [present.event(entry) for entry in page],
            "next": page[-1].sequence if page else after,
            "more": len(entries) > limit,
        }
    )
