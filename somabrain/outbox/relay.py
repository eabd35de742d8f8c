"""The relay: one thread that hands the journal to the sinks, once for each database (DESIGN §3)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from somabrain.errors import StoreUnavailableError
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Clocks, Feed, Pace
from somabrain.ports import EventSink
from somabrain.store import Leadership, RelayPositions, SqlStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """What the relay is at: whether its thread runs and leads, what is pending (`None`: no sink), and what is wrong."""

    alive: bool
    leader: bool
    pending: int | None
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people."""
        role = "leader" if self.leader else "standby"
        pending = "no sink" if self.pending is None else f"{self.pending} pending"
        return ", ".join([role if self.alive else "ended", pending, *self.problems])


class Relay:
    """Publishes what was committed, and deletes idempotent answers that have expired.

    Works only while it holds the database's lock; another process's relay takes over when this one ends. With no sink
    it only deletes.
    """

    def __init__(
        self,
        *,
        sinks: Sequence[EventSink],
        positions: RelayPositions,
        store: SqlStore,
        leadership: Leadership,
        pace: Pace,
        clocks: Clocks,
        metrics: Metrics,
    ) -> None:
        """Nothing runs before `start`. The sinks and the lock are the relay's own from now on."""
        self._feeds = [Feed(sink, positions, pace=pace, clocks=clocks, metrics=metrics) for sink in sinks]
        self._store = store
        self._leadership = leadership
        self._pace = pace
        self._clocks = clocks
        self._log = structlog.get_logger()
        self._leader = False
        self._defect: str | None = None
        self._pruned_at_s: float | None = None
        self._stop_by_s: float | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        """Starts the thread. Once."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to publish. From any thread; never waits."""
        self._woken.set()

    def stop(self, timeout_s: float) -> None:
        """Publishes what is still pending, as far as that goes within `timeout_s`, and ends the thread.

        A sink that hangs for longer is left behind; what it did not confirm is published by the next relay.
        """
        self._stop_by_s = self._clocks.monotonic_s() + timeout_s
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._log.warning("relay_abandoned", timeout_s=timeout_s)

    def state(self) -> RelayState:
        """As of the last look, at most an interval ago."""
        problems = [f"{feed.name}: {feed.problem}" for feed in self._feeds if feed.problem is not None]
        return RelayState(
            alive=self._thread.is_alive(),
            leader=self._leader,
            pending=max((feed.pending for feed in self._feeds), default=None),
            problems=(*problems, *([] if self._defect is None else [self._defect])),
        )

    def _run(self) -> None:
        try:
            while True:
                self._woken.clear()
                last = self._stopping.is_set()
                if self._guarded_round():
                    continue
                if last:
                    break
                self._wait()
        finally:
            self._close_feeds()
            self._leadership.release()

    def _wait(self) -> None:
        if not self._leader:
            self._stopping.wait(self._pace.interval_s)
        elif self._woken.wait(self._pace.interval_s):
            self._stopping.wait(self._pace.linger_s)

    def _guarded_round(self) -> bool:
        try:
            more = self._round()
        except Exception as error:  # noqa: BLE001 - the edge of the thread: a defect must not end what retries
            if self._defect is None:
                self._log.exception("relay_round_failed")
            self._defect = f"{type(error).__name__}: {error}"
            self._stopping.wait(self._pace.backoff_max_s)
            return False
        self._defect = None
        return more

    def _round(self) -> bool:
        """One look at everything; whether to look again at once."""
        self._lead(held=self._leadership.held())
        more = False
        if self._leader:
            self._prune()
            for feed in self._feeds:
                more = feed.advance(self._may_go_on) or more
        for feed in self._feeds:
            feed.observe()
        return more

    def _lead(self, *, held: bool) -> None:
        if held != self._leader:
            self._log.info("relay_leads" if held else "relay_stands_by")
            if not held:
                self._close_feeds()
        self._leader = held

    def _may_go_on(self) -> bool:
        in_time = self._stop_by_s is None or self._clocks.monotonic_s() < self._stop_by_s
        return in_time and self._leadership.held()

    def _prune(self) -> None:
        now_s = self._clocks.monotonic_s()
        if self._pruned_at_s is not None and now_s - self._pruned_at_s < self._pace.prune_interval_s:
            return
        self._pruned_at_s = now_s
        try:
            self._store.expire_replies(self._clocks.wall_ms())
        except StoreUnavailableError:
            self._log.warning("idempotent_answers_not_pruned")

    def _close_feeds(self) -> None:
        for feed in self._feeds:
            feed.close()
