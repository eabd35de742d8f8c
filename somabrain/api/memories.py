"""Routes: remember, recall, look up, forget."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Request, Response

from somabrain.api import memory_answers as a
from somabrain.api import present
from somabrain.api.guard import caller_of
from somabrain.api.memory_schemas import RecallBody, RememberBatch, RememberBody, RememberItem
from somabrain.api.pages import DEFAULT_NAMESPACE, NamespaceQuery
from somabrain.api.routing import NAMED, WITH_BODY, guarded_router, location, refusals
from somabrain.api.services import Services, services_of
from somabrain.api.writes import IdempotencyKey, json_response, rounded, write
from somabrain.errors import SomabrainError
from somabrain.memory_client import NewMemory, forget, lookup, remember
from somabrain.oak.changes import Stamp
from somabrain.oak.model_document import OPTION_ID_PATTERN
from somabrain.ports import WriteTransaction
from somabrain.tenancy import Namespace

router = guarded_router("memories")

MemoryPath = Annotated[str, Path(pattern=OPTION_ID_PATTERN, description="The memory's id.")]

_MS_PER_S = 1000

LOCATION = {
    "Location": {"description": "Where the memory is.", "required": True, "schema": {"type": "string"}},
}
LINKS = {
    operation: {"operationId": operation, "parameters": {"memory_id": "$response.body#/memory_id"}}
    for operation in ("memory_get", "memory_forget")
}
"""What can be asked of a memory that was stored."""


@router.post(
    "/memory/remember",
    operation_id="memory_remember",
    status_code=201,
    response_model=a.MemoryAnswer,
    responses={**refusals(409, *WITH_BODY), 201: {"headers": LOCATION, "links": LINKS}},
)
def memory_remember(request: Request, body: RememberBody, idempotency_key: IdempotencyKey = None) -> Response:
    """Stores a memory; one of the same id is replaced."""
    services = services_of(request)
    began_s = services.monotonic_s()
    (new,) = _new(services, body, [body])

    def work(_services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        (memory,) = remember(tx, Namespace(body.namespace), [new], stamp)
        answer = present.memory(memory, body.namespace)
        return json_response(
            answer, HTTPStatus.CREATED, {"Location": location(f"/memory/{memory.memory_id}", body.namespace)}
        )

    response = write(request, idempotency_key, work)
    services.metrics.remember_latency.observe(services.monotonic_s() - began_s)
    return response


@router.post(
    "/memory/remember/batch",
    operation_id="memory_remember_batch",
    status_code=201,
    response_model=a.MemoryAnswers,
    responses=refusals(409, *WITH_BODY),
)
def memory_remember_batch(request: Request, body: RememberBatch, idempotency_key: IdempotencyKey = None) -> Response:
    """Stores up to 1,000 memories in one transaction, in their order: all, or none."""
    services = services_of(request)
    began_s = services.monotonic_s()
    new = _new(services, body, body.memories)

    def work(_services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        stored = remember(tx, Namespace(body.space), new, stamp)
        return json_response({"results": [present.memory(memory, body.space) for memory in stored]}, HTTPStatus.CREATED)

    response = write(request, idempotency_key, work)
    services.metrics.remember_latency.observe(services.monotonic_s() - began_s)
    return response


@router.post(
    "/memory/recall",
    operation_id="memory_recall",
    response_model=a.RecallAnswer,
    responses=refusals(*WITH_BODY),
)
def memory_recall(request: Request, body: RecallBody) -> Response:
    """The memories that are nearest to a state, best first. What was stored before is always among the candidates."""
    services = services_of(request)
    began_s = services.monotonic_s()
    text = body.words()
    query = body.asked(services.encoding(body, *([] if text is None else [text])), text)
    found = services.recaller.recall(
        caller_of(request).principal.tenant, Namespace(body.namespace), query, services.clock_ms()
    )
    took_s = services.monotonic_s() - began_s
    services.metrics.recall_latency.observe(took_s)
    return json_response(
        {
            "hits": [present.hit(memory, score, body.namespace) for memory, score in found.hits],
            "degraded": found.degraded,
            "took_ms": rounded(took_s * _MS_PER_S),
        }
    )


@router.get(
    "/memory/{memory_id}",
    operation_id="memory_get",
    response_model=a.MemoryAnswer,
    responses=refusals(*NAMED),
)
def memory_get(request: Request, memory_id: MemoryPath, namespace: NamespaceQuery = DEFAULT_NAMESPACE) -> Response:
    """Reads a memory."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        memory = lookup(tx, Namespace(namespace), memory_id, services.clock_ms())
    return json_response(present.memory(memory, namespace))


@router.delete(
    "/memory/{memory_id}",
    operation_id="memory_forget",
    status_code=204,
    response_class=Response,
    responses=refusals(*NAMED, 409),
)
def memory_forget(
    request: Request,
    memory_id: MemoryPath,
    namespace: NamespaceQuery = DEFAULT_NAMESPACE,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Deletes a memory."""

    def work(_services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        forget(tx, Namespace(namespace), memory_id, stamp)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return write(request, idempotency_key, work)


def _new(services: Services, body: RememberBody | RememberBatch, items: Sequence[RememberItem]) -> list[NewMemory]:
    encoding = services.encoding(body, *(item.content for item in items if item.vector is None))
    new = []
    for place, item in enumerate(items):
        try:
            new.append(item.new(encoding, services.new_event_id()))
        except SomabrainError as error:
            raise error.within(*(("memories", place) if isinstance(body, RememberBatch) else ())) from None
    return new
