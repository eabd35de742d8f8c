"""What is true of the store, on each engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.errors import ConfigurationError
from somabrain.oak.learning import LearningParameters, facts, unit_vector
from somabrain.oak.model import (
    FAIL,
    Evidence,
    Lifetime,
    ModelRow,
    Option,
    Prototype,
    Source,
    Status,
    Termination,
)
from somabrain.ports import Event, NamespaceRecord, NotAtHandError, Reply, ReplyScope, StoredPrototype, WriteTransaction
from somabrain.store import SqlStore
from somabrain.store.database import HEAD, Database
from somabrain.store.tables import metadata
from somabrain.tenancy import Namespace, TenantId
from tests.factories import ALICE, BOB, HOME, spec

OTHER = Namespace("other")
MANY = 1203
"""More keys than two statements take, and no multiple of what one takes."""


def event(number: int, namespace: Namespace = HOME) -> Event:
    return Event(
        type="OptionCreated",
        namespace=namespace,
        option_id=f"o{number}",
        payload={"n": number, "text": "\u0000 ü \U0001f600"},
        request={"x": [0.1, 1e-300, 2**53 - 1]},
        reported_by="me\u0000",
        timestamp_ms=number,
        event_id=str(number),
    )


def option(option_id: str, **changes: object) -> Option:
    values = {
        "option_id": option_id,
        "spec": spec(
            name="\u0000 name \U0001f600",
            policy={"a": [1, 2.5, None, {"b": True}]},
            termination=Termination(similarity=0.7, max_steps=9),
            metadata={"k": "v"},
        ),
        "status": Status.ACTIVE,
        "source": Source.DECLARED,
        "policy_version": 2,
        "version": 3,
        "created_at_ms": 1_700_000_000_123,
        "updated_at_ms": 1_700_000_000_456,
        "lifetime": Lifetime(executions=5, successes=3, steps=50, censored=1),
        "evidence": Evidence(runs=5, feature=0.1 + 0.2, reward=-1e9),
    }
    return Option(**{**values, **changes})  # type: ignore[arg-type]


def row(option_id: str, start: int) -> ModelRow:
    return ModelRow(
        option_id=option_id,
        start=start,
        z=0.1 + 0.2,
        executions=7,
        duration=1e6,
        reward=-1 / 3,
        feature=2 / 3,
        outcomes=(FAIL, 0, 2),
        probability=(0.1, 0.2, 0.7),
        reach=(0.0, 1e-200, 0.69),
    )


def record(namespace: Namespace = HOME) -> NamespaceRecord:
    learning = LearningParameters(
        state_similarity=0.85,
        similarity_threshold=0.9,
        time_price=1e-3,
        loss_price=0.01,
        reward_threshold=0.5,
        novelty_threshold=0.2,
        success_reward=1.0,
    )
    return NamespaceRecord(
        namespace=namespace, model_version=4, born=1, learning=learning, prototypes=2, options=1, active_options=1
    )


def fill(tx: WriteTransaction, namespace: Namespace = HOME) -> None:
    tx.save_namespace(record(namespace))
    tx.save_options(namespace, [option("a"), option("B"), option("z", status=Status.RETIRED)])
    tx.save_rows(namespace, [row("a", 0), row("a", 2), row("z", 1)])
    tx.add_prototypes(
        namespace,
        [
            StoredPrototype(
                prototype=Prototype(number=0, state=facts({"a": "\u0000é", "b": 1.5, "c": True})), visits=3
            ),
            StoredPrototype(prototype=Prototype(number=1, state=unit_vector([1.0, 2.0, -3.0], 3)), visits=1),
        ],
    )
    tx.append(event(1, namespace))


def test_what_is_written_is_read_back_equal(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
    with store.read(ALICE) as tx:
        assert tx.namespace(HOME) == record()
        assert tx.option(HOME, "a") == option("a")
        assert tx.rows(HOME) == [row("a", 0), row("a", 2), row("z", 1)]
        assert [stored.visits for stored in tx.prototypes(HOME)] == [3, 1]
        states = [stored.prototype.state for stored in tx.prototypes(HOME)]
        assert states == [facts({"a": "\u0000é", "b": 1.5, "c": True}), unit_vector([1.0, 2.0, -3.0], 3)]
        assert [entry.event for entry in tx.journal()] == [event(1)]


def test_ids_sort_by_code_point(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        tx.save_options(HOME, [option(name) for name in ("a", "B", "_", "-", ".", ":", "0", "Z", "aa")])
    with store.read(ALICE) as tx:
        names = [found.option_id for found in tx.options(HOME)]
        assert names == sorted(names)
        assert [found.option_id for found in tx.options(HOME, after="Z", limit=2)] == ["_", "a"]


def test_rows_of_active_options_alone(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
    with store.read(ALICE) as tx:
        assert tx.rows(HOME, active_only=True) == [row("a", 0), row("a", 2)]
        assert tx.rows(HOME, option_id="a", after=0) == [row("a", 2)]
        assert tx.rows(HOME, start=1) == [row("z", 1)]


def test_options_by_id_are_those_that_there_are(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        tx.save_options(OTHER, [option("elsewhere")])
    with store.read(ALICE) as tx:
        found = tx.options_by_id(HOME, ["z", "a", "none", "elsewhere", "a"])
        assert found == {"a": option("a"), "z": option("z", status=Status.RETIRED)}
        assert tx.options_by_id(HOME, []) == {}


def test_ids_of_options_are_those_of_the_options(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        tx.save_options(HOME, [option("move", source=Source.PRIMITIVE)])
    with store.read(ALICE) as tx:
        for besides in (None, *Source):
            assert tx.option_ids(HOME, besides=besides) == [o.option_id for o in tx.options(HOME, besides=besides)]
        assert tx.option_ids(HOME, besides=Source.PRIMITIVE) == ["B", "a", "z"]
        assert tx.option_ids(OTHER) == []


def test_rows_of_some_options(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        tx.save_rows(HOME, [row("B", 5)])
        tx.save_rows(OTHER, [row("a", 9)])
    with store.read(ALICE) as tx:
        assert tx.rows_of(HOME, ["z", "a", "none", "a"]) == [row("a", 0), row("a", 2), row("z", 1)]
        assert tx.rows_of(HOME, ["z", "a", "B"], limit=2) == [row("B", 5), row("a", 0)]
        assert tx.rows_of(HOME, ["a"], limit=0) == tx.rows_of(HOME, []) == []


def test_more_keys_than_a_statement_takes(store: SqlStore) -> None:
    names = [f"o{number:04}" for number in range(MANY)]
    rows = [row(name, start) for name in names for start in (0, 3)]
    states = {number: facts({"n": number}) for number in range(MANY)}
    with store.write(ALICE) as tx:
        tx.save_options(HOME, [option(name) for name in names])
        tx.save_rows(HOME, rows)
        tx.add_prototypes(
            HOME,
            [StoredPrototype(prototype=Prototype(number=n, state=state), visits=1) for n, state in states.items()],
        )
    with store.read(ALICE) as tx:
        assert tx.options_by_id(HOME, reversed(names)) == {name: option(name) for name in names}
        assert tx.rows_of(HOME, reversed(names)) == rows
        for limit in (1, 999, 1000, 1001, len(rows), len(rows) + 1):
            assert tx.rows_of(HOME, names, limit=limit) == rows[:limit]
        assert tx.states(HOME, range(MANY + 5)) == states


def test_an_exception_leaves_nothing(store: SqlStore) -> None:
    with pytest.raises(KeyError), store.write(ALICE) as tx:
        fill(tx)
        raise KeyError
    with store.read(ALICE) as tx:
        assert (tx.namespace(HOME), tx.options(HOME), tx.rows(HOME), tx.journal(), tx.sequence()) == (
            None,
            [],
            [],
            [],
            0,
        )


def test_sequences_count_without_gaps_for_each_tenant(store: SqlStore) -> None:
    for round_ in range(3):
        with store.write(ALICE) as tx:
            assert [tx.append(event(n)) for n in range(2)] == [2 * round_ + 1, 2 * round_ + 2]
        with pytest.raises(KeyError), store.write(ALICE) as tx:
            tx.append(event(9))
            raise KeyError
    with store.write(BOB) as tx:
        assert tx.append(event(1)) == 1
    with store.read(ALICE) as tx:
        assert [entry.sequence for entry in tx.journal()] == [1, 2, 3, 4, 5, 6]
        assert [entry.sequence for entry in tx.journal(after=4, limit=1)] == [5]


def test_changes_are_the_journal_without_requests(store: SqlStore) -> None:
    with store.write(BOB) as tx:
        tx.append(event(7))
    with store.write(ALICE) as tx:
        for number in range(4):
            tx.append(event(number, OTHER if number == 2 else HOME))
        told = tx.changes(after=1, limit=2)
        assert [entry.event for entry in told] == [
            replace(event(1), request=None),
            replace(event(2, OTHER), request=None),
        ]
    with store.read(ALICE) as tx:
        assert tx.changes(after=1, limit=2) == told
        assert [entry.sequence for entry in tx.changes(after=0, limit=9)] == [1, 2, 3, 4]
        assert tx.changes(after=4, limit=9) == []


def test_tenants_and_namespaces_never_meet(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        fill(tx, OTHER)
    with store.write(BOB) as tx:
        assert (tx.namespace(HOME), tx.options(HOME), tx.rows(HOME), tx.prototypes(HOME), tx.journal()) == (
            None,
            [],
            [],
            [],
            [],
        )
        fill(tx)
        tx.clear_namespace(HOME)
        tx.drop_rows(HOME, "a")
    with store.write(ALICE) as tx:
        tx.clear_namespace(OTHER)
        assert len(tx.options(HOME)) == len(tx.rows(HOME)) == 3
        assert tx.options(OTHER) == tx.rows(OTHER) == []
        assert [entry.event.namespace for entry in tx.journal(namespace=OTHER)] == [OTHER]


def test_a_reader_keeps_its_snapshot_and_never_waits_for_a_writer(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
    with store.write(ALICE) as writer:
        writer.drop_rows(HOME, "a")
        with store.read(ALICE) as reader:
            assert len(reader.rows(HOME)) == 3
            writer.append(event(2))
            assert reader.sequence() == 1
    with store.read(ALICE) as reader:
        assert reader.sequence() == 2
        with store.write(ALICE) as writer:
            writer.append(event(3))
        assert reader.sequence() == 2


def test_writers_of_one_tenant_wait_for_each_other(store: SqlStore) -> None:
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with store.write(ALICE) as tx:
            inside.set()
            assert go_on.wait(10)
            tx.append(event(1))
            order.append("first")

    def second() -> None:
        with store.write(ALICE) as tx:
            order.append("second")
            assert tx.sequence() == 1

    one = threading.Thread(target=first)
    one.start()
    assert inside.wait(10)
    two = threading.Thread(target=second)
    two.start()
    two.join(0.2)
    assert order == []
    go_on.set()
    one.join(10)
    two.join(10)
    assert order == ["first", "second"]


def test_a_reply_is_kept_for_its_scope_until_it_expires(store: SqlStore) -> None:
    scope = ReplyScope(subject="s", method="POST", path="/x", key="k")
    reply = Reply(body_sha256=b"1" * 32, status=201, headers={"etag": '"1"'}, body=b"\x00{}", expires_at_ms=100)
    with store.write(ALICE) as tx:
        tx.save_reply(scope, reply)
    others = [
        ReplyScope(subject="t", method="POST", path="/x", key="k"),
        ReplyScope(subject="s", method="PUT", path="/x", key="k"),
        ReplyScope(subject="s", method="POST", path="/y", key="k"),
        ReplyScope(subject="s", method="POST", path="/x", key="l"),
    ]
    with store.write(ALICE) as tx:
        assert tx.reply(scope, 99) == reply
        assert tx.reply(scope, 100) is None
        assert [tx.reply(other, 0) for other in others] == [None] * 4
    with store.write(BOB) as tx:
        assert tx.reply(scope, 0) is None
    assert store.expire_replies(99) == 0
    assert store.expire_replies(100) == 1


def test_visits_add_up(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        tx.add_visits(HOME, {0: 4, 1: 1})
    with store.read(ALICE) as tx:
        assert [stored.visits for stored in tx.prototypes(HOME)] == [7, 2]
        assert [stored.visits for stored in tx.prototypes(HOME, first=1, limit=1)] == [2]


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    with open_database(settings) as database:
        yield database


def test_a_write_that_need_not_last_is_seen_and_leaves_the_next_one_durable(settings: Settings) -> None:
    def waits(connection: Connection) -> str:
        asked = "PRAGMA synchronous" if database.sqlite else "SHOW synchronous_commit"
        return str(connection.exec_driver_sql(asked).scalar_one())

    with opened(settings) as database:
        store = SqlStore(database)
        for durable in (True, False, True, False):
            with store.write(ALICE, durable=durable) as tx:
                tx.append(event(1))
            with store.read(ALICE) as reading:
                assert reading.sequence() == tx.sequence()
            with pytest.raises(InterruptedError), store.write(ALICE, durable=not durable) as tx:
                tx.append(event(1))
                raise InterruptedError
            with database.writing(durable=durable) as connection:
                assert waits(connection) in (("2", "on") if durable else ("1", "off"))


def test_a_write_at_once_waits_for_no_other_writer(settings: Settings) -> None:
    with opened(settings) as database, opened(settings) as another:
        store = SqlStore(database)
        for busy in (database, another):
            with SqlStore(busy).write(BOB) as tx:
                tx.append(event(1))
                with pytest.raises(NotAtHandError), store.write(ALICE, at_once=True):
                    pytest.fail("it is not this one's turn")
        if database.sqlite:
            with store.write(ALICE, at_once=True) as tx:
                tx.append(event(1))
            with database.writing() as connection:
                assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() > 0
        with store.write(ALICE) as tx:
            assert tx.sequence() == int(database.sqlite)


def test_the_migrations_make_the_tables_that_the_code_uses(settings: Settings) -> None:
    with opened(settings) as database, database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    assert ScriptDirectory("somabrain/store/migrations").get_current_head() == HEAD


def test_another_dimension_stops_the_start(settings: Settings) -> None:
    with opened(settings):
        pass
    with (
        pytest.raises(ConfigurationError, match=r"MEMORY_DIM is 128, but .* 256"),
        opened(settings.model_copy(update={"memory_dim": 128})),
    ):
        pass


def test_several_processes_may_prepare_one_database_at_once(settings: Settings) -> None:
    faults: list[BaseException] = []

    def prepare() -> None:
        try:
            with opened(settings):
                pass
        except BaseException as fault:  # noqa: BLE001 - told by the main thread
            faults.append(fault)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    with opened(settings) as database, database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1


def test_a_url_of_another_database_is_refused() -> None:
    for url in ("mysql://x/y", "nonsense", "sqlite", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ConfigurationError, match="DATABASE_URL"):
            Database(url, pool_size=1, timeout_s=1.0)


def test_an_id_of_the_narrow_alphabet_names_a_tenant() -> None:
    assert str(TenantId("a" * 64)) == "a" * 64
