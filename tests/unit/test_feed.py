"""A feed's order, its patience with a sink that fails, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from somabrain.bootstrap import open_database
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Clocks, Feed, Pace
from somabrain.store import Database, RelayPositions, SqlStore
from somabrain.tenancy import TenantId
from tests.conftest import plain_settings
from tests.events import FIRST_MS, commit
from tests.factories import ALICE, BOB
from tests.reference.sink import MemorySink

CAROL = TenantId("carol")
PACE = Pace(batch=3, interval_s=1.0, linger_s=0.0, backoff_max_s=10.0, rest=0.0)


@dataclass(slots=True)
class Bench:
    """A feed to a sink in memory, on a clock that is moved by hand."""

    database: Database
    sink: MemorySink
    metrics: Metrics
    now_s: float = 1_700_000_100.0

    def feed(self) -> Feed:
        clocks = Clocks(wall_ms=lambda: int(self.now_s * 1000), monotonic_s=lambda: self.now_s)
        return Feed(self.sink, RelayPositions(self.database), pace=PACE, clocks=clocks, metrics=self.metrics)

    def commit(self, tenant: TenantId, count: int) -> None:
        commit(SqlStore(self.database), tenant, count)

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"sink": "memory"})

    def taken(self, tenant: TenantId) -> list[int]:
        return [taken.sequence for taken in self.sink.taken if taken.tenant == tenant]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_database(plain_settings(tmp_path)) as database:
        yield Bench(database=database, sink=MemorySink(), metrics=Metrics())


def always() -> bool:
    return True


def test_a_round_gives_each_tenant_one_batch_in_its_order(bench: Bench) -> None:
    for tenant, count in [(BOB, 4), (ALICE, 7), (CAROL, 1)]:
        bench.commit(tenant, count)
    feed = bench.feed()
    assert feed.advance(always)
    assert [(batch[0].tenant, len(batch)) for batch in bench.sink.batches] == [(ALICE, 3), (BOB, 3), (CAROL, 1)]
    assert feed.advance(always)
    assert not feed.advance(always)
    assert bench.taken(ALICE) == list(range(1, 8))
    assert bench.taken(BOB) == list(range(1, 5))
    assert bench.metric("outbox_published_total") == 12


def test_another_feed_goes_on_where_one_was(bench: Bench) -> None:
    bench.commit(ALICE, 4)
    bench.feed().advance(always)
    bench.commit(ALICE, 1)
    other = bench.feed()
    while other.advance(always):
        pass
    assert bench.taken(ALICE) == [1, 2, 3, 4, 5]


def test_it_stops_between_batches_when_told_to(bench: Bench) -> None:
    for tenant in (ALICE, BOB):
        bench.commit(tenant, 1)
    answers = iter([True, False])
    assert not bench.feed().advance(lambda: next(answers))
    assert bench.taken(ALICE) == [1]
    assert bench.taken(BOB) == []


def attempts_at(bench: Bench, feed: Feed, seconds: int) -> list[int]:
    """The seconds, counted from now, at which the sink was tried."""
    start_s, tried = bench.now_s, []
    for second in range(seconds):
        bench.now_s = start_s + second
        before = bench.sink.attempts
        feed.advance(always)
        if bench.sink.attempts > before:
            tried.append(second)
    return tried


def test_a_sink_that_is_down_is_tried_less_and_less_often(bench: Bench) -> None:
    bench.commit(ALICE, 1)
    bench.sink.down = True
    feed = bench.feed()
    assert attempts_at(bench, feed, 40) == [0, 1, 3, 7, 15, 25, 35]
    bench.sink.down = False
    bench.now_s += 10
    feed.advance(always)
    assert bench.taken(ALICE) == [1]
    bench.sink.down = True
    bench.commit(ALICE, 1)
    assert attempts_at(bench, feed, 5) == [0, 1, 3]


def test_a_tenant_that_cannot_pass_does_not_hold_up_the_others(bench: Bench) -> None:
    for tenant in (ALICE, BOB, CAROL):
        bench.commit(tenant, 6)
    bench.sink.refused = ALICE
    feed = bench.feed()
    feed.advance(always)
    bench.now_s += PACE.backoff_max_s
    while feed.advance(always):
        pass
    assert bench.taken(ALICE) == []
    assert bench.taken(BOB) == bench.taken(CAROL) == [1, 2, 3, 4, 5, 6]
    assert feed.problem is not None
    bench.sink.refused = None
    bench.now_s += PACE.backoff_max_s
    while feed.advance(always):
        pass
    assert bench.taken(ALICE) == [1, 2, 3, 4, 5, 6]
    assert feed.problem is None


def test_a_change_of_state_is_logged_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.commit(ALICE, 1)
    bench.sink.down = True
    feed = bench.feed()
    attempts_at(bench, feed, 60)
    bench.sink.down = False
    attempts_at(bench, feed, 60)
    output = capsys.readouterr().out
    assert output.count("events_held_back") == 1
    assert output.count("events_flow_again") == 1


def test_a_database_that_fails_is_waited_for_too(bench: Bench) -> None:
    bench.commit(ALICE, 1)
    feed = bench.feed()
    with bench.database.writing() as connection:
        connection.execute(text("ALTER TABLE relay_positions RENAME TO elsewhere"))
    assert not feed.advance(always)
    told = feed.problem
    assert told is not None
    assert "relay_positions" in told
    feed.observe()
    assert bench.metric("outbox_pending") is None
    with bench.database.writing() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO relay_positions"))
    bench.now_s += 1
    feed.advance(always)
    assert bench.taken(ALICE) == [1]
    assert feed.problem is None


def test_the_metrics_say_what_is_pending_and_since_when(bench: Bench) -> None:
    feed = bench.feed()
    feed.observe()
    assert (bench.metric("outbox_pending"), bench.metric("outbox_oldest_seconds")) == (0, 0)
    bench.commit(ALICE, 4)
    bench.commit(BOB, 1)
    feed.observe()
    assert bench.metric("outbox_pending") == 0
    bench.now_s += 1
    feed.observe()
    assert bench.metric("outbox_pending") == feed.pending == 5
    assert bench.metric("outbox_oldest_seconds") == pytest.approx(bench.now_s - (FIRST_MS + 1) / 1000)
    bench.now_s += 1
    feed.advance(always)
    assert bench.metric("outbox_published_total") == 4
    bench.now_s += 1
    feed.observe()
    assert bench.metric("outbox_pending") == 1
    assert bench.metric("outbox_oldest_seconds") == pytest.approx(bench.now_s - (FIRST_MS + 4) / 1000)
    while feed.advance(always):
        pass
    bench.now_s += 1
    feed.observe()
    assert (bench.metric("outbox_pending"), bench.metric("outbox_oldest_seconds")) == (0, 0)
