"""Options on their way to the vector engine: read together, they are what each is when it is read alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
import pytest
from sqlalchemy import event

from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.memory_client import Projection
from somabrain.memory_client.documents import projected_option
from somabrain.memory_client.reading import OPTIONS_MAX, projected_options
from somabrain.oak.changes import Change
from somabrain.oak.learning import facts, unit_vector
from somabrain.oak.model import FAIL, ModelRow, Option, Prototype, Source, State
from somabrain.ports import Projected, ReadTransaction, Shelf, StoredPrototype
from somabrain.store import Database, RelayPositions, SqlStore
from somabrain.tenancy import Namespace
from tests.contract.test_store import option, record
from tests.factories import ALICE, BOB, HOME, stamp
from tests.memories import follow, projection
from tests.reference.vector_engine import MemoryVectorEngine
from tests.vectors import DIMENSION

OTHER = Namespace("other")
PAGE = 7
"""What `tests.memories.projection` reads at once."""

STARTS = {"a": 3, "b": 0, "c": 1, "d": 12, "e": 0, "f": 2, "g": 2, "h": 0}
"""How many rows each option has: none, some, and more than are read at once in some of these tests."""

BYTES_MAX = 2_000
"""Less than the document of option d with all its rows takes."""


def state(number: int) -> State:
    components = [float(number + 1), *[1.0] * (DIMENSION - 1)]
    return unit_vector(components, DIMENSION) if number % 3 == 0 else facts({"n": number, "\u0000\U0001f600": True})


def row(option_id: str, start: int) -> ModelRow:
    return ModelRow(
        option_id=option_id,
        start=start,
        z=0.1 + 0.2,
        executions=start + 1,
        duration=1e6,
        reward=-1 / 3,
        feature=2 / 3,
        outcomes=(FAIL, (start + 5) % 13),
        probability=(0.1, 0.9),
        reach=(0.0, 1e-200),
    )


@dataclass
class Bench:
    """A store and an engine that follows it when it is told to."""

    database: Database
    store: SqlStore
    engine: MemoryVectorEngine = field(default_factory=MemoryVectorEngine)
    breaths: int = 0

    def __post_init__(self) -> None:
        self.held: Projection = projection(self.store, RelayPositions(self.database), self.engine, breathe=self.breathe)
        self.held.check()

    def put(self, starts: dict[str, int], namespace: Namespace = HOME) -> None:
        """Replaces a namespace by options with this many rows, and one primitive; tells the journal."""
        with self.store.write(ALICE) as tx:
            tx.clear_namespace(namespace)
            tx.save_namespace(record(namespace))
            made = [StoredPrototype(prototype=Prototype(number=n, state=state(n)), visits=1) for n in range(13)]
            tx.add_prototypes(namespace, made)
            tx.save_options(namespace, [option(name) for name in starts])
            tx.save_options(namespace, [option("primitive", source=Source.PRIMITIVE)])
            tx.save_rows(namespace, [row(name, start) for name, count in starts.items() for start in range(count)])
            tx.append(stamp().event(Change.MODEL_IMPORTED, namespace, {}, {}))

    def follow(self) -> None:
        follow(self.store, RelayPositions(self.database), self.held, [ALICE])

    def breathe(self) -> None:
        self.breaths += 1

    def documents(self) -> dict[tuple[Namespace, str], str]:
        held = self.engine.held[Shelf.OPTIONS].items()
        return {(namespace, name): record.document for (_, namespace, name), record in held}

    def statements(self, rows_max: int = 10_000) -> int:
        """How many it takes to read the documents of HOME's options."""
        with self.store.read(ALICE) as tx:
            options = tx.options(HOME)
        with counted(self.database) as seen, self.store.read(ALICE) as tx:
            seen.clear()
            together(tx, options, rows_max)
            return len(seen)


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    with open_database(settings) as database:
        yield Bench(database, SqlStore(database))


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The SELECTs that connections which are opened meanwhile send, as the drivers have them."""
    seen: list[str] = []

    def see(statement: Any) -> None:
        if str(statement).lstrip().upper().startswith("SELECT"):
            seen.append(str(statement))

    class Seeing(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **more: Any) -> Self:
            see(query)
            return super().execute(query, *arguments, **more)

    def listen(connection: Any, _record: Any) -> None:
        if database.sqlite:
            connection.set_trace_callback(see)
        else:
            connection.cursor_factory = Seeing

    database.close()
    event.listen(database.engine, "connect", listen)
    try:
        yield seen
    finally:
        event.remove(database.engine, "connect", listen)
        database.close()


def together(tx: ReadTransaction, options: list[Option], rows_max: int) -> list[Projected]:
    return projected_options(tx, HOME, options, dimension=DIMENSION, bytes_max=BYTES_MAX, rows_max=rows_max)


def alone(tx: ReadTransaction, one: Option) -> Projected:
    rows = tx.rows(HOME, option_id=one.option_id)
    states = {stored.prototype.number: stored.prototype.state for stored in tx.prototypes(HOME)}
    return projected_option(HOME, one, rows, states, dimension=DIMENSION, sequence=tx.sequence(), bytes_max=BYTES_MAX)


def test_documents_read_together_are_those_of_each_alone(bench: Bench) -> None:
    bench.put(STARTS)
    bench.put({"a": 5, "elsewhere": 2}, OTHER)
    with bench.store.read(ALICE) as tx:
        options = tx.options(HOME, besides=Source.PRIMITIVE)
        expected = [alone(tx, one) for one in options]
        assert any('"rows_omitted":0' not in one.document for one in expected)
        for rows_max in (1, 2, 3, 4, 11, 12, 13, 19, 20, 21, 10_000):
            assert together(tx, options[::-1], rows_max) == expected
        assert together(tx, options[2:4], 2) == expected[2:4]
        assert together(tx, [], 2) == []


def test_a_few_options_are_read_in_two_statements(bench: Bench) -> None:
    bench.put({f"o{number:03}": 1 + number % 3 for number in range(400)})
    sequence, without_rows = 1, 1
    assert bench.statements() == sequence + without_rows + 2 * 400 // OPTIONS_MAX


def test_a_namespace_that_was_replaced_is_followed(bench: Bench) -> None:
    bench.put(STARTS)
    bench.put({"a": 2}, OTHER)
    bench.follow()
    assert bench.documents().keys() == {(HOME, name) for name in STARTS} | {(OTHER, "a")}
    bench.put({"b": 4, "d": 1, "new": 3})
    bench.follow()
    assert bench.documents().keys() == {(HOME, "b"), (HOME, "d"), (HOME, "new"), (OTHER, "a")}
    with bench.store.read(ALICE) as tx:
        for one in tx.options(HOME, besides=Source.PRIMITIVE):
            known = bench.documents()[HOME, one.option_id]
            assert known.count('"executions":') == 1 + len(tx.rows(HOME, option_id=one.option_id))
    assert all(found.agrees for found in bench.held.compare(ALICE))


@pytest.mark.parametrize(("options", "breaths"), [(1, 0), (OPTIONS_MAX, 0), (PAGE, 1), (PAGE + 1, 2), (3 * PAGE, 5)])
def test_there_is_a_breath_after_a_few_options_and_after_a_page(bench: Bench, options: int, breaths: int) -> None:
    bench.put({f"o{number:02}": 1 for number in range(options)})
    bench.follow()
    assert bench.breaths == breaths
    assert len(bench.documents()) == options


def test_other_tenants_options_are_not_read(bench: Bench) -> None:
    bench.put(STARTS)
    with bench.store.read(BOB) as tx:
        assert tx.options_by_id(HOME, STARTS) == {}
        assert tx.rows_of(HOME, STARTS) == tx.option_ids(HOME) == []
