"""Events leave the service: each at least once, in its tenant's order, whatever is killed, full or locked."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from common.config.settings import Settings
from libs.kafka_cog.avro_schemas import load_schemas
from somabrain.bootstrap import clock_ms, make_app, open_database, open_relay, open_services
from somabrain.errors import ConfigurationError
from somabrain.observability.metrics import Metrics
from somabrain.outbox.feed import Clocks, Pace
from somabrain.outbox.file import AvroFileSink
from somabrain.outbox.reading import read_events
from somabrain.outbox.relay import Chore, Relay
from somabrain.ports import EventSink, JournalEntry, Reply, ReplyScope
from somabrain.store import RELAY, Database, RelayPositions, SqlStore, leadership
from somabrain.tenancy import TenantId
from tests.conftest import plain_settings
from tests.events import commit, entry, ids
from tests.factories import ALICE, BOB
from tests.integration.relaying import eventually, relay_on_a_full_disk, relay_until_killed, running, told
from tests.reference.sink import MemorySink

CAROL = TenantId("carol")
TENANTS = (ALICE, BOB, CAROL)
KILLS = 20
INTERVAL_S = 0.02


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with open_database(settings) as opened:
        yield opened


def relay_of(database: Database, sinks: Sequence[EventSink], chores: Sequence[Chore] = (), **changes: float) -> Relay:
    pace = {"batch": 3, "interval_s": INTERVAL_S, "linger_s": 0.0, "backoff_max_s": INTERVAL_S}
    pace |= {"rest": 0.0, **changes}
    return Relay(
        "relay",
        sinks=sinks,
        chores=chores,
        positions=RelayPositions(database),
        leadership=leadership(database, RELAY),
        pace=Pace(**pace),  # type: ignore[arg-type]
        clocks=Clocks(wall_ms=clock_ms, monotonic_s=time.monotonic),
        metrics=Metrics(),
    )


@contextmanager
def relaying(
    database: Database, sinks: Sequence[EventSink], chores: Sequence[Chore] = (), **changes: float
) -> Iterator[Relay]:
    relay = relay_of(database, sinks, chores, **changes)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop(10.0)


def expected(counts: dict[TenantId, int]) -> dict[str, list[str]]:
    return {tenant.value: [f"{tenant}-{number}" for number in range(1, count + 1)] for tenant, count in counts.items()}


def by_tenant(event_ids: Sequence[str]) -> dict[str, list[str]]:
    """Each tenant's ids in the order of their first appearance."""
    found: dict[str, list[str]] = {}
    for event_id in dict.fromkeys(event_ids):
        found.setdefault(event_id.split("-")[0], []).append(event_id)
    return found


def test_events_of_many_writers_leave_in_each_tenants_order_over_restarts(database: Database, tmp_path: Path) -> None:
    path, store = tmp_path / "events.avro", SqlStore(database)
    relays: list[Relay] = []

    def work(tenant: TenantId) -> None:
        for count in (1, 4, 2, 1, 3, 1):
            commit(store, tenant, count)
            relays[-1].wake()

    for _ in range(3):
        with relaying(database, [AvroFileSink(path, load_schemas())]) as relay:
            relays.append(relay)
            with ThreadPoolExecutor(4) as writers:
                list(writers.map(work, [*TENANTS, ALICE]))
    assert by_tenant(ids(path)) == expected({ALICE: 72, BOB: 36, CAROL: 36})
    assert len(ids(path)) == 144
    assert RelayPositions(database).behind("file") == []


def test_a_commit_wakes_it(database: Database) -> None:
    sink = MemorySink()
    with relaying(database, [sink], interval_s=600.0) as relay:
        eventually(lambda: relay.state().leader, "it does not lead")
        commit(SqlStore(database), ALICE, 7)
        relay.wake()
        eventually(lambda: len(sink.taken) == 7, "it was not woken")


def test_commits_in_quick_succession_leave_together(database: Database) -> None:
    sink = MemorySink()
    with relaying(database, [sink], interval_s=600.0, linger_s=0.3, batch=100) as relay:
        eventually(lambda: relay.state().leader, "it does not lead")
        for _ in range(5):
            commit(SqlStore(database), ALICE, 1)
            relay.wake()
        eventually(lambda: len(sink.taken) == 5, "it was not woken")
    assert len(sink.batches) <= 2, "the first look may have seen the first commit"


def test_without_being_woken_it_looks_by_itself(database: Database) -> None:
    sink = MemorySink()
    with relaying(database, [sink]):
        commit(SqlStore(database), ALICE, 7)
        eventually(lambda: len(sink.taken) == 7, "it does not look")


def test_what_is_pending_when_it_stops_is_published_first(database: Database) -> None:
    sink = MemorySink()
    with relaying(database, [sink], interval_s=600.0) as relay:
        eventually(lambda: relay.state().leader, "it does not lead")
        commit(SqlStore(database), ALICE, 7)
    assert len(sink.taken) == 7
    assert sink.closed
    assert not relay.state().alive


def test_each_sink_gets_everything_at_its_own_pace(database: Database) -> None:
    good, bad = MemorySink(), MemorySink()
    bad.name, bad.down = "other", True
    commit(SqlStore(database), ALICE, 7)
    with relaying(database, [bad, good]) as relay:
        eventually(lambda: len(good.taken) == 7, "one sink holds up the other")
        eventually(lambda: relay.state().pending == 7, "what is pending is not told")
        assert "other: The sink can't take events now" in str(relay.state())
        bad.down = False
        eventually(lambda: len(bad.taken) == 7, "it does not try again")
    assert [taken.sequence for taken in bad.taken] == list(range(1, 8))


class FaultySink(MemorySink):
    """Has a defect until it is mended."""

    broken = True

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        if self.broken:
            message = "defect"
            raise LookupError(message)
        super().publish(entries)


def test_a_defect_does_not_end_it(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    sink = FaultySink()
    commit(SqlStore(database), ALICE, 1)
    with relaying(database, [sink]) as relay:
        eventually(lambda: "LookupError: defect" in str(relay.state()), "the defect is not told")
        time.sleep(5 * INTERVAL_S)
        assert relay.state().alive
        sink.broken = False
        eventually(lambda: len(sink.taken) == 1 and not relay.state().problems, "it does not recover")
    assert capsys.readouterr().out.count("[error") == 1


class HangingSink(MemorySink):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.let_go = threading.Event(), threading.Event()

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        self.reached.set()
        self.let_go.wait()
        super().publish(entries)


def test_a_sink_that_hangs_does_not_hold_up_the_stop(database: Database) -> None:
    sink = HangingSink()
    commit(SqlStore(database), ALICE, 1)
    relay = relay_of(database, [sink])
    relay.start()
    assert sink.reached.wait(10.0)
    began_s = time.monotonic()
    relay.stop(0.1)
    assert time.monotonic() - began_s < 5.0
    assert relay.state().alive
    sink.let_go.set()
    eventually(lambda: not relay.state().alive, "it does not end")


def reply(expires_at_ms: int) -> Reply:
    return Reply(body_sha256=bytes(32), status=200, headers={}, body=b"{}", expires_at_ms=expires_at_ms)


def test_it_does_its_chores_with_no_sink_too(database: Database) -> None:
    store, now_ms = SqlStore(database), clock_ms()
    scopes = [ReplyScope(subject="s", method="POST", path="/", key=key) for key in ("old", "new")]
    with store.write(ALICE) as tx:
        for scope, age_ms in zip(scopes, (-1, 10**6), strict=True):
            tx.save_reply(scope, reply(now_ms + age_ms))

    def left() -> int:
        with database.reading() as connection:
            return int(connection.execute(text("SELECT count(*) FROM replies")).scalar_one())

    assert left() == 2
    pruning = Chore(name="replies", interval_s=60.0, work=lambda: store.expire_replies(clock_ms()))
    with relaying(database, [], chores=[pruning]) as relay:
        eventually(lambda: left() == 1, "nothing is deleted")
        assert str(relay.state()) == "leader, no sink"
        with store.write(BOB) as tx:
            assert tx.reply(scopes[1], 0) is None
            tx.save_reply(scopes[0], reply(0))
        time.sleep(5 * INTERVAL_S)
        assert left() == 2
    with store.write(ALICE) as tx:
        assert tx.reply(scopes[1], now_ms) is not None
    assert relay_of(database, []).state().alive is False


def test_the_lock_has_one_holder(database: Database) -> None:
    first, second = leadership(database, RELAY), leadership(database, RELAY)
    assert first.held()
    assert first.held()
    assert not second.held()
    first.release()
    eventually(second.held, "the lock is not free")
    assert not first.held()
    second.release()
    eventually(first.held, "the lock is not free")
    first.release()


def take_away(database: Database) -> None:
    """Makes whoever holds the lock lose it."""
    if database.file is not None:
        database.file.with_name(database.file.name + ".relay.lock").unlink()
        return
    with database.writing() as connection:
        own = "SELECT oid FROM pg_database WHERE datname = current_database()"
        held = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = ({own})"
        assert connection.execute(text(held)).scalars().all() == [True]


def test_a_lock_that_was_lost_is_noticed(database: Database) -> None:
    first, second = leadership(database, RELAY), leadership(database, RELAY)
    assert first.held()
    take_away(database)
    eventually(second.held, "the lock is not free")
    assert not first.held()
    second.release()
    eventually(first.held, "the lock is not taken again")
    first.release()


def test_a_relay_that_lost_the_lock_stands_by(database: Database) -> None:
    sink, other = MemorySink(), leadership(database, RELAY)
    with relaying(database, [sink], interval_s=0.5) as relay:
        eventually(lambda: relay.state().leader, "it does not lead")
        take_away(database)
        eventually(other.held, "the lock is not free")
        relay.wake()
        eventually(lambda: not relay.state().leader, "it does not notice")
        assert sink.closed
        commit(SqlStore(database), ALICE, 2)
        eventually(lambda: relay.state().pending == 2, "a relay that stands by does not look")
        assert sink.taken == []
        other.release()
        eventually(lambda: len(sink.taken) == 2, "it does not take over again")


def file_settings(settings: Settings, path: Path) -> dict[str, object]:
    return {
        "database_url": settings.database_url,
        "events_file": path,
        "relay_interval_s": INTERVAL_S,
        "relay_backoff_max_s": 4 * INTERVAL_S,
        "relay_batch": 5,
    }


def wait_for_size(path: Path, size: int) -> None:
    eventually(lambda: path.exists() and path.stat().st_size > size, "this life publishes nothing")


def test_whatever_moment_it_is_killed_at_every_event_arrives_in_order(settings: Settings, tmp_path: Path) -> None:
    path, chance = tmp_path / "events.avro", random.Random(20260101)
    changes = file_settings(settings, path)
    with open_database(settings) as database:
        store = SqlStore(database)
        for _ in range(KILLS):
            for tenant in TENANTS:
                commit(store, tenant, 40, text=os.urandom(2000).hex())
            grown = (path.stat().st_size if path.exists() else 0) + chance.randrange(100_000)
            with running(relay_until_killed, tmp_path, changes) as (process, _):
                wait_for_size(path, grown)
                time.sleep(chance.random() * 0.003)
                process.kill()
                process.join()
            list(read_events(path))
        behind = RelayPositions(database).behind("file")
        ending = plain_settings(tmp_path, **changes)
        with open_relay(ending, database, Metrics()):
            eventually(lambda: not RelayPositions(database).behind("file"), "the last life does not finish")
    assert behind, "every life had published everything before it was killed"
    assert by_tenant(ids(path)) == expected(dict.fromkeys(TENANTS, 40 * KILLS))
    assert len(ids(path)) <= 3 * 40 * KILLS + 5 * KILLS


def test_of_two_processes_one_publishes_and_the_other_takes_over(settings: Settings, tmp_path: Path) -> None:
    first, second = tmp_path / "first.avro", tmp_path / "second.avro"
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        store = SqlStore(database)
        leader, said = stack.enter_context(running(relay_until_killed, tmp_path, file_settings(settings, first)))
        while told(said) != "leader":
            pass
        _, answer = stack.enter_context(running(relay_until_killed, tmp_path, file_settings(settings, second)))
        assert told(answer) == "standby"
        for _ in range(10):
            commit(store, ALICE, 7)
        eventually(lambda: not RelayPositions(database).behind("file"), "the leader does not publish")
        assert by_tenant(ids(first)) == expected({ALICE: 70})
        assert not second.exists()
        assert not answer.poll()
        leader.kill()
        commit(store, ALICE, 30)
        assert told(answer) == "leader"
        eventually(lambda: not RelayPositions(database).behind("file"), "the other does not take over")
    assert by_tenant(ids(second))["alice"][-30:] == expected({ALICE: 100})["alice"][-30:]
    assert by_tenant([*ids(first), *ids(second)]) == expected({ALICE: 100})


def test_a_full_disk_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "events.avro"
    sink = AvroFileSink(path, load_schemas())
    sink.publish([entry(1, CAROL, text=os.urandom(8_000_000).hex())])
    sink.close()
    before = path.read_bytes()
    with open_database(settings) as database:
        for tenant in (ALICE, BOB):
            commit(SqlStore(database), tenant, 12, text=os.urandom(500).hex())
        with running(relay_on_a_full_disk, tmp_path, file_settings(settings, path), len(before) + 100) as (_, said):
            state, problems = told(said)
            assert state.startswith("leader, ")
            assert problems == (f"file: {path}: File too large",)
            time.sleep(0.3)
            assert path.read_bytes() == before
            said.send("there is room")
            assert told(said).startswith("leader, ")
    assert by_tenant(ids(path)) == expected({CAROL: 1, ALICE: 12, BOB: 12})
    assert len(ids(path)) == 25


def component_names(settings: Settings) -> list[str]:
    with open_services(settings) as services:
        assert all(component.ready for component in services.components())
        return [component.name for component in services.components()]


def test_the_role_decides_whether_it_runs(tmp_path: Path) -> None:
    changes = {"events_file": tmp_path / "missing" / "events.avro"}
    assert component_names(plain_settings(tmp_path, somabrain_role="all")) == ["database", "relay", "consolidation"]
    assert component_names(plain_settings(tmp_path, somabrain_role="worker")) == ["database", "relay", "consolidation"]
    assert component_names(plain_settings(tmp_path, somabrain_role="api", **changes)) == ["database"]
    for role in ("all", "worker"):
        with pytest.raises(ConfigurationError, match=r"^EVENTS_FILE: the folder \S+ does not exist$"):
            component_names(plain_settings(tmp_path, somabrain_role=role, **changes))


def test_an_api_call_becomes_an_event_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.avro"
    settings = plain_settings(tmp_path, events_file=path, relay_interval_s=INTERVAL_S)
    option = {"option_id": "go", "name": "go", "target": {"features": {"at": "goal"}}}
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        assert client.post("/oak/option/create", json=option).status_code == 201
        eventually(lambda: path.exists() and any(read_events(path)), "the event does not arrive")
        assert len(ids(path)) == 1
        assert [event["type"] for event in read_events(path)] == ["OptionCreated"]
        assert list(read_events(path)) == client.get("/events").json()["events"]
        eventually(lambda: 'outbox_published_total{sink="file"} 1.0' in client.get("/metrics").text, "not counted")
        assert 'outbox_pending{sink="file"} 0.0' in client.get("/metrics").text
        state = {"name": "relay", "ready": True, "detail": "leader, 0 pending"}
        assert state in client.get("/readyz").json()["components"]
