"""The route that takes agents' logs as they are: each trace is converted or refused by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field, StrictBool, ValidationError

from somabrain.api import experience_answers as a
from somabrain.api import present_experience as present
from somabrain.api.errors import BY_CODE
from somabrain.api.experience import count_told
from somabrain.api.experience_schemas import EPISODES_MAX, EpisodeBatch, EpisodePart
from somabrain.api.routing import WITH_BODY, guarded_router, refusals
from somabrain.api.schemas import Namespaced
from somabrain.api.services import Services, services_of
from somabrain.api.writes import IdempotencyKey, json_response, write
from somabrain.errors import InvalidRequestError, SomabrainError, TraceTooLargeError
from somabrain.oak.changes import Stamp
from somabrain.oak.model import Episode
from somabrain.ports import WriteTransaction
from somabrain.tenancy import Namespace
from somabrain.traces import Format, converted, converted_spans, has_spans

router = guarded_router("experience")


class TraceBatch(Namespaced):
    """Agents' logs, each as its format has it. `format`: found out for each where it is left out.

    `arguments`: whether an action is a tool with its arguments, or the tool alone.
    """

    traces: Annotated[list[Any], Field(min_length=1, max_length=EPISODES_MAX)]
    format: Annotated[Format, Field(strict=False)] | None = None
    arguments: StrictBool = False


@dataclass(slots=True, kw_only=True)
class _Taken:
    """What became of trace number `trace`: an episode to learn from, or why not."""

    trace: int
    part: EpisodePart | None = None
    episode: Episode | None = None
    refusal: SomabrainError | None = None


@router.post(
    "/oak/traces",
    operation_id="trace_record_batch",
    response_model=a.TraceAnswers,
    responses=refusals(404, 409, *WITH_BODY),
)
def trace_record_batch(request: Request, body: TraceBatch, idempotency_key: IdempotencyKey = None) -> Response:
    """Learns from up to 100 agents' logs in one transaction; one that can't be converted is refused by itself."""
    services = services_of(request)
    found = _taken(body)
    parts = [one.part for one in found if one.part is not None]
    if len(parts) > EPISODES_MAX:
        raise TraceTooLargeError(f"{len(parts)} episodes, more than {EPISODES_MAX}", loc=("traces",))
    encoding = services.encoding(EpisodeBatch.model_construct(namespace=body.namespace, episodes=parts))
    for one in found:
        if one.part is not None:
            try:
                one.episode = one.part.episode(encoding)
            except SomabrainError as error:
                one.refusal = error

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        learned = [one for one in found if one.episode is not None]
        answers = iter(_recorded(services, tx, Namespace(body.namespace), learned, stamp))
        results = [
            {
                "trace": one.trace,
                "episode": next(answers) if one.episode is not None else None,
                "refusal": _told(one.refusal),
            }
            for one in found
        ]
        return json_response({"results": results})

    return write(request, idempotency_key, work)


def _taken(body: TraceBatch) -> list[_Taken]:
    """The traces in order. Spans are put together, since a trace's may stand in several documents."""
    spans = [
        number
        for number, document in enumerate(body.traces)
        if (body.format is None and has_spans(document)) or body.format is Format.OTLP
    ]
    found = [
        (spans[number], one)
        for number, one in converted_spans([body.traces[number] for number in spans], arguments=body.arguments)
    ]
    found += [
        (number, one)
        for number, document in enumerate(body.traces)
        if number not in spans
        for one in converted(document, body.format, arguments=body.arguments)
    ]
    return [_checked(number, one.body, one.refusal) for number, one in sorted(found, key=lambda entry: entry[0])]


def _checked(number: int, body: dict[str, Any] | None, refusal: SomabrainError | None) -> _Taken:
    if refusal is not None:
        return _Taken(trace=number, refusal=refusal)
    try:
        return _Taken(trace=number, part=EpisodePart.model_validate(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        kind = BY_CODE.get(first["type"], InvalidRequestError)
        return _Taken(trace=number, refusal=kind(f"{where}: {first['msg']}", loc=tuple(first["loc"])))


def _recorded(
    services: Services, tx: WriteTransaction, namespace: Namespace, learned: Sequence[_Taken], stamp: Stamp
) -> list[dict[str, Any]]:
    """The episodes' answers. Raises as `record_episodes`, located by the trace."""
    if not learned:
        return []
    known = tx.sequence()
    episodes = [
        ((one.part.episode_id if one.part else None) or services.new_event_id(), one.episode)
        for one in learned
        if one.episode is not None
    ]
    try:
        with services.metrics.learning_latency.time():
            reported = services.manager.record_episodes(tx, namespace, episodes, stamp)
    except SomabrainError as error:
        if error.loc[:1] == ("episodes",) and isinstance(error.loc[1], int):
            place, rest = error.loc[1], error.loc[2:]
            error.loc, error.detail = rest, error.detail.removeprefix(f"episodes.{place}: ")
            raise error.within("traces", learned[place].trace) from None
        raise
    told = [one.part.success if one.part is not None else None for one in learned]
    count_told(services, known, zip(reported, told, strict=True))
    return [present.episode(one) for one in reported]


def _told(refusal: SomabrainError | None) -> dict[str, Any] | None:
    if refusal is None:
        return None
    return {"code": refusal.code, "detail": refusal.detail, "loc": list(refusal.loc)}
