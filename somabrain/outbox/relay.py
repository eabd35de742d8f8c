"""The relay: one thread that hands the journal to the sinks, once for each database (DESIGN §3)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from somabrain.errors import StoreUnavailableError
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Clocks, Feed, Pace, one_line
from somabrain.ports import EventSink, SinkUnavailableError
from somabrain.store import Leadership, RelayPositions


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Work that is done once for each database, besides handing events on: at first, and at most every `interval_s`.

    `work` may raise `StoreUnavailableError` and `SinkUnavailableError`; then it is tried again after a pause.
    """

    name: str
    interval_s: float
    work: Callable[[], object]


class Relay:
    """Publishes what was committed, and does the chores.

    Works only while it holds its lock; another process's relay takes over when this one ends. With no sink it does
    the chores alone.
    """

    def __init__(
        self,
        name: str,
        *,
        sinks: Sequence[EventSink],
        chores: Sequence[Chore],
        positions: RelayPositions,
        leadership: Leadership,
        pace: Pace,
        clocks: Clocks,
        metrics: Metrics,
    ) -> None:
        """Nothing runs before `start`. The sinks and the lock are the relay's own from now on.

        `name`: the thread's.
        """
        self._feeds = [Feed(sink, positions, pace=pace, clocks=clocks, metrics=metrics) for sink in sinks]
        self._chores = [_Due(chore) for chore in chores]
        self._leadership = leadership
        self._pace = pace
        self._clocks = clocks
        self._log = structlog.get_logger()
        self._leader = False
        self._defect: str | None = None
        self._published_s = 0.0
        self._stop_by_s: float | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def name(self) -> str:
        """The thread's."""
        return self._thread.name

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
        problems += [f"{due.chore.name}: {due.problem}" for due in self._chores if due.problem is not None]
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
                more = self._guarded_round()
                if last and not more:
                    break
                self._wait(more=more)
        finally:
            self._close_feeds()
            self._leadership.release()

    def _wait(self, *, more: bool) -> None:
        """Until there may be something to do, and at least as long a rest as `pace` asks after the publishing."""
        if self._published_s and self._pace.rest:
            self._stopping.wait(min(self._published_s * self._pace.rest, self._pace.backoff_max_s))
        if more:
            return
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
        self._published_s = 0.0
        more = False
        if self._leader:
            self._do_chores()
            began_s = self._clocks.monotonic_s()
            for feed in self._feeds:
                more = feed.advance(self._may_go_on) or more
            self._published_s = self._clocks.monotonic_s() - began_s
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

    def _do_chores(self) -> None:
        for due in self._chores:
            now_s = self._clocks.monotonic_s()
            if now_s < due.at_s:
                continue
            try:
                due.chore.work()
            except (StoreUnavailableError, SinkUnavailableError) as error:
                due.failed(one_line(error), now_s, self._pace)
                continue
            due.at_s = self._clocks.monotonic_s() + due.chore.interval_s
            due.failures, due.problem = 0, None

    def _close_feeds(self) -> None:
        for feed in self._feeds:
            feed.close()


class _Due:
    """When a chore is to be done next."""

    def __init__(self, chore: Chore) -> None:
        self.chore = chore
        self.at_s = -math.inf
        self.failures = 0
        self.problem: str | None = None

    def failed(self, problem: str, now_s: float, pace: Pace) -> None:
        if self.problem is None:
            structlog.get_logger().warning("chore_put_off", chore=self.chore.name, problem=problem)
        self.problem = problem
        self.at_s = now_s + min(pace.backoff_max_s, pace.interval_s * 2.0**self.failures)
        self.failures += 1
