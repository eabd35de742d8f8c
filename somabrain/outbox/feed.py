"""One sink's way through the journals: batches in each tenant's order, and patience while the sink fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from somabrain.errors import StoreUnavailableError
from somabrain.observability.metrics import Metrics
from somabrain.ports import EventSink, SinkUnavailableError
from somabrain.store import RelayPositions
from somabrain.tenancy import TenantId

MS_PER_S = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Wall time in milliseconds since the epoch, and a clock that never goes back, in seconds."""

    wall_ms: Callable[[], int]
    monotonic_s: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many events are handed over at once, and how often things are looked at (Settings `relay_*`).

    After each round of publishing, the relay rests `rest` times as long as that took.
    """

    batch: int
    interval_s: float
    linger_s: float
    backoff_max_s: float
    rest: float


class Feed:
    """Hands the journals of all tenants to one sink. Used by one thread; `pending` and `problem` may be read by others.

    A batch is confirmed before the tenant's next one is handed over. A tenant whose batch failed goes last in the next
    round, so that one which can never pass does not keep the others from their turn.
    """

    def __init__(
        self, sink: EventSink, positions: RelayPositions, *, pace: Pace, clocks: Clocks, metrics: Metrics
    ) -> None:
        """The sink is not touched yet."""
        self._sink = sink
        self._positions = positions
        self._pace = pace
        self._clocks = clocks
        self._metrics = metrics
        self._log = structlog.get_logger().bind(sink=sink.name)
        self._last: TenantId | None = None
        self._failures = 0
        self._retry_at_s = 0.0
        self._observed_at_s: float | None = None
        self.pending = 0
        self.problem: str | None = None

    @property
    def name(self) -> str:
        """The sink's."""
        return self._sink.name

    def advance(self, may_go_on: Callable[[], bool]) -> bool:
        """One batch of each tenant that is behind, while `may_go_on`; whether there may be more right now.

        There may be where a batch was full, or where one failed after others passed. Does nothing while it waits for a
        sink that failed.
        """
        if self._clocks.monotonic_s() < self._retry_at_s:
            return False
        published, full = 0, False
        tenant: TenantId | None = None
        try:
            behind = self._positions.behind(self._sink.name)
            for tenant, position in sorted(behind, key=lambda place: (place[0] == self._last, place[0])):
                if not may_go_on():
                    return False
                count = self._publish(tenant, position)
                published += count
                full = full or count == self._pace.batch
                self.observe()
        except (SinkUnavailableError, StoreUnavailableError) as error:
            self._last = tenant
            self._failed(one_line(error), published)
            return published > 0
        self._last = None
        self._recovered()
        return full

    def _publish(self, tenant: TenantId, position: int) -> int:
        entries = self._positions.next_entries(tenant, position, self._pace.batch)
        if entries:
            self._sink.publish(entries)
            self._positions.advance(self._sink.name, tenant, entries[-1].sequence)
            self._metrics.outbox_published.labels(self._sink.name).inc(len(entries))
        return len(entries)

    def _failed(self, problem: str, published: int) -> None:
        if self.problem is None:
            self._log.warning("events_held_back", problem=problem)
        self.problem = problem
        if published:
            return
        pause_s = min(self._pace.backoff_max_s, self._pace.interval_s * 2.0**self._failures)
        self._failures += 1
        self._retry_at_s = self._clocks.monotonic_s() + pause_s

    def _recovered(self) -> None:
        if self.problem is not None:
            self._log.info("events_flow_again")
        self.problem = None
        self._failures = 0
        self._retry_at_s = 0.0

    def observe(self) -> None:
        """Sets the metrics of what is pending, at most once in an interval; keeps them where the store is down."""
        now_s = self._clocks.monotonic_s()
        if self._observed_at_s is not None and now_s - self._observed_at_s < self._pace.interval_s:
            return
        try:
            backlog = self._positions.backlog(self._sink.name)
        except StoreUnavailableError:
            return
        self._observed_at_s = now_s
        self.pending = backlog.pending
        age_ms = 0 if backlog.oldest_ms is None else max(0, self._clocks.wall_ms() - backlog.oldest_ms)
        self._metrics.outbox_pending.labels(self._sink.name).set(backlog.pending)
        self._metrics.outbox_oldest.labels(self._sink.name).set(age_ms / MS_PER_S)

    def close(self) -> None:
        """Closes the sink; `advance` opens it again."""
        self._sink.close()


def one_line(error: SinkUnavailableError | StoreUnavailableError) -> str:
    """What went wrong, for people: the database's own words where it is the database that failed."""
    told = error.__cause__ if isinstance(error, StoreUnavailableError) and error.__cause__ is not None else error
    return str(told).strip().split("\n", 1)[0]
