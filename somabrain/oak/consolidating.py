"""Consolidation in the background: asked for, due after many episodes, or cut short and due again (DESIGN §5.5).

A run reads one snapshot, saves models as it works them out, a few in each transaction, and publishes them in one
short one. Killed at any point it leaves the last build serving, and what it saved is written again by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from somabrain.oak.building import BuildParameters, Snapshot, chosen_targets, snapshot, works
from somabrain.oak.changes import Stamp
from somabrain.oak.consolidation import Work
from somabrain.oak.publishing import Built, current, publish
from somabrain.oak.worlds import Worlds
from somabrain.ports import Consolidation, Store
from somabrain.tenancy import Namespace, TenantId

DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a run may fail with that no other run would mend."""

CONSOLIDATOR = "somabrain"
"""Who reports what consolidation changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a namespace's consolidation has come. `episodes_since`: those that the last run did not know."""

    record: Consolidation
    state: Literal["idle", "queued", "running", "failed"]
    episodes_since: int


class Consolidator:
    """Works out options. `ask`, `standing` and `wait` from any thread; `run` from one thread in one process."""

    def __init__(
        self,
        *,
        store: Store,
        worlds: Worlds,
        parameters: BuildParameters,
        batch: int,
        pause_s: float,
        clock_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
        sleep: Callable[[float], None],
        new_event_id: Callable[[], str],
    ) -> None:
        """`batch` models are saved in one transaction; who waits looks every `pause_s`."""
        self._store = store
        self._worlds = worlds
        self._parameters = parameters
        self._batch = batch
        self._pause_s = pause_s
        self._clock_ms = clock_ms
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._new_event_id = new_event_id

    def ask(self, tenant: TenantId, namespace: Namespace) -> int:
        """Asks for options worked out from what is known now; returns the version that this is known by.

        0 where there is nothing to work out options from. Raises `StoreUnavailableError`.
        """
        with self._store.write(tenant) as tx:
            record = tx.namespace(namespace)
            if record is None or not record.actions:
                return 0
            known = tx.experience.consolidation(namespace)
            wanted = record.model_version
            if known.requested < wanted:
                tx.experience.save_consolidation(replace(known, requested=wanted, problem=None))
            return wanted

    def standing(self, tenant: TenantId, namespace: Namespace) -> Standing:
        """How far it has come. Raises `StoreUnavailableError`."""
        with self._store.read(tenant) as tx:
            record, known = tx.namespace(namespace), tx.experience.consolidation(namespace)
        state: Literal["idle", "queued", "running", "failed"] = "idle"
        if known.problem is not None:
            state = "failed"
        elif known.started_at_ms is not None and known.finished_at_ms is None:
            state = "running"
        elif known.requested > known.through:
            state = "queued"
        episodes = 0 if record is None else record.episodes
        return Standing(record=known, state=state, episodes_since=max(0, episodes - known.episodes))

    def wait(self, tenant: TenantId, namespace: Namespace, wanted: int, *, timeout_s: float) -> bool:
        """Waits until version `wanted` was consolidated; whether it was. Raises `StoreUnavailableError`.

        Waits no longer where a run failed, or where the namespace began anew: nobody asks for it any more.
        """
        until_s = self._monotonic_s() + timeout_s
        while True:
            with self._store.read(tenant) as tx:
                known = tx.experience.consolidation(namespace)
            given_up = known.requested < wanted or self._monotonic_s() >= until_s
            if known.through >= wanted or given_up:
                return known.through >= wanted
            self._sleep(self._pause_s)

    def run(self, tenant: TenantId, namespace: Namespace) -> Built | None:
        """One run; `None` where the namespace is gone or began anew meanwhile. Raises `StoreUnavailableError`.

        A defect is recorded as the namespace's problem, and raised; the next run is due when it is asked for, or after
        as many new episodes as any.
        """
        try:
            return self._run(tenant, namespace)
        except DEFECTS as error:
            self._failed(tenant, namespace, f"{type(error).__name__}: {error}")
            raise

    def _run(self, tenant: TenantId, namespace: Namespace) -> Built | None:
        started_s = self._monotonic_s()
        with self._store.read(tenant) as tx:
            record = tx.namespace(namespace)
            if record is None or not record.actions:
                return None
            states = self._worlds.index(tx, record)
            read = snapshot(tx, record, states, self._parameters)
        chosen = chosen_targets(read, self._parameters)
        taken = self._begin(tenant, read, len(chosen))
        if taken is None:
            return None
        done = self._saved(tenant, taken, works(taken, chosen, self._parameters))
        stamp = Stamp(now_ms=self._clock_ms(), reported_by=CONSOLIDATOR, new_event_id=self._new_event_id)
        with self._store.write(tenant) as tx:
            return publish(
                tx,
                taken,
                done,
                self._parameters,
                stamp,
                seconds=self._monotonic_s() - started_s,
            )

    def _begin(self, tenant: TenantId, taken: Snapshot, total: int) -> Snapshot | None:
        """The snapshot of a run that has begun, which makes runs before it void. `None` where this one is void."""
        started_at_ms = self._clock_ms()
        with self._store.write(tenant) as tx:
            known = current(tx, taken)
            if known is None:
                return None
            begun = replace(
                known,
                run=known.run + 1,
                done=0,
                total=total,
                started_at_ms=started_at_ms,
                finished_at_ms=None,
                problem=None,
            )
            tx.experience.save_consolidation(begun)
        return replace(taken, consolidation=replace(taken.consolidation, run=begun.run))

    def _saved(self, tenant: TenantId, taken: Snapshot, made: Iterable[Work]) -> list[Work]:
        """Works out the options, and saves those that are not copies as the next build, `batch` at a time.

        Stops where the run is void.
        """
        done: list[Work] = []
        waiting: list[Work] = []
        for work in made:
            done.append(work)
            waiting += [] if work.copied else [work]
            if len(waiting) >= self._batch:
                if not self._save(tenant, taken, waiting, len(done)):
                    return done
                waiting = []
        if waiting:
            self._save(tenant, taken, waiting, len(done))
        return done

    def _save(self, tenant: TenantId, taken: Snapshot, made: list[Work], done: int) -> bool:
        """Saves models and progress; whether the run is not void."""
        with self._store.write(tenant) as tx:
            known = current(tx, taken)
            if known is not None:
                tx.experience.save_models(known.namespace, known.build + 1, [work.model for work in made])
                tx.experience.save_consolidation(replace(known, done=done))
            return known is not None

    def _failed(self, tenant: TenantId, namespace: Namespace, problem: str) -> None:
        with self._store.write(tenant) as tx:
            record, known = tx.namespace(namespace), tx.experience.consolidation(namespace)
            if record is not None:
                tx.experience.save_consolidation(
                    replace(
                        known,
                        requested=known.through,
                        episodes=record.episodes,
                        finished_at_ms=self._clock_ms(),
                        problem=problem,
                    )
                )
