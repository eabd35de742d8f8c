"""What the routes work with. `somabrain.bootstrap` fills it; nothing here opens anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from pydantic import BaseModel

from somabrain.api.states import Encoding, encoding_of
from somabrain.memory_client import Recaller
from somabrain.oak.changes import Stamp
from somabrain.oak.consolidating import Consolidator
from somabrain.oak.keeping import Uses
from somabrain.oak.option_manager import Limits, OptionManager
from somabrain.oak.planning import Planning
from somabrain.oak.predicting import Predicting
from somabrain.observability.metrics import Metrics
from somabrain.ports import Authenticator, Embedder, Policy, Principal, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The settings that the edge itself holds to."""

    oak_enabled: bool
    gamma: float
    alpha: float
    kappa: float
    body_max_bytes: int
    body_batch_max_bytes: int
    body_model_max_bytes: int
    idempotency_ttl_s: int
    requests_per_minute: int
    metrics_on_main_port: bool
    serves_requests: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of the service and whether it works; requests can be served while those that are required do."""

    name: str
    ready: bool
    detail: str
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the routes ask for."""

    settings: ApiSettings
    limits: Limits
    store: Store
    manager: OptionManager
    planning: Planning
    predicting: Predicting
    consolidation: Consolidator
    uses: Uses
    recaller: Recaller
    embedder: Embedder
    authenticator: Authenticator
    authenticator_may_block: bool
    policy: Policy
    metrics: Metrics
    clock_ms: Callable[[], int]
    monotonic_s: Callable[[], float]
    new_event_id: Callable[[], str]
    components: Callable[[], list[Component]]
    committed: Callable[[], None]
    """Called after each commit: there is something for the relay."""

    def encoding(self, body: BaseModel, *texts: str, at_once: bool = False) -> Encoding:
        """How the states in `body` and these texts become vectors. Raises as `encoding_of`."""
        return encoding_of(self.embedder, self.limits.dimension, body, *texts, at_once=at_once)

    def stamp(self, principal: Principal) -> Stamp:
        """Now, by this principal."""
        return Stamp(now_ms=self.clock_ms(), reported_by=principal.subject, new_event_id=self.new_event_id)


def services_of(request: Request) -> Services:
    """The services of the running application."""
    services: Services = request.app.state.services
    return services
