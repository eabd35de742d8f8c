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
    """What the relay is at: whether its thread runs and leads, events pending, and each failing sink's problem."""

    alive: bool
    leader: bool
    pending: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        role = "leader" if self.leader else "standby"
        return ", ".join([role if self.alive else "ended", f"{self.pending} pending", *self.problems])


class Relay:
    """Publishes what was committed, and deletes idempotent answers that have expired.

    Works only while it holds the database's lock; another process's relay takes over when this one ends. With no sink
    it only deletes.
    """

    def __init__(  # noqa: PLR0913 - each is another part of the outside
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
        return RelayState(
            alive=self._thread.is_alive(),
            leader=self._leader,
            pending=max((feed.pending for feed in self._feeds), default=0),
            problems=tuple(f"{feed.name}: {feed.problem}" for feed in self._feeds if feed.problem is not None),
        )

    def _run(self) -> None:
        try:
            while True:
                self._woken.clear()
                stopping = self._stopping.is_set()
                if self._round() or stopping:
                    if stopping and not self._more:
                        break
                    continue
                (self._woken if self._leader else self._stopping).wait(self._pace.interval_s)
        finally:
            self._let_go()
