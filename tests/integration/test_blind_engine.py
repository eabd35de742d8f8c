"""A vector engine that does not show what it holds, as servers do that were killed: nothing is lost or believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import pytest

from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.memory_client import MILVUS, Comparison, Projection, forget, remember
from somabrain.ports import Mark, Projected, Shelf, SinkUnavailableError, VectorEngineUnavailableError
from somabrain.store import RelayPositions, SqlStore
from somabrain.tenancy import Namespace, TenantId
from tests.factories import ALICE, HOME, stamp
from tests.memories import follow, new, projection
from tests.reference.vector_engine import MemoryVectorEngine

MEMORIES = 30


class Sight(Enum):
    """What the engine shows."""

    ALL = auto()
    BY_KEY = auto()
    NOTHING = auto()


@dataclass(eq=False)
class BlindEngine(MemoryVectorEngine):
    """Takes every write. Once `reload` is called it shows all, unless it is blind `for_good`."""

    sight: Sight = Sight.ALL
    for_good: bool = False
    deaf: bool = False
    """deletes nothing"""
    reloads: int = 0
    upserts: int = 0

    def __post_init__(self) -> None:
        MemoryVectorEngine.__init__(self)

    def upsert(self, shelf: Shelf, tenant: TenantId, records: Sequence[Projected]) -> None:
        self.upserts += len(records)
        super().upsert(shelf, tenant, records)

    def delete(self, shelf: Shelf, tenant: TenantId, keys: Sequence[tuple[Namespace, str]]) -> None:
        super().delete(shelf, tenant, [] if self.deaf else keys)

    def get(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, ids: Sequence[str]) -> list[Projected]:
        return [] if self.sight is Sight.NOTHING else super().get(shelf, tenant, namespace, ids)

    def marks(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Mark]]:
        yield from super().marks(shelf, tenant) if self.sight is Sight.ALL else ()

    def reload(self, shelf: Shelf) -> None:
        self.reloads += 1
        self.sight = self.sight if self.for_good else Sight.ALL


@dataclass
class Bench:
    """Memories in SQL and in an engine."""

    store: SqlStore
    positions: RelayPositions
    engine: BlindEngine = field(default_factory=BlindEngine)

    def __post_init__(self) -> None:
        self.held: Projection = projection(self.store, self.positions, self.engine)
        self.remember(range(MEMORIES))
        self.follow()
        self.engine.upserts = 0

    def follow(self) -> None:
        follow(self.store, self.positions, self.held, [ALICE])

    def remember(self, numbers: Sequence[int]) -> None:
        with self.store.write(ALICE) as tx:
            remember(tx, HOME, [new(f"m{number:02}") for number in numbers], stamp())

    def position(self) -> int:
        with self.store.read(ALICE) as tx:
            return tx.position(MILVUS)

    def compared(self) -> Comparison:
        return next(one for one in self.held.compare(ALICE) if one.shelf is Shelf.MEMORIES)


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    with open_database(settings) as database:
        yield Bench(SqlStore(database), RelayPositions(database))


@pytest.mark.parametrize(("sight", "reloads"), [(Sight.ALL, 0), (Sight.BY_KEY, 0), (Sight.NOTHING, 1)])
def test_what_it_holds_and_does_not_show_is_not_written_again(bench: Bench, sight: Sight, reloads: int) -> None:
    bench.engine.sight = sight
    before = bench.position()
    found = bench.compared()
    assert (found.documents, found.agrees) == (MEMORIES, True)
    assert (bench.engine.upserts, bench.engine.reloads) == (0, reloads)
    assert bench.position() == before


def test_what_is_gone_is_written_again(bench: Bench) -> None:
    bench.engine.clear(Shelf.MEMORIES)
    assert bench.compared().missing == MEMORIES
    assert (bench.engine.upserts, bench.engine.reloads) == (MEMORIES, 1)
    assert bench.compared().agrees


def test_a_part_that_is_gone_needs_no_reading_anew(bench: Bench) -> None:
    bench.engine.delete(Shelf.MEMORIES, ALICE, [(HOME, "m03"), (HOME, "m20")])
    assert bench.compared().missing == 2
    assert (bench.engine.upserts, bench.engine.reloads) == (2, 0)


def test_what_it_was_never_given_is_no_sign_of_blindness(bench: Bench) -> None:
    bench.engine.clear(Shelf.MEMORIES)
    bench.positions.reset(MILVUS)
    assert bench.compared().missing == MEMORIES
    assert bench.engine.reloads == 0


def test_a_repair_that_is_not_shown_is_no_repair(bench: Bench) -> None:
    """The comparison fails, and recall goes on reading in SQL what the engine may not find."""
    bench.engine.sight, bench.engine.for_good = Sight.NOTHING, True
    before = bench.position()
    with pytest.raises(VectorEngineUnavailableError, match="does not show it"):
        bench.compared()
    assert bench.position() < before
    bench.engine.sight = Sight.ALL
    assert bench.compared().agrees
    assert bench.position() == before


def test_the_position_does_not_pass_a_write_that_is_not_shown(bench: Bench) -> None:
    bench.engine.sight, bench.engine.for_good = Sight.NOTHING, True
    bench.remember([MEMORIES])
    before = bench.position()
    with pytest.raises(SinkUnavailableError, match="does not show it"):
        bench.follow()
    assert bench.position() <= before
    bench.engine.sight = Sight.ALL
    bench.follow()
    assert bench.position() > before
    assert bench.compared().agrees


def test_the_position_does_not_pass_a_deletion_that_is_not_shown(bench: Bench) -> None:
    with bench.store.write(ALICE) as tx:
        forget(tx, HOME, "m03", stamp())
    before = bench.position()
    bench.engine.deaf = True
    with pytest.raises(SinkUnavailableError, match="does not show it"):
        bench.follow()
    assert bench.position() <= before
    bench.engine.deaf = False
    bench.follow()
    assert bench.position() > before
    assert bench.engine.count(Shelf.MEMORIES, ALICE) == MEMORIES - 1
