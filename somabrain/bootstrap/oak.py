"""The option layer put together: its limits, its caches, and the consolidation in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from common.config.settings import Settings
from somabrain.bootstrap.acceleration import ACCELERATOR, BESIDE
from somabrain.bootstrap.clocks import clock_ms, clocks, new_event_id
from somabrain.oak.building import BuildParameters
from somabrain.oak.changes import Stamp
from somabrain.oak.consolidating import CONSOLIDATOR, DEFECTS, Consolidator
from somabrain.oak.keeping import Uses, retire_unused
from somabrain.oak.learning import LearningParameters
from somabrain.oak.model import PlanParameters
from somabrain.oak.option_manager import Limits, OptionManager
from somabrain.oak.world import Begin, LocalSettings
from somabrain.oak.worlds import Worlds
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Pace
from somabrain.outbox.relay import Chore, Relay
from somabrain.store import CONSOLIDATION, Database, RelayPositions, SqlStore, leadership


def learning_parameters(settings: Settings) -> LearningParameters:
    """What learning in a new namespace will depend on."""
    return LearningParameters(
        state_similarity=settings.oak_state_similarity,
        similarity_threshold=settings.oak_similarity_threshold,
        time_price=settings.oak_time_price,
        loss_price=settings.oak_loss_price,
        reward_threshold=settings.oak_reward_threshold,
        novelty_threshold=settings.oak_novelty_threshold,
        success_reward=settings.oak_success_reward,
    )


def oak_limits(settings: Settings) -> Limits:
    """The limits of the option layer."""
    return Limits(
        dimension=settings.memory_dim,
        learning=learning_parameters(settings),
        options_max=settings.oak_max_options,
        prototypes_max=settings.oak_max_prototypes,
        actions_max=settings.oak_max_actions,
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


def open_worlds(settings: Settings, beside: Begin = BESIDE.begin) -> Worlds:
    """An empty cache of namespaces."""
    return Worlds(
        dimension=settings.memory_dim,
        parameters=plan_parameters(settings),
        local=LocalSettings(
            radius=settings.oak_local_radius,
            states_max=settings.oak_local_states,
            gamma=settings.oak_gamma,
            kappa=settings.oak_kappa,
            prediction_weight=settings.oak_prediction_weight,
        ),
        accelerate=ACCELERATOR.want,
        beside=beside,
        namespaces_max=settings.oak_graph_cache_namespaces,
        bytes_max=settings.oak_graph_cache_bytes,
        goal_sets_max=settings.oak_goal_cache_sets,
    )


def build_parameters(settings: Settings) -> BuildParameters:
    """What discovered options are made with."""
    return BuildParameters(
        radius=settings.oak_option_radius,
        states_max=settings.oak_local_states,
        gamma=settings.oak_gamma,
        kappa=settings.oak_kappa,
        alpha=settings.oak_alpha,
        match_similarity=settings.oak_match_similarity,
        options_max=settings.oak_max_options,
        tau_min_s=settings.oak_tau_min,
        tau_max_s=settings.oak_tau_max,
    )


def open_consolidator(settings: Settings, store: SqlStore, worlds: Worlds) -> Consolidator:
    """Asks for consolidations, waits for them, and runs them."""
    return Consolidator(
        store=store,
        worlds=worlds,
        parameters=build_parameters(settings),
        batch=settings.oak_consolidation_batch,
        pause_s=settings.oak_consolidation_interval_s,
        clock_ms=clock_ms,
        monotonic_s=time.monotonic,
        sleep=time.sleep,
        new_event_id=new_event_id,
    )


@contextmanager
def open_uses(settings: Settings, store: SqlStore) -> Iterator[Uses]:
    """What plans use, written every OAK_USE_FLUSH_S and at the end."""
    uses, ended = Uses(store=store, clock_ms=clock_ms), threading.Event()

    def write() -> None:
        while not ended.wait(settings.oak_use_flush_s):
            uses.flush()
        uses.flush()

    thread = threading.Thread(target=write, name="uses", daemon=True)
    thread.start()
    try:
        yield uses
    finally:
        ended.set()
        thread.join(settings.shutdown_timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """The use cases that work in the background."""

    consolidator: Consolidator
    manager: OptionManager


@contextmanager
def open_consolidation(
    settings: Settings,
    database: Database,
    oak: Background,
    metrics: Metrics,
    committed: Callable[[], None],
) -> Iterator[Relay]:
    """The running background consolidation, which also ends what nobody uses; `committed` is called after each run."""
    store = SqlStore(database)

    def retire() -> None:
        stamp = Stamp(now_ms=clock_ms(), reported_by=CONSOLIDATOR, new_event_id=new_event_id)
        if retire_unused(store, oak.manager, store.tenants(), stamp):
            committed()

    def work() -> None:
        for tenant, namespace in store.due_consolidations(settings.oak_consolidate_episodes):
            ACCELERATOR.wait()
            try:
                with metrics.consolidation_latency.time():
                    oak.consolidator.run(tenant, namespace)
            except DEFECTS:  # recorded with the namespace; others are not to wait for it
                structlog.get_logger().exception("consolidation_failed", tenant=str(tenant), namespace=str(namespace))
            committed()

    relay = Relay(
        "consolidation",
        sinks=[],
        chores=[
            Chore(name="consolidation", interval_s=settings.oak_consolidation_interval_s, work=work),
            Chore(name="retention", interval_s=settings.oak_retention_interval_s, work=retire),
        ],
        positions=RelayPositions(database),
        leadership=leadership(database, CONSOLIDATION),
        pace=Pace(
            batch=settings.relay_batch,
            interval_s=settings.oak_consolidation_interval_s,
            linger_s=settings.relay_linger_s,
            backoff_max_s=settings.relay_backoff_max_s,
            rest=0.0,
        ),
        clocks=clocks(),
        metrics=metrics,
    )
    relay.start()
    try:
        yield relay
    finally:
        relay.stop(settings.shutdown_timeout_s)
