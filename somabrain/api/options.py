"""Routes: declare options, look them up, record their runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Header, Query, Request, Response

from somabrain.api import answers as a
from somabrain.api import present
from somabrain.api.guard import caller_of
from somabrain.api.pages import (
    DEFAULT_NAMESPACE,
    PAGE_DEFAULT,
    Limit,
    NamespaceQuery,
    OptionCursor,
    StateCursor,
    option_after,
    option_cursor,
    state_after,
    state_cursor,
)
from somabrain.api.routing import ETAG, LOCATION, NAMED, WITH_BODY, OptionPath, guarded_router, location, refusals
from somabrain.api.schemas import ExecutionBatch, ExecutionBody, OptionCreate, OptionReplace, SearchBody
from somabrain.api.services import Services, services_of
from somabrain.api.states import state_at
from somabrain.api.writes import IdempotencyKey, json_response, rounded, write
from somabrain.errors import InvalidRequestError, SomabrainError
from somabrain.oak.changes import Stamp
from somabrain.oak.model import Option, OptionSpec, Source, Status
from somabrain.oak.rows import named_prototypes, rows_of_option
from somabrain.ports import WriteTransaction
from somabrain.tenancy import Namespace

router = guarded_router("options")

IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=1024, description='The version that the option must have: `"3"`, or `*`.'),
]


LINKS = {
    operation: {"operationId": operation, "parameters": {"option_id": "$response.body#/option_id"}}
    for operation in ("option_get", "option_replace", "option_model_get", "execution_record")
}
"""What can be asked of an option that was created."""


@router.post(
    "/oak/option/create",
    operation_id="option_create",
    status_code=201,
    response_model=a.OptionAnswer,
    responses={**refusals(404, 409, *WITH_BODY), 201: {"headers": {**ETAG, **LOCATION}, "links": LINKS}},
)
def option_create(request: Request, body: OptionCreate, idempotency_key: IdempotencyKey = None) -> Response:
    """Declares an option."""
    services = services_of(request)
    spec = _spec(services, body)

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        option_id = body.option_id or services.new_event_id()
        option, _ = services.manager.create(tx, Namespace(body.namespace), option_id, spec, stamp)
        services.metrics.options_created.inc()
        return _option_response(
            services, option, HTTPStatus.CREATED, location(f"/oak/option/{option_id}", body.namespace)
        )

    return write(request, idempotency_key, work)


@router.get(
    "/oak/option/{option_id}",
    operation_id="option_get",
    response_model=a.OptionAnswer,
    responses={**refusals(*NAMED), 200: {"headers": ETAG}},
)
def option_get(request: Request, option_id: OptionPath, namespace: NamespaceQuery = DEFAULT_NAMESPACE) -> Response:
    """Reads an option, active or retired."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        return _option_response(services, services.manager.get(tx, Namespace(namespace), option_id))


@router.put(
    "/oak/option/{option_id}",
    operation_id="option_replace",
    response_model=a.OptionAnswer,
    responses={**refusals(*NAMED, 409, 412, *WITH_BODY), 200: {"headers": ETAG}},
)
def option_replace(
    request: Request,
    option_id: OptionPath,
    body: OptionReplace,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Replaces what was declared; another policy, termination, target or γ starts the option's rows afresh."""
    services = services_of(request)
    if body.option_id is not None and body.option_id != option_id:
        message = f"option_id: the path says {option_id!r}"
        raise InvalidRequestError(message, loc=("option_id",))
    spec = _spec(services, body)

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        option = services.manager.replace(
            tx, Namespace(body.namespace), option_id, spec, stamp, expected_versions=_versions(if_match)
        )
        services.metrics.options_updated.inc()
        return _option_response(services, option)

    return write(request, idempotency_key, work)


@router.delete(
    "/oak/option/{option_id}",
    operation_id="option_retire",
    status_code=204,
    response_class=Response,
    responses=refusals(*NAMED, 409),
)
def option_retire(
    request: Request,
    option_id: OptionPath,
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Retires an option: kept, not planned. Again: nothing changes."""

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        services.manager.retire(tx, Namespace(namespace), option_id, stamp)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return write(request, idempotency_key, work)


@router.get("/oak/options", operation_id="option_list", response_model=a.OptionList, responses=refusals(404))
def option_list(
    request: Request,
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
    limit: Limit = PAGE_DEFAULT,
    cursor: OptionCursor = None,
    status: Annotated[Literal["active", "retired"] | None, Query()] = None,
    source: Annotated[Literal["declared", "discovered", "primitive"] | None, Query()] = None,
) -> Response:
    """Lists options by id."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        found = tx.options(
            Namespace(namespace),
            after=option_after(cursor),
            limit=limit + 1,
            status=None if status is None else Status(status),
            source=None if source is None else Source(source),
        )
    page = found[:limit]
    return json_response(
        {
            "options": [present.option(option, services.manager.tau_s(option)) for option in page],
            "next_cursor": option_cursor(page[-1].option_id) if len(found) > limit else None,
        }
    )


@router.get(
    "/oak/option/{option_id}/model",
    operation_id="option_model_get",
    response_model=a.OptionModel,
    responses=refusals(*NAMED),
)
def option_model_get(
    request: Request,
    option_id: OptionPath,
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
    limit: Limit = PAGE_DEFAULT,
    cursor: StateCursor = None,
) -> Response:
    """An option's rows: from each start, where it leads, how often, how long, and what it earns."""
    services, world = services_of(request), Namespace(namespace)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        option = services.manager.get(tx, world, option_id)
        known = services.planning.world(tx, world)
        rows = rows_of_option(tx, world, known, option, after=state_after(cursor), limit=limit + 1)
        starts = sorted({one.row.start for one in rows})
        page = [one for one in rows if one.row.start in starts[:limit]]
        states = {number: known.index.state(number) for number in named_prototypes(page)}
    return json_response(
        {
            "option_id": option_id,
            "policy_version": option.policy_version,
            "rows": [present.row(one, states) for one in page],
            "next_cursor": state_cursor(page[-1].row.start) if len(starts) > limit else None,
            "model_version": known.model_version,
        }
    )


@router.post(
    "/oak/option/search",
    operation_id="option_search",
    response_model=a.OptionHits,
    responses=refusals(404, *WITH_BODY),
)
def option_search(request: Request, body: SearchBody) -> Response:
    """The active options whose targets a state meets best."""
    services = services_of(request)
    query = state_at(body.query, services.encoding(body), "query")
    with services.store.read(caller_of(request).principal.tenant) as tx:
        hits = services.manager.search(
            tx, Namespace(body.namespace), query, top_k=body.top_k, min_similarity=body.min_similarity
        )
    return json_response(
        {
            "hits": [
                {
                    "option": present.option(hit.option, services.manager.tau_s(hit.option)),
                    "similarity": rounded(hit.similarity),
                }
                for hit in hits
            ]
        }
    )


@router.post(
    "/oak/option/{option_id}/execution",
    operation_id="execution_record",
    response_model=a.ExecutionAnswer,
    responses=refusals(*NAMED, 409, *WITH_BODY),
)
def execution_record(
    request: Request, option_id: OptionPath, body: ExecutionBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Records one run and learns from it."""
    run = body.execution(services_of(request).encoding(body))

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        with services.metrics.learning_latency.time():
            recorded = services.manager.record(tx, Namespace(body.namespace), option_id, run, stamp)
        return json_response(present.recorded(recorded))

    return write(request, idempotency_key, work)


@router.post(
    "/oak/executions",
    operation_id="execution_record_batch",
    response_model=a.ExecutionAnswers,
    responses=refusals(404, 409, *WITH_BODY),
)
def execution_record_batch(request: Request, body: ExecutionBatch, idempotency_key: IdempotencyKey = None) -> Response:
    """Records up to 1,000 runs in one transaction: all are learned from, in their order, or none."""
    encoding = services_of(request).encoding(body)
    runs = []
    for place, item in enumerate(body.executions):
        try:
            runs.append((item.option_id, item.execution(encoding)))
        except SomabrainError as error:
            raise error.within("executions", place) from None

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        with services.metrics.learning_latency.time():
            recorded = services.manager.record_batch(tx, Namespace(body.namespace), runs, stamp)
        return json_response({"results": [present.recorded(one) for one in recorded]})

    return write(request, idempotency_key, work)


def _spec(services: Services, body: OptionCreate) -> OptionSpec:
    settings = services.settings
    return body.spec(services.encoding(body), kappa=settings.kappa, gamma=settings.gamma, alpha=settings.alpha)


def _option_response(services: Services, option: Option, status: int = 200, where: str | None = None) -> Response:
    headers = {"ETag": f'"{option.version}"'}
    if where is not None:
        headers["Location"] = where
    return json_response(present.option(option, services.manager.tau_s(option)), status, headers)


def _versions(if_match: str | None) -> frozenset[int] | None:
    """The versions that If-Match allows (RFC 9110 §13.1.1); weak tags never match."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (tag.strip() for tag in if_match.split(","))
    return frozenset(int(tag[1:-1]) for tag in tags if tag.startswith('"') and tag[1:-1].isdecimal())
