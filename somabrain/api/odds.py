"""Routes: the odds of a run that is under way, and how such odds did."""

from __future__ import annotations

from fastapi import Request, Response

from somabrain.api import odds_answers as a
from somabrain.api import present_odds as present
from somabrain.api.guard import at_once, caller_of
from somabrain.api.odds_schemas import AgentQuery, PredictBody
from somabrain.api.pages import DEFAULT_NAMESPACE, NamespaceQuery
from somabrain.api.routing import WITH_BODY, guarded_router, refusals
from somabrain.api.services import services_of
from somabrain.api.states import state_at
from somabrain.api.writes import json_response
from somabrain.oak.predicting import Asked
from somabrain.tenancy import Namespace

router = guarded_router("odds")


@router.post(
    "/oak/predict", operation_id="predict", response_model=a.PredictAnswer, responses=refusals(404, *WITH_BODY)
)
def predict(request: Request, body: PredictBody) -> Response:
    """The odds that a run succeeds which is in this state now, from how runs before it ended.

    With an `episode_id` they are kept, and scored when its outcome comes: see `/oak/calibration`.
    """
    services, world = services_of(request), Namespace(body.namespace)
    haste, target = at_once(request), body.target_feature
    encoding = body.bound(services.encoding(body, at_once=haste))
    asked = Asked(
        state=state_at(body.state, encoding, "state"),
        target=None if target is None else state_at(target, encoding, "target_feature"),
        agent=body.agent,
        steps_taken=body.steps_taken,
        steps_left=body.steps_left,
    )
    began, tenant = services.monotonic_s(), caller_of(request).principal.tenant
    with services.store.read(tenant) as tx:
        found = services.predicting.predict(tx, world, asked, at_once=haste)
    if body.episode_id is not None:
        with services.store.write(tenant, durable=False, at_once=haste) as tx:
            services.predicting.keep(tx, world, body.episode_id, asked, found, now_ms=services.clock_ms())
    services.metrics.predict_latency.observe(services.monotonic_s() - began)
    services.metrics.predictions.labels(found.odds.basis).inc()
    return json_response(present.predicted(found, encoding.roles))


@router.get(
    "/oak/calibration",
    operation_id="calibration_get",
    response_model=a.CalibrationAnswer,
    responses=refusals(404),
)
def calibration_get(
    request: Request, namespace: NamespaceQuery = DEFAULT_NAMESPACE, agent: AgentQuery = None
) -> Response:
    """How the odds did that were told of episodes whose outcome came, and what stopping early would have saved."""
    services = services_of(request)
    with services.store.read(caller_of(request).principal.tenant) as tx:
        found = services.predicting.calibration(tx, Namespace(namespace), agent)
    return json_response(present.calibrated(found))
