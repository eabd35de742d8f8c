"""What is true of every vector engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from somabrain.milvus_client import DOCUMENT_BYTES_MAX
from somabrain.ports import Mark, Near, Projected, Shelf, VectorEngine, VectorEngineMismatchError
from somabrain.tenancy import Namespace, TenantId
from tests.factories import HOME
from tests.milvus import MilvusServer
from tests.reference.vector_engine import MemoryVectorEngine, cosine
from tests.vectors import DIMENSION, milvus, record, vector

LITE = ("FLAT", "IVF_FLAT", "AUTOINDEX", "BIN_FLAT")
SERVER = ("BIN_IVF_FLAT", "BIN_FLAT", "HNSW", "IVF_FLAT", "FLAT", "AUTOINDEX")
CASES = ["memory", *(f"lite-{kind}" for kind in LITE), *(f"server-{kind}" for kind in SERVER)]
THOROUGH = ["memory", "lite-FLAT", "lite-BIN_FLAT", "server-FLAT", "server-BIN_IVF_FLAT"]
PLAIN = ["memory", "lite-FLAT", "server-FLAT"]
MANY = 17_000  # more than one answer of Milvus holds
STALENESS_S = 10.0  # the default of MILVUS_STALENESS_S
SHELF = Shelf.MEMORIES
AWAY = Namespace("away")
_numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An engine and its kind; `of(dimension)` is one with vectors of another dimension in the same place."""

    engine: VectorEngine
    kind: str
    of: Callable[[int], VectorEngine] | None = None

    @property
    def exact(self) -> bool:
        return self.kind in {"memory", "FLAT"}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    place, _, kind = str(request.param).partition("-")
    if place == "memory":
        yield Case(engine=MemoryVectorEngine(), kind="memory")
        return
    folder: Path = tmp_path_factory.mktemp("lite")
    uri = str(folder / "milvus.db")
    if place == "server":
        server: MilvusServer = request.getfixturevalue("milvus_server")
        uri = server.uri
    engine = milvus(uri, prefix=f"contract_{kind}", index_type=kind)
    engine.open()
    yield Case(
        engine=engine,
        kind=kind,
        of=lambda dimension: milvus(uri, prefix=f"contract_{kind}", index_type=kind, dimension=dimension),
    )
    engine.close()


def on(cases: list[str]) -> pytest.MarkDecorator:
    """For laws that no index has a part in: these engines are enough."""
    return pytest.mark.parametrize("case", cases, indirect=True, scope="module")


@pytest.fixture
def engine(case: Case) -> VectorEngine:
    return case.engine


@pytest.fixture
def alice() -> TenantId:
    return TenantId(f"alice{next(_numbers)}")


@pytest.fixture
def bob() -> TenantId:
    return TenantId(f"bob{next(_numbers)}")


def marks(engine: VectorEngine, tenant: TenantId) -> dict[tuple[Namespace, str], Mark]:
    found = [mark for batch in engine.marks(SHELF, tenant) for mark in batch]
    by_key = {(mark.namespace, mark.id): mark for mark in found}
    assert len(by_key) == len(found)
    return by_key


def documents(engine: VectorEngine, tenant: TenantId) -> dict[tuple[Namespace, str], Projected]:
    found = [document for batch in engine.documents(SHELF, tenant) for document in batch]
    by_key = {(document.namespace, document.id): document for document in found}
    assert len(by_key) == len(found)
    return by_key


def searched(engine: VectorEngine, tenant: TenantId, sought: Projected, limit: int = 10) -> list[Near]:
    """What a search finds once it sees `sought`, which must be within the staleness that is allowed for."""
    deadline = time.monotonic() + STALENESS_S
    while True:
        found = engine.search(SHELF, tenant, sought.namespace, sought.vector, limit=limit)
        if sought.id in {near.id for near in found}:
            return found
        assert time.monotonic() < deadline, f"{sought.id} is not among {found}"
        time.sleep(0.1)


def test_what_was_written_is_read_back_exactly(engine: VectorEngine, alice: TenantId) -> None:
    written = [record("a"), record("b", sequence=2**53 - 1), record("c", namespace=AWAY)]
    engine.upsert(SHELF, alice, written)
    assert engine.get(SHELF, alice, HOME, ["b", "missing", "a", "a"]) == written[:2]
    assert engine.get(SHELF, alice, AWAY, ["a", "c"]) == written[2:]
    assert engine.count(SHELF, alice) == 3
    assert documents(engine, alice) == {(one.namespace, one.id): one for one in written}
    assert marks(engine, alice)[HOME, "b"] == Mark(
        namespace=HOME, id="b", sequence=2**53 - 1, checksum=written[1].checksum
    )


@on(THOROUGH)
def test_a_new_tenant_has_nothing(engine: VectorEngine, alice: TenantId) -> None:
    assert engine.get(SHELF, alice, HOME, ["a"]) == []
    assert engine.count(SHELF, alice) == 0
    assert engine.search(SHELF, alice, HOME, vector(1), limit=5) == []
    assert not marks(engine, alice)
    assert not documents(engine, alice)
    assert alice not in engine.tenants(SHELF)


@on(THOROUGH)
def test_nothing_asked_for_is_nothing_done(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(SHELF, alice, [])
    engine.delete(SHELF, alice, [])
    assert engine.get(SHELF, alice, HOME, []) == []
    assert engine.count(SHELF, alice) == 0


def test_tenants_with_the_same_ids_and_namespaces_never_meet(
    engine: VectorEngine, alice: TenantId, bob: TenantId
) -> None:
    mine, theirs = record("same", text="mine"), record("same", text="theirs", vector=vector("same"))
    engine.upsert(SHELF, alice, [mine, record("more")])
    engine.upsert(SHELF, bob, [theirs])
    assert engine.get(SHELF, alice, HOME, ["same"]) == [mine]
    assert engine.get(SHELF, bob, HOME, ["same"]) == [theirs]
    assert [near.id for near in searched(engine, bob, theirs)] == ["same"]
    assert engine.count(SHELF, bob) == 1
    engine.delete(SHELF, bob, [(HOME, "same"), (HOME, "more")])
    assert set(marks(engine, alice)) == {(HOME, "same"), (HOME, "more")}
    assert engine.tenants(SHELF) & {alice, bob} == {alice}


def test_namespaces_never_meet(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(SHELF, alice, [record("a", text="home"), record("a", namespace=AWAY, text="away")])
    engine.delete(SHELF, alice, [(AWAY, "a")])
    assert [one.document for one in engine.get(SHELF, alice, HOME, ["a"])] == ["home"]
    assert engine.get(SHELF, alice, AWAY, ["a"]) == []
    searched(engine, alice, record("a"))
    assert engine.search(SHELF, alice, AWAY, vector("a"), limit=5) == []


@on(THOROUGH)
def test_read_anew_it_has_what_it_had(engine: VectorEngine, alice: TenantId) -> None:
    """Writes just before and after included."""
    written = [record(f"m{number}") for number in range(300)]
    engine.upsert(SHELF, alice, written)
    engine.delete(SHELF, alice, [(HOME, "m7")])
    kept = {(one.namespace, one.id): one for one in written if one.id != "m7"}
    engine.reload(SHELF)
    assert documents(engine, alice) == kept
    engine.upsert(SHELF, alice, [record("new")])
    assert set(marks(engine, alice)) == {*kept, (HOME, "new")}
    searched(engine, alice, record("m8"))


@on(THOROUGH)
def test_shelves_never_meet(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(Shelf.OPTIONS, alice, [record("a")])
    assert engine.count(SHELF, alice) == 0
    assert engine.count(Shelf.OPTIONS, alice) == 1


@on(THOROUGH)
def test_ids_of_the_whole_alphabet_are_told_apart(engine: VectorEngine) -> None:
    last = next(_numbers)
    names = [TenantId(f"{name}{last}") for name in ("a.b-", "a_b-", "A.B-", "--", "..", "__")]
    ids = ["a:b", "a.b", "a_b", "A:B", ":", "::", "or", "key", "a:b:c", "-1", "0", "00", "x" * 128, "in", "not", "true"]
    namespaces = [Namespace("n"), Namespace("n."), Namespace("_n"), Namespace("N"), Namespace("x" * 64)]
    for name in names:
        engine.upsert(SHELF, name, [record(i, namespace=n, text=f"{name} {n} {i}") for n in namespaces for i in ids])
    for name in names:
        held = documents(engine, name)
        assert {key: one.document for key, one in held.items()} == {
            (n, i): f"{name} {n} {i}" for n in namespaces for i in ids
        }
    engine.delete(SHELF, names[0], [(namespaces[0], "a:b"), (namespaces[1], "x" * 128)])
    assert [engine.count(SHELF, name) for name in names] == [
        len(ids) * len(namespaces) - 2 * (n == 0) for n in range(6)
    ]
    assert engine.tenants(SHELF) >= set(names)


def test_writing_again_replaces(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(SHELF, alice, [record("a", text="old"), record("b")])
    new = record("a", text="new", sequence=2, vector=vector("elsewhere"))
    engine.upsert(SHELF, alice, [record("a", text="between"), new])
    assert engine.get(SHELF, alice, HOME, ["a"]) == [new]
    assert engine.count(SHELF, alice) == 2
    assert marks(engine, alice)[HOME, "a"].sequence == 2
    deadline = time.monotonic() + STALENESS_S
    while True:
        found = searched(engine, alice, new)
        if found[0].similarity > 0.999 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert found[0].similarity == pytest.approx(1, abs=1e-6)
    assert [near.id for near in found] == ["a", "b"]


def test_deleting_deletes_and_what_is_missing_is_no_error(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(SHELF, alice, [record("a"), record("b")])
    engine.delete(SHELF, alice, [(HOME, "a"), (HOME, "missing"), (AWAY, "b")])
    engine.delete(SHELF, alice, [(HOME, "a")])
    assert [one.id for one in engine.get(SHELF, alice, HOME, ["a", "b"])] == ["b"]
    assert engine.count(SHELF, alice) == 1
    engine.upsert(SHELF, alice, [record("a", text="again")])
    assert [one.document for one in engine.get(SHELF, alice, HOME, ["a"])] == ["again"]


@on(THOROUGH)
def test_it_reads_its_own_writes_at_once(engine: VectorEngine, alice: TenantId) -> None:
    for number in range(1, 4):
        engine.upsert(SHELF, alice, [record(str(number))])
        assert engine.count(SHELF, alice) == number
        assert len(marks(engine, alice)) == number
        assert len(engine.get(SHELF, alice, HOME, [str(number)])) == 1


@on(PLAIN)
@pytest.mark.parametrize("character", ["x", "é", "✓", "𝄞", '"', "\\", "\n", "\x01"], ids=ascii)
def test_documents_up_to_the_largest_are_kept_to_the_byte(
    engine: VectorEngine, alice: TenantId, character: str
) -> None:
    size = len(character.encode())
    whole = character * (DOCUMENT_BYTES_MAX // size)
    shifted = "a" + character * ((DOCUMENT_BYTES_MAX - 1) // size)
    edge = [character * (length // size) for length in range(65_530, 65_540)]
    written = [record(f"d{n}", text=text) for n, text in enumerate([whole, shifted, *edge])]
    engine.upsert(SHELF, alice, written)
    assert documents(engine, alice) == {(HOME, one.id): one for one in written}
    assert engine.get(SHELF, alice, HOME, [one.id for one in written]) == sorted(written, key=lambda one: one.id)


@on(PLAIN)
def test_many_big_documents_go_in_and_out(engine: VectorEngine, alice: TenantId) -> None:
    written = [record(f"d{n}", text=f"{n:03}" + "é" * 200_000) for n in range(60)]
    engine.upsert(SHELF, alice, written)
    assert documents(engine, alice) == {(HOME, one.id): one for one in written}


@on(PLAIN)
def test_a_walk_is_complete_beyond_what_one_answer_holds(case: Case, alice: TenantId, bob: TenantId) -> None:
    written = [record(f"i{n * 7919 % MANY}", namespace=AWAY if n % 3 else HOME) for n in range(MANY)]
    case.engine.upsert(SHELF, alice, written)
    case.engine.upsert(SHELF, bob, written[:10])
    case.engine.upsert(SHELF, alice, [record(one.id, namespace=one.namespace, sequence=2) for one in written[::10]])
    case.engine.delete(SHELF, alice, [(one.namespace, one.id) for one in written[5::1000]])
    gone = {(one.namespace, one.id) for one in written[5::1000]}
    second = {(one.namespace, one.id) for one in written[::10]}
    expected = {(one.namespace, one.id) for one in written} - gone
    found = marks(case.engine, alice)
    assert set(found) == expected == set(documents(case.engine, alice))
    assert all(mark.sequence == 1 + (key in second) for key, mark in found.items())
    assert case.engine.count(SHELF, alice) == len(expected)
    assert case.engine.tenants(SHELF) >= {alice, bob}


def test_a_search_finds_the_nearest(case: Case, alice: TenantId) -> None:
    written = [record(f"i{n}") for n in range(1500)]
    case.engine.upsert(SHELF, alice, written)
    searched(case.engine, alice, written[-1])
    recalled = []
    for number in range(20):
        query = vector(f"query {number}")
        truth = sorted(((cosine(one.vector, query), one.id) for one in written), reverse=True)[:10]
        found = case.engine.search(SHELF, alice, HOME, query, limit=10)
        known = {one.id: one.vector for one in written}
        assert [near.similarity for near in found] == pytest.approx(
            [cosine(known[near.id], query) for near in found], abs=2e-6
        )
        assert [near.similarity for near in found] == sorted((near.similarity for near in found), reverse=True)
        recalled.append(len({near.id for near in found} & {item_id for _, item_id in truth}) / 10)
    assert float(np.mean(recalled)) >= (1.0 if case.exact else 0.95)


def test_equal_similarities_are_in_the_order_of_ids(engine: VectorEngine, alice: TenantId) -> None:
    one_place = vector("one place")
    written = [record(item_id, vector=one_place) for item_id in ("c", "a", "d", "b")]
    engine.upsert(SHELF, alice, [*written, record("far")])
    for each in written:
        searched(engine, alice, each, limit=5)
    found = engine.search(SHELF, alice, HOME, one_place, limit=5)
    assert [near.id for near in found][:4] == ["a", "b", "c", "d"]


def test_a_search_holds_to_its_limit(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(SHELF, alice, [record(str(number)) for number in range(5)])
    for number in range(5):
        searched(engine, alice, record(str(number)))
    found: Sequence[int] = [
        len(engine.search(SHELF, alice, HOME, vector(0), limit=limit)) for limit in (0, 1, 3, 5, 5000)
    ]
    assert found == [0, 1, 3, 5, 5]


def test_it_keeps_what_it_holds_when_it_is_closed(case: Case, alice: TenantId) -> None:
    case.engine.upsert(SHELF, alice, [record("a"), record("b")])
    case.engine.close()
    case.engine.close()
    case.engine.open()
    case.engine.open()
    assert set(marks(case.engine, alice)) == {(HOME, "a"), (HOME, "b")}
    assert len(searched(case.engine, alice, record("b"))) == 2


@on(THOROUGH[1:])
def test_a_collection_of_another_schema_is_refused_and_made_anew_by_clear(case: Case, alice: TenantId) -> None:
    assert case.of is not None
    case.engine.upsert(SHELF, alice, [record("a")])
    case.engine.close()
    other = case.of(2 * DIMENSION)
    with pytest.raises(VectorEngineMismatchError, match=r"embedding is VARCHAR max_length=88, not .*--rebuild"):
        other.open()
    for shelf in Shelf:
        other.clear(shelf)
    other.open()
    assert other.count(SHELF, alice) == 0
    wide = record("wide", vector=vector("wide", 2 * DIMENSION))
    other.upsert(SHELF, alice, [wide])
    assert other.get(SHELF, alice, HOME, ["wide"]) == [wide]
    other.close()
    for shelf in Shelf:
        case.engine.clear(shelf)
    case.engine.open()
    assert case.engine.count(SHELF, alice) == 0


@on(THOROUGH)
def test_clearing_a_shelf_empties_it_and_no_other(engine: VectorEngine, alice: TenantId) -> None:
    engine.upsert(Shelf.OPTIONS, alice, [record("a")])
    engine.upsert(SHELF, alice, [record("a")])
    engine.clear(Shelf.OPTIONS)
    assert engine.count(Shelf.OPTIONS, alice) == 0
    assert engine.tenants(Shelf.OPTIONS) == set()
    assert engine.count(SHELF, alice) == 1
    engine.upsert(Shelf.OPTIONS, alice, [record("b")])
    assert [one.id for one in engine.get(Shelf.OPTIONS, alice, HOME, ["a", "b"])] == ["b"]
