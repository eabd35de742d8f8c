"""The one place that knows every adapter: from settings to services."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import start_http_server
from sqlalchemy import text
from uuid_utils import uuid7

from common.config.settings import Settings
from libs.kafka_cog.avro_schemas import load_schemas
from somabrain.api.services import ApiSettings, Component, Services
from somabrain.app import Application, create_app
from somabrain.auth.anonymous import LoopbackAuthenticator
from somabrain.auth.keys import KEY_BYTES, KeyAuthenticator, create_key
from somabrain.auth.oidc import OidcAuthenticator
from somabrain.errors import ConfigurationError, StoreUnavailableError
from somabrain.oak.learning import ENCODER_ID, LearningParameters
from somabrain.oak.model import PlanParameters
from somabrain.oak.option_manager import Limits, OptionManager
from somabrain.oak.planning import Planning
from somabrain.oak.worlds import Worlds
from somabrain.observability.gauges import OptionGauges
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Clocks, Pace
from somabrain.outbox.file import AvroFileSink
from somabrain.outbox.relay import Relay
from somabrain.policy.embedded import EmbeddedPolicy, policy_source
from somabrain.ports import Authenticator, Store
from somabrain.store import Census, Database, RelayPositions, SqlStore, database_url, relay_leadership
from somabrain.tenancy import TenantId

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

RELAYING_ROLES = frozenset({"all", "worker"})
"""Values of SOMABRAIN_ROLE that hand events on (DESIGN §3)."""

_MS_PER_S = 1000


def clock_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // (_MS_PER_S * _MS_PER_S)


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7)."""
    return str(uuid7())


def learning_parameters(settings: Settings) -> LearningParameters:
    """What learning in a new namespace will depend on."""
    return LearningParameters(
        state_similarity=settings.oak_state_similarity,
        similarity_threshold=settings.oak_similarity_threshold,
        time_price=settings.oak_time_price,
        loss_price=settings.oak_loss_price,
    )


def oak_limits(settings: Settings) -> Limits:
    """The limits of the option layer."""
    return Limits(
        dimension=settings.memory_dim,
        learning=learning_parameters(settings),
        options_max=settings.oak_max_options,
        prototypes_max=settings.oak_max_prototypes,
        tau_min_s=settings.oak_tau_min,
        tau_max_s=settings.oak_tau_max,
    )


def plan_parameters(settings: Settings) -> PlanParameters:
    """The planner's limits and prices."""
    return PlanParameters(
        min_probability=settings.oak_min_probability,
        time_price=settings.oak_time_price,
        confidence_z=settings.oak_confidence_z,
        replan_gap=settings.oak_replan_gap,
        policy_sweeps_max=settings.oak_policy_sweeps_max,
    )


def open_worlds(settings: Settings) -> Worlds:
    """An empty cache of namespaces."""
    return Worlds(
        dimension=settings.memory_dim,
        parameters=plan_parameters(settings),
        namespaces_max=settings.oak_graph_cache_namespaces,
        goal_sets_max=settings.oak_goal_cache_sets,
    )


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The prepared database. Raises `ConfigurationError`."""
    database = Database(
        database_url(settings.database_url, settings.somabrain_data_dir),
        pool_size=settings.database_pool_size,
        timeout_s=settings.database_timeout_s,
    )
    try:
        database.prepare()
        database.hold_to({"MEMORY_DIM": str(settings.memory_dim), "encoder": ENCODER_ID})
        yield database
    finally:
        database.close()


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The system of record alone. Raises `ConfigurationError`."""
    with open_database(settings) as database:
        yield SqlStore(database)


def new_key(path: Path, *, tenant: TenantId, subject: str, roles: Sequence[str], expires_at: datetime | None) -> str:
    """Makes a key, keeps its SHA-256 in the file, and returns it. Raises `ConfigurationError`."""
    return create_key(
        path,
        tenant=tenant,
        subject=subject,
        roles=roles,
        expires_at=expires_at,
        now=datetime.now(UTC),
        entropy=secrets.token_bytes(KEY_BYTES),
    )


def open_authenticator(settings: Settings) -> Authenticator:
    """How callers are known. Raises `ConfigurationError`."""
    if settings.auth_mode == "none":
        return LoopbackAuthenticator()
    if settings.auth_mode == "keys":
        assert settings.somabrain_keys_file is not None
        return KeyAuthenticator(settings.somabrain_keys_file, wall=time.time, monotonic=time.monotonic)
    return OidcAuthenticator(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        tenant_claim=settings.oidc_tenant_claim,
        leeway_s=settings.oidc_leeway_s,
        keys_ttl_s=settings.oidc_keys_ttl_s,
        keys_cooldown_s=settings.oidc_keys_cooldown_s,
        timeout_s=settings.oidc_timeout_s,
        wall=time.time,
        monotonic=time.monotonic,
    )


@contextmanager
def open_services(settings: Settings) -> Iterator[Services]:
    """Everything that the application asks for. Raises `ConfigurationError`."""
    with ExitStack() as stack:
        policy = EmbeddedPolicy(policy_source(settings.policy_path))
        authenticator = open_authenticator(settings)
        database = stack.enter_context(open_database(settings))
        worlds, limits, metrics = open_worlds(settings), oak_limits(settings), Metrics()
        manager = OptionManager(limits=limits, worlds=worlds)
        metrics.register(
            OptionGauges(
                Census(database).figures,
                cache_s=settings.metrics_cache_s,
                tenants_max=settings.metrics_max_tenants,
                monotonic_s=time.monotonic,
            )
        )
        relay = None
        if settings.somabrain_role in RELAYING_ROLES:
            relay = stack.enter_context(open_relay(settings, database, metrics))
        yield Services(
            settings=api_settings(settings),
            limits=limits,
            store=SqlStore(database),
            manager=manager,
            planning=Planning(
                worlds=worlds,
                manager=manager,
                similarity_threshold=settings.oak_similarity_threshold,
                max_options=settings.oak_plan_max_options,
            ),
            authenticator=authenticator,
            authenticator_may_block=settings.auth_mode == "oidc",
            policy=policy,
            metrics=metrics,
            clock_ms=clock_ms,
            monotonic_s=time.perf_counter,
            new_event_id=new_event_id,
            components=lambda: [_database_state(database), *([] if relay is None else [_relay_state(relay)])],
            committed=(lambda: None) if relay is None else relay.wake,
        )


@contextmanager
def open_relay(settings: Settings, database: Database, metrics: Metrics) -> Iterator[Relay]:
    """The running relay with the configured sinks; what is pending is published before it ends.

    Raises `ConfigurationError`.
    """
    relay = Relay(
        sinks=[] if settings.events_file is None else [AvroFileSink(settings.events_file, load_schemas())],
        positions=RelayPositions(database),
        store=SqlStore(database),
        leadership=relay_leadership(database),
        pace=Pace(
            batch=settings.relay_batch,
            interval_s=settings.relay_interval_s,
            linger_s=settings.relay_linger_s,
            backoff_max_s=settings.relay_backoff_max_s,
            prune_interval_s=settings.relay_prune_interval_s,
        ),
        clocks=Clocks(wall_ms=clock_ms, monotonic_s=time.monotonic),
        metrics=metrics,
    )
    relay.start()
    try:
        yield relay
    finally:
        relay.stop(settings.shutdown_timeout_s)


@contextmanager
def open_metrics_server(settings: Settings, services: Services) -> Iterator[None]:
    """Serves /metrics alone on METRICS_HOST:METRICS_PORT. Raises `ConfigurationError` where that is taken."""
    try:
        server, thread = start_http_server(
            settings.metrics_port, settings.metrics_host, registry=services.metrics.registry
        )
    except OSError as error:
        message = (
            f"METRICS_HOST, METRICS_PORT: can't listen on {settings.metrics_host}:{settings.metrics_port}: "
            f"{error.strerror}"
        )
        raise ConfigurationError(message) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def api_settings(settings: Settings) -> ApiSettings:
    """The settings of the HTTP edge."""
    return ApiSettings(
        oak_enabled=settings.enable_oak,
        gamma=settings.oak_gamma,
        alpha=settings.oak_alpha,
        kappa=settings.oak_kappa,
        body_max_bytes=settings.body_max_bytes,
        body_batch_max_bytes=settings.body_batch_max_bytes,
        body_model_max_bytes=settings.body_model_max_bytes,
        idempotency_ttl_s=settings.idempotency_ttl_s,
        requests_per_minute=settings.policy_requests_per_minute,
        metrics_on_main_port=settings.loopback,
        serves_requests=settings.somabrain_role != "worker",
    )


def make_app(settings: Settings) -> Application:
    """The application of these settings; nothing is open yet. Raises `ConfigurationError`."""
    return application(settings, lambda: open_services(settings))


def application(settings: Settings, opened: Callable[[], AbstractContextManager[Services]]) -> Application:
    """The application of these settings over services that `opened` gives. Raises `ConfigurationError`."""
    return create_app(opened, api_settings(settings), settings.memory_dim, _tracer_provider(settings))


def _tracer_provider(settings: Settings) -> TracerProvider | None:
    if not settings.otel_exporter_otlp_endpoint:
        return None
    from somabrain.observability.tracing import tracer_provider  # noqa: PLC0415 - a fifth of the start, rarely wanted

    return tracer_provider(settings.otel_exporter_otlp_endpoint, version("somabrain"))


def _database_state(database: Database) -> Component:
    kind = "sqlite" if database.sqlite else "postgresql"
    try:
        with database.reading() as connection:
            connection.execute(text("SELECT 1"))
    except StoreUnavailableError as error:
        return Component(name="database", ready=False, detail=f"{kind}: {error.__cause__}")
    return Component(name="database", ready=True, detail=kind)


def _relay_state(relay: Relay) -> Component:
    state = relay.state()
    return Component(name="relay", ready=state.alive, detail=str(state))
