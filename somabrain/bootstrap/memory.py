"""From settings to the services of memory: vector engine, projection, expiry, recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.config.settings import Settings
from somabrain.bootstrap.acceleration import ACCELERATOR
from somabrain.bootstrap.clocks import clock_ms, clocks, new_event_id
from somabrain.errors import ConfigurationError
from somabrain.memory.model import Weights
from somabrain.memory_client import MILVUS, Nearest, Paused, Projection, Recaller, RecallLimits, expire
from somabrain.milvus_client import DOCUMENT_BYTES_MAX, RESULT_ROWS_MAX, MilvusEngine, MilvusParameters
from somabrain.oak.changes import Stamp
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Pace
from somabrain.outbox.relay import Chore, Relay
from somabrain.ports import VectorEngine
from somabrain.store import PROJECTION, Database, FileLeadership, JointLeadership, RelayPositions, SqlStore, leadership
from somabrain.tenancy import Namespace, TenantId

OFF = "off"
"""The value of MILVUS_URI that asks for no vector engine."""

LITE_FILE = "milvus.db"
"""Milvus Lite's file under SOMABRAIN_DATA_DIR."""

LOCK_SUFFIX = ".lock"
"""What the lock file of Milvus Lite's file has after its name: only its holder opens the file (DESIGN §3)."""

EXPIRER = "somabrain"
"""Who reports that a memory has expired."""

EXPIRED_AT_ONCE = 1000
"""Most expired memories that are read at once."""

_MS_PER_S = 1000
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A vector engine; `file` is Milvus Lite's, `None` for a server."""

    engine: VectorEngine
    file: Path | None


def vector_engine(settings: Settings, metrics: Metrics) -> Engine | None:
    """The engine of MILVUS_URI, not open yet; `None` where there is to be none."""
    if settings.milvus_uri == OFF:
        return None
    server = "://" in settings.milvus_uri
    file = None if server else Path(settings.milvus_uri or settings.somabrain_data_dir / LITE_FILE)
    parameters = MilvusParameters(
        uri=settings.milvus_uri if file is None else str(file),
        token=settings.milvus_token,
        prefix=settings.milvus_collection_prefix,
        dimension=settings.memory_dim,
        index_type=settings.milvus_index_type,
        binary_bits=settings.milvus_binary_bits,
        nlist=settings.milvus_nlist,
        nprobe=settings.milvus_nprobe,
        m=settings.milvus_m,
        ef_construction=settings.milvus_ef_construction,
        ef=settings.milvus_ef,
        candidates=settings.milvus_candidates,
        timeout_s=settings.milvus_timeout_s,
        connect_timeout_s=settings.milvus_connect_timeout_s,
    )

    def observe(operation: str, result: str, seconds: float) -> None:
        metrics.milvus_latency.labels(operation, result).observe(seconds)

    return Engine(
        engine=MilvusEngine(parameters, monotonic_s=time.monotonic, sleep=time.sleep, observe=observe), file=file
    )


def projection(settings: Settings, database: Database, engine: Engine, *, breathing_s: float = 0.0) -> Projection:
    """The documents of all tenants in this engine; it waits `breathing_s` between pages of them."""
    store = SqlStore(database)
    return Projection(
        store=store,
        engine=engine.engine,
        tenants=store.tenants,
        dimension=settings.memory_dim,
        document_bytes_max=DOCUMENT_BYTES_MAX,
        page=settings.page_rows,
        disposable=engine.file is not None,
        positions=RelayPositions(database),
        breathe=lambda: time.sleep(breathing_s),
    )


@contextmanager
def alone(database: Database, engine: Engine, wait_s: float) -> Iterator[None]:
    """Makes this process the engine's only writer. Raises `ConfigurationError` where another goes on writing."""
    lock = projection_leadership(database, engine)
    deadline_s = time.monotonic() + wait_s
    while not lock.held():
        if time.monotonic() > deadline_s:
            message = "another process, a server perhaps, writes to Milvus: stop it first (it repairs Milvus by itself)"
            raise ConfigurationError(message)
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def open_projection(
    settings: Settings, database: Database, engine: Engine, metrics: Metrics
) -> Iterator[tuple[Projection, Relay]]:
    """The running projection and the relay that feeds it."""
    held = projection(settings, database, engine, breathing_s=settings.milvus_breathing_s)
    relay = Relay(
        "projection",
        sinks=[held],
        chores=[Chore(name="milvus_check", interval_s=settings.milvus_check_interval_s, work=held.check)],
        positions=RelayPositions(database),
        leadership=projection_leadership(database, engine),
        pace=Pace(
            batch=settings.milvus_batch,
            interval_s=settings.relay_interval_s,
            linger_s=settings.milvus_linger_s,
            backoff_max_s=settings.relay_backoff_max_s,
            rest=settings.milvus_rest,
        ),
        clocks=clocks(),
        metrics=metrics,
    )
    relay.start()
    try:
        yield held, relay
    finally:
        relay.stop(settings.shutdown_timeout_s)


def projection_leadership(database: Database, engine: Engine) -> JointLeadership:
    """Who writes to the engine: one process for each database, and one for each file of Milvus Lite."""
    locks = [leadership(database, PROJECTION)]
    if engine.file is not None:
        engine.file.parent.mkdir(parents=True, exist_ok=True)
        locks.append(FileLeadership(engine.file.with_name(engine.file.name + LOCK_SUFFIX)))
    return JointLeadership(*locks)


def recaller(settings: Settings, store: SqlStore, nearest: Nearest | None) -> Recaller:
    """Recall over this engine; `None`: over SQL alone."""
    reached = None
    if nearest is not None:
        reached = Paused(nearest, pause_s=settings.milvus_timeout_s, monotonic_s=time.monotonic)
    return Recaller(
        store=store,
        nearest=reached,
        projection=MILVUS,
        dimension=settings.memory_dim,
        weights=Weights(
            lexical=settings.recall_lexical_weight,
            importance=settings.recall_importance_weight,
            recency=settings.recall_recency_weight,
            half_life_ms=settings.recall_half_life_s * _MS_PER_S,
        ),
        limits=RecallLimits(
            exact_max=settings.recall_exact_max,
            candidates=settings.recall_candidates,
            proposals_max=RESULT_ROWS_MAX,
            staleness_ms=int(settings.milvus_staleness_s * _MS_PER_S),
            scan_deadline_s=settings.recall_scan_deadline_s,
            load_rows=settings.page_rows,
            namespaces_max=settings.recall_cache_namespaces,
        ),
        accelerate=ACCELERATOR.want,
        monotonic_s=time.monotonic,
    )


def expiry(settings: Settings, store: SqlStore, now_ms: Callable[[], int] = clock_ms) -> Chore:
    """Deletes memories whose time is over by this clock, with an event each."""

    def work() -> None:
        stamp = Stamp(now_ms=now_ms(), reported_by=EXPIRER, new_event_id=new_event_id)
        while found := store.expired_memories(stamp.now_ms, EXPIRED_AT_ONCE):
            over: dict[tuple[TenantId, Namespace], list[str]] = {}
            for tenant, namespace, memory_id in found:
                over.setdefault((tenant, namespace), []).append(memory_id)
            for (tenant, namespace), ids in over.items():
                with store.write(tenant) as tx:
                    expire(tx, namespace, ids, stamp)

    return Chore(name="memory_expiry", interval_s=settings.memory_expiry_interval_s, work=work)
