"""Routes: report episodes and their outcomes, ask for options to be worked out."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Request, Response

from somabrain.api import experience_answers as a
from somabrain.api import present_experience as present
from somabrain.api.experience_schemas import ConsolidateBody, EpisodeBatch, EpisodeBody, OutcomeBody
from somabrain.api.guard import caller_of
from somabrain.api.pages import DEFAULT_NAMESPACE, NamespaceQuery
from somabrain.api.routing import NAMED, WITH_BODY, EpisodePath, guarded_router, refusals
from somabrain.api.services import Services, services_of
from somabrain.api.writes import IdempotencyKey, json_response, write
from somabrain.errors import EpisodeNotFoundError, SomabrainError
from somabrain.oak.changes import Stamp
from somabrain.oak.diagnosis import diagnose
from somabrain.oak.episodes import Reported
from somabrain.oak.outcomes import Outcome, reported_request
from somabrain.ports import WriteTransaction
from somabrain.tenancy import Namespace

router = guarded_router("experience")


@router.post(
    "/oak/episode",
    operation_id="episode_record",
    response_model=a.EpisodeAnswer,
    responses=refusals(404, 409, *WITH_BODY),
)
def episode_record(request: Request, body: EpisodeBody, idempotency_key: IdempotencyKey = None) -> Response:
    """Learns from a trajectory of primitive actions; the same `episode_id` with the same body changes nothing."""
    services = services_of(request)
    episode = body.episode(services.encoding(body))

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        episode_id, known = body.episode_id or services.new_event_id(), tx.sequence()
        with services.metrics.learning_latency.time():
            reported = services.manager.record_episode(tx, Namespace(body.namespace), episode_id, episode, stamp)
        count_told(services, known, [(reported, body.success)])
        return json_response(present.episode(reported))

    return write(request, idempotency_key, work)


@router.post(
    "/oak/episodes",
    operation_id="episode_record_batch",
    response_model=a.EpisodeAnswers,
    responses=refusals(404, 409, *WITH_BODY),
)
def episode_record_batch(request: Request, body: EpisodeBatch, idempotency_key: IdempotencyKey = None) -> Response:
    """Learns from up to 100 trajectories in one transaction, in their order: from all, or from none."""
    services = services_of(request)
    encoding, episodes = services.encoding(body), []
    for place, item in enumerate(body.episodes):
        try:
            episodes.append((item.episode_id or services.new_event_id(), item.episode(encoding)))
        except SomabrainError as error:
            raise error.within("episodes", place) from None

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        known = tx.sequence()
        with services.metrics.learning_latency.time():
            reported: list[Reported] = services.manager.record_episodes(tx, Namespace(body.namespace), episodes, stamp)
        count_told(services, known, zip(reported, (item.success for item in body.episodes), strict=True))
        return json_response({"results": [present.episode(one) for one in reported]})

    return write(request, idempotency_key, work)


@router.post(
    "/oak/episode/{episode_id}/outcome",
    operation_id="episode_outcome",
    response_model=a.EpisodeOutcomeAnswer,
    responses=refusals(*NAMED, 409, *WITH_BODY),
)
def episode_outcome(
    request: Request, episode_id: EpisodePath, body: OutcomeBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Tells what became of an episode, once."""

    def work(services: Services, tx: WriteTransaction, stamp: Stamp) -> Response:
        told = Outcome(episode_id=episode_id, success=body.success, reward=float(body.reward or 0.0), model_version=0)
        return json_response(present.outcome(services.manager.tell_outcome(tx, Namespace(body.namespace), told, stamp)))

    return write(request, idempotency_key, work)


@router.get(
    "/oak/episode/{episode_id}",
    operation_id="episode_get",
    response_model=a.EpisodeReported,
    responses=refusals(*NAMED),
)
def episode_get(request: Request, episode_id: EpisodePath, namespace: NamespaceQuery = DEFAULT_NAMESPACE) -> Response:
    """What was reported."""
    services, world = services_of(request), Namespace(namespace)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        known = tx.experience.episode(world, episode_id)
        if known is None:
            message = f"there is no episode {episode_id!r} in namespace {namespace}"
            raise EpisodeNotFoundError(message)
        [entry] = tx.journal(after=known.sequence - 1, limit=1)
        told = None if known.outcome_sequence is None else reported_request(tx, known.outcome_sequence)
    return json_response(present.reported_episode(entry, told, known.outcome_sequence))


@router.post(
    "/oak/consolidate",
    operation_id="consolidate",
    response_model=a.ConsolidationAnswer,
    responses={**refusals(404, *WITH_BODY), 202: {"model": a.ConsolidationAnswer, "description": "Asked for."}},
)
def consolidate(request: Request, body: ConsolidateBody) -> Response:
    """Asks for options to be worked out from what is known now; with `wait` the answer comes when that is done."""
    services, world = services_of(request), Namespace(body.namespace)
    tenant = caller_of(request).principal.tenant
    wanted = services.consolidation.ask(tenant, world)
    services.committed()
    if body.wait:
        services.consolidation.wait(tenant, world, wanted, timeout_s=body.timeout_s)
    known = services.consolidation.standing(tenant, world)
    done = known.record.through >= wanted
    return json_response(present.consolidation(known), HTTPStatus.OK if done else HTTPStatus.ACCEPTED)


@router.get(
    "/oak/consolidation",
    operation_id="consolidation_get",
    response_model=a.ConsolidationAnswer,
    responses=refusals(404),
)
def consolidation_get(request: Request, namespace: NamespaceQuery = DEFAULT_NAMESPACE) -> Response:
    """How far the working out of options has come, and what the last run made."""
    services = services_of(request)
    tenant = caller_of(request).principal.tenant
    return json_response(present.consolidation(services.consolidation.standing(tenant, Namespace(namespace))))


@router.get("/oak/diagnosis", operation_id="diagnosis_get", response_model=a.DiagnosisAnswer, responses=refusals(404))
def diagnosis_get(request: Request, namespace: NamespaceQuery = DEFAULT_NAMESPACE) -> Response:
    """What makes this world hard to learn, each thing with a sentence of advice."""
    services, world = services_of(request), Namespace(namespace)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        record = services.manager.opened(tx, world)
        found = diagnose(tx, record, services.manager.states(tx, record))
    return json_response(present.diagnosis(found))


def count_told(services: Services, known: int, told: Iterable[tuple[Reported, bool | None]]) -> None:
    """Counts the episodes that journal rows above `known` tell, each once."""
    new = {reported.episode_id: success for reported, success in told if reported.model_version > known}
    for success in new.values():
        outcome = "unknown" if success is None else "success" if success else "failure"
        services.metrics.episodes.labels(outcome).inc()
