"""The one place that knows every adapter: from settings to services."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from sqlalchemy import text

from common.config.settings import Settings
from libs.kafka_cog.avro_schemas import load_schemas
from somabrain.api.services import ApiSettings, Component, Services
from somabrain.app import Application, create_app
from somabrain.auth.anonymous import LoopbackAuthenticator
from somabrain.auth.keys import KEY_BYTES, KeyAuthenticator, create_key
from somabrain.auth.oidc import OidcAuthenticator
from somabrain.bootstrap import memory
from somabrain.bootstrap.clocks import clock_ms, clocks, new_event_id
from somabrain.bootstrap.oak import (
    Background,
    oak_limits,
    open_consolidation,
    open_consolidator,
    open_uses,
    open_worlds,
)
from somabrain.bootstrap.texts import open_embedder
from somabrain.errors import ConfigurationError, StoreUnavailableError
from somabrain.memory_client import MILVUS, Nearest, OpenedEngine, Projection
from somabrain.oak.changes import Stamp
from somabrain.oak.learning import ENCODER_ID
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planning import Planning
from somabrain.oak.predicting import PREDICTION_TTL_MS, Predicting
from somabrain.observability.gauges import OptionGauges
from somabrain.observability.metrics import Metrics, Together
from somabrain.outbox.feed import Pace
from somabrain.outbox.file import AvroFileSink
from somabrain.outbox.relay import Chore, Relay
from somabrain.policy.embedded import EmbeddedPolicy, policy_source
from somabrain.ports import Authenticator, Store
from somabrain.restoring import Restoring
from somabrain.store import RELAY, Census, Database, RelayPositions, SqlStore, database_url, leadership
from somabrain.tenancy import TenantId

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

RELAYING_ROLES = frozenset({"all", "worker"})
"""Values of SOMABRAIN_ROLE that hand events on (DESIGN §3)."""

EMBEDDER = "embedder"
"""What the embedder's id is recorded under in the database."""

RESTORER = "somabrain reconcile --from-milvus"
"""Who reports what was restored."""


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
        database.hold_to(
            {
                "MEMORY_DIM": str(settings.memory_dim),
                "encoder": ENCODER_ID,
                EMBEDDER: open_embedder(settings, database.recorded(EMBEDDER)).id,
            }
        )
        yield database
    finally:
        database.close()


def missing_database(settings: Settings) -> Path | None:
    """SQLite's file, where it is not there: opening the store would make an empty one."""
    scheme, found, path = database_url(settings.database_url, settings.somabrain_data_dir).partition("sqlite:///")
    return Path(path) if found and not scheme and not Path(path).exists() else None


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The system of record alone. Raises `ConfigurationError`."""
    with open_database(settings) as database:
        yield SqlStore(database)


@contextmanager
def held_projection(settings: Settings) -> Iterator[Projection]:
    """The projection to the vector engine, in the hands of this process alone. Raises `ConfigurationError`."""
    engine = _wanted_engine(settings)
    with open_database(settings) as database, memory.alone(database, engine, settings.database_timeout_s):
        held = memory.projection(settings, database, engine)
        try:
            yield held
        finally:
            held.close()


@contextmanager
def open_restore(settings: Settings) -> Iterator[Restoring]:
    """What fills an empty database from the vector engine. Raises `ConfigurationError`, and as `VectorEngine.open`."""
    engine, limits = _wanted_engine(settings), oak_limits(settings)
    with open_database(settings) as database, memory.alone(database, engine, settings.database_timeout_s):
        engine.engine.open()
        try:
            yield Restoring(
                store=SqlStore(database),
                engine=engine.engine,
                manager=OptionManager(limits=limits, worlds=open_worlds(settings)),
                limits=limits,
                stamp=Stamp(now_ms=clock_ms(), reported_by=RESTORER, new_event_id=new_event_id),
            )
        finally:
            engine.engine.close()


def _wanted_engine(settings: Settings) -> memory.Engine:
    engine = memory.vector_engine(settings, Metrics())
    if engine is None:
        message = f"MILVUS_URI: it is {memory.OFF}, so there is nothing to reconcile"
        raise ConfigurationError(message)
    return engine


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
        embedder = open_embedder(settings, database.recorded(EMBEDDER))
        embedder.warm()
        worlds, limits, metrics, store = open_worlds(settings), oak_limits(settings), Metrics(), SqlStore(database)
        manager = OptionManager(limits=limits, worlds=worlds)
        metrics.watch_graph_cache(lambda: worlds.bytes)
        metrics.register(_gauges(settings, database))
        consolidator = open_consolidator(settings, store, worlds)
        uses = stack.enter_context(open_uses(settings, store))
        running = _Running.begin(
            stack, settings, database, metrics, Background(consolidator=consolidator, manager=manager)
        )
        yield Services(
            settings=api_settings(settings),
            limits=limits,
            store=store,
            manager=manager,
            planning=Planning(
                worlds=worlds,
                manager=manager,
                similarity_threshold=settings.oak_similarity_threshold,
                max_options=settings.oak_plan_max_options,
            ),
            predicting=Predicting(manager=manager, confidence_z=settings.oak_confidence_z),
            consolidation=consolidator,
            uses=uses,
            recaller=memory.recaller(settings, store, running.nearest),
            embedder=embedder,
            authenticator=authenticator,
            authenticator_may_block=settings.auth_mode == "oidc",
            policy=policy,
            metrics=metrics,
            clock_ms=clock_ms,
            monotonic_s=time.perf_counter,
            new_event_id=new_event_id,
            components=lambda: [_database_state(database), *running.components()],
            committed=running.wake,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """What works in the background of this process, and the vector engine where this process can reach it."""

    relays: tuple[Relay, ...]
    nearest: Nearest | None
    projection: Projection | None = None

    @classmethod
    def begin(
        cls,
        stack: ExitStack,
        settings: Settings,
        database: Database,
        metrics: Metrics,
        oak: Background,
    ) -> _Running:
        """Starts what SOMABRAIN_ROLE asks for, until `stack` closes. Raises `ConfigurationError`."""
        engine = memory.vector_engine(settings, metrics)
        if settings.somabrain_role not in RELAYING_ROLES:
            server = (
                None
                if engine is None or engine.file is not None
                else OpenedEngine(engine.engine, wait_s=settings.milvus_timeout_s)
            )
            return cls(relays=(), nearest=server)
        relays = [stack.enter_context(open_relay(settings, database, metrics))]
        if settings.enable_oak:
            consolidation = open_consolidation(settings, database, oak, metrics, relays[0].wake)
            relays.append(stack.enter_context(consolidation))
        if engine is None:
            return cls(relays=tuple(relays), nearest=None)
        projection, feeder = stack.enter_context(memory.open_projection(settings, database, engine, metrics))
        nearest = (
            projection if engine.file is not None else OpenedEngine(engine.engine, wait_s=settings.milvus_timeout_s)
        )
        return cls(relays=(*relays, feeder), nearest=nearest, projection=projection)

    def wake(self) -> None:
        """Something was committed."""
        for relay in self.relays:
            relay.wake()

    def components(self) -> list[Component]:
        """Each relay's state, and whether Milvus holds what the database holds."""
        found = [
            Component(name=relay.name, ready=(state := relay.state()).alive, detail=str(state)) for relay in self.relays
        ]
        if self.projection is not None:
            agreed = self.projection.agreed
            detail = "holds what the database holds" if agreed else "not compared with the database"
            found.append(Component(name=MILVUS, ready=agreed, detail=detail, required=False))
        return found


@contextmanager
def open_relay(settings: Settings, database: Database, metrics: Metrics) -> Iterator[Relay]:
    """The running relay with the configured sinks; what is pending is published before it ends.

    Raises `ConfigurationError`.
    """
    store = SqlStore(database)
    relay = Relay(
        "relay",
        sinks=[] if settings.events_file is None else [AvroFileSink(settings.events_file, load_schemas())],
        positions=RelayPositions(database),
        leadership=leadership(database, RELAY),
        pace=Pace(
            batch=settings.relay_batch,
            interval_s=settings.relay_interval_s,
            linger_s=settings.relay_linger_s,
            backoff_max_s=settings.relay_backoff_max_s,
            rest=0.0,
        ),
        chores=[
            Chore(
                name="replies_expiry",
                interval_s=settings.relay_prune_interval_s,
                work=lambda: store.expire_replies(clock_ms()),
            ),
            Chore(
                name="predictions_expiry",
                interval_s=settings.relay_prune_interval_s,
                work=lambda: store.expire_predictions(clock_ms() - PREDICTION_TTL_MS),
            ),
            memory.expiry(settings, store),
        ],
        clocks=clocks(),
        metrics=metrics,
    )
    relay.start()
    try:
        yield relay
    finally:
        relay.stop(settings.shutdown_timeout_s)


def shared_metrics(settings: Settings, database: Database, folder: Path) -> CollectorRegistry:
    """What processes that count in `folder` have counted, in none of them."""
    registry = CollectorRegistry()
    for collector in (Together(folder), _gauges(settings, database)):
        registry.register(collector)
    return registry


def _gauges(settings: Settings, database: Database) -> OptionGauges:
    return OptionGauges(
        Census(database).figures,
        cache_s=settings.metrics_cache_s,
        tenants_max=settings.metrics_max_tenants,
        monotonic_s=time.monotonic,
    )


@contextmanager
def open_metrics_server(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serves /metrics alone on METRICS_HOST:METRICS_PORT. Raises `ConfigurationError` where that is taken."""
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry=registry)
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


def prove(settings: Settings) -> None:
    """Raises `ConfigurationError` for what is wrong with the policy, the keys or the tracing, and opens nothing."""
    EmbeddedPolicy(policy_source(settings.policy_path))
    open_authenticator(settings)
    make_app(settings)


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
