"""What is true of a transaction's memories, on each engine."""

from __future__ import annotations

import random

import pytest

from somabrain.memory.entries import entries_of
from somabrain.memory.model import Memory, Trace
from somabrain.oak.changes import Change
from somabrain.ports import Mark, MemorySpace, ReadTransaction, Store, WriteTransaction
from somabrain.tenancy import Namespace
from tests.factories import ALICE, BOB, HOME, stamp
from tests.memories import NOW_MS, memory

OTHER = Namespace("other")
HOSTILE = "\u0000 \U0001f600 ' \" \\ %s :x {0} \u2028 é e\u0301"


def save(tx: WriteTransaction, *memories: Memory, namespace: Namespace = HOME) -> None:
    tx.memories.save(namespace, memories, {one.memory_id: entries_of(one.metadata) for one in memories})


def trace(one: Memory) -> Trace:
    return Trace(
        memory_id=one.memory_id,
        vector=one.vector,
        importance=one.importance,
        created_at_ms=one.created_at_ms,
        expires_at_ms=one.expires_at_ms,
    )


def traced(tx: ReadTransaction, namespace: Namespace = HOME, **holds: object) -> list[str]:
    entries = sorted(entries_of(holds))
    found = [tx.memories.traces(namespace, entries=each, limit=10_000) for each in (entries, entries[::-1])]
    assert found[0] == found[1]
    return [one.memory_id for one in found[0]]


def test_what_is_saved_is_read_back_equal(store: Store) -> None:
    saved = [
        memory("plain"),
        memory(
            "hostile",
            content=HOSTILE,
            metadata={HOSTILE: HOSTILE, "n": [1, 1.5, None, {"deep": [True]}], "": "", "big": 2**53 - 1},
            importance=0.1 + 0.2,
            created_at_ms=0,
            expires_at_ms=2**53,
            sequence=2**40,
        ),
        memory("long", content="\U0001f600" * 16_384, importance=1.0),
    ]
    with store.write(ALICE) as tx:
        save(tx, *saved)
        tx.memories.save_space(MemorySpace(namespace=HOME, version=7, memories=3))
    with store.read(ALICE) as tx:
        assert tx.memories.get(HOME, ["hostile", "plain", "long", "none"]) == {one.memory_id: one for one in saved}
        assert type(tx.memories.get(HOME, ["hostile"])["hostile"].metadata["n"][1]) is float
        assert tx.memories.space(HOME) == MemorySpace(namespace=HOME, version=7, memories=3)
        assert tx.memories.spaces() == [MemorySpace(namespace=HOME, version=7, memories=3)]
        assert tx.memories.traces(HOME, limit=9) == [trace(one) for one in (saved[1], saved[2], saved[0])]


def test_nothing_was_ever_remembered_in_an_unseen_namespace(store: Store) -> None:
    with store.read(ALICE) as tx:
        assert (tx.memories.space(HOME), tx.memories.spaces(), tx.memories.get(HOME, ["a"])) == (None, [], {})
        assert (tx.memories.stored(HOME, after=0, limit=9), tx.memories.traces(HOME, limit=9)) == ([], [])
        assert tx.memories.forgotten(HOME, after=0) == []
        assert tx.memories.get(HOME, []) == {}


def test_ids_sort_by_code_point_and_are_read_page_by_page(store: Store) -> None:
    names = ["a", "B", "_", "-", ".", ":", "0", "Z", "aa", "A.b", "..", "9"]
    with store.write(ALICE) as tx:
        save(tx, *(memory(name) for name in names))
    with store.read(ALICE) as tx:
        assert traced(tx) == sorted(names)
        pages, after = [], ""
        while page := tx.memories.traces(HOME, after=after, limit=5):
            after = page[-1].memory_id
            pages.append([one.memory_id for one in page])
        assert [name for page in pages for name in page] == sorted(names)
        assert [len(page) for page in pages] == [5, 5, 2]


def test_memories_come_in_the_order_in_which_they_were_stored(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, memory("a", sequence=9), memory("b", sequence=2), memory("c", sequence=2**33))
        save(tx, memory("d", sequence=5), namespace=OTHER)
    with store.read(ALICE) as tx:
        assert [one.memory_id for one in tx.memories.stored(HOME, after=0, limit=9)] == ["b", "a", "c"]
        assert [one.memory_id for one in tx.memories.stored(HOME, after=0, limit=1)] == ["b"]
        assert [one.memory_id for one in tx.memories.stored(HOME, after=2, limit=9)] == ["a", "c"]
        assert tx.memories.stored(HOME, after=2**33, limit=9) == []


def test_marks_tell_of_the_same_memories_in_the_same_order(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, memory("a", sequence=9, checksum="f" * 64), memory("b", sequence=2, checksum="0" * 64))
        save(tx, memory("a", sequence=5), namespace=OTHER)
    with store.read(ALICE) as tx:
        for after, limit in ((0, 9), (0, 1), (2, 9), (9, 9)):
            stored = tx.memories.stored(HOME, after=after, limit=limit)
            marks = tx.memories.marks(HOME, after=after, limit=limit)
            assert marks == [
                Mark(namespace=HOME, id=one.memory_id, sequence=one.sequence, checksum=one.checksum) for one in stored
            ]
        assert [mark.id for mark in tx.memories.marks(HOME, after=0, limit=9)] == ["b", "a"]


def test_forgotten_ids_come_in_the_order_of_the_journal(store: Store) -> None:
    def forget(tx: WriteTransaction, memory_id: str, namespace: Namespace = HOME) -> int:
        payload = {"memory_id": memory_id, "expired": False}
        return tx.append(stamp().event(Change.MEMORY_FORGOTTEN, namespace, payload, None))

    with store.write(ALICE) as tx:
        first = forget(tx, "b")
        tx.append(stamp().event(Change.MEMORY_STORED, HOME, {"memory_id": "b"}, None))
        forget(tx, "elsewhere", OTHER)
        for name in ("a", "b", "c"):
            forget(tx, name)
    with store.write(BOB) as tx:
        forget(tx, "bobs")
    with store.read(ALICE) as reader:
        assert reader.memories.forgotten(HOME, after=0) == ["b", "a", "b", "c"]
        assert reader.memories.forgotten(HOME, after=first) == ["a", "b", "c"]
        assert reader.memories.forgotten(HOME, after=reader.sequence()) == []
        assert reader.memories.forgotten(OTHER, after=0) == ["elsewhere"]


def test_traces_hold_every_entry_that_is_asked_for(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(
            tx,
            memory("int", metadata={"a": 1, "b": "x"}),
            memory("float", metadata={"a": 1.0}),
            memory("bool", metadata={"a": True, "b": "x"}),
            memory("text", metadata={"a": "1", "b": "y"}),
            memory("none", metadata={"a": None}),
            memory("list", metadata={"a": [1]}),
            memory("deep", metadata={"c": {"a": 1}}),
            memory("bare"),
        )
        save(tx, memory("other", metadata={"a": 1}), namespace=OTHER)
    with store.read(ALICE) as tx:
        assert traced(tx, a=1) == traced(tx, a=1.0) == ["float", "int"]
        assert traced(tx, a=True) == ["bool"]
        assert traced(tx, a="1") == ["text"]
        assert traced(tx, b="x") == ["bool", "int"]
        assert traced(tx, a=1, b="x") == ["int"]
        assert traced(tx, a=1, b="y") == traced(tx, HOME, **{"c.a": 1}) == traced(tx, a="[1]") == []
        assert traced(tx, OTHER, a=1) == ["other"]


def test_what_may_pass_a_filter_is_counted_and_what_does_is_told_apart(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, *(memory(f"m{n:04}", metadata={"even": n % 2 == 0, "third": n % 3 == 0}) for n in range(1200)))
        save(tx, memory("m0000", metadata={"even": True}), namespace=OTHER)
    with store.write(BOB) as tx:
        save(tx, memory("m0001", metadata={"even": True}))
    both, even = entries_of({"even": True, "third": True}), entries_of({"even": True})
    with store.read(ALICE) as tx:
        third = entries_of({"third": True})
        assert tx.memories.rarest(HOME, even, limit=9000) == (*even, 600)
        assert tx.memories.rarest(HOME, both, limit=9000) == (*third, 400)
        assert [tx.memories.rarest(HOME, each, limit=150)[1] for each in (even, both)] == [150, 150]
        unheld = entries_of({"even": 1})
        assert tx.memories.rarest(HOME, unheld, limit=9) == (*unheld, 0)
        assert tx.memories.rarest(HOME, unheld | third, limit=9) == (*unheld, 0)
        assert tx.memories.rarest(OTHER, even, limit=9) == (*even, 1)
        names = [f"m{n:04}" for n in range(1100)]
        assert tx.memories.holding(HOME, even, [*names, "unseen"]) == set(names[::2])
        assert tx.memories.holding(HOME, both, names) == set(names[::6])
        assert tx.memories.holding(HOME, even, []) == set()
        assert tx.memories.holding(OTHER, both, names) == set()


def test_traces_of_what_is_newer_are_those_above_a_sequence_or_not_below_a_time(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(
            tx,
            memory("old", sequence=1, created_at_ms=10, metadata={"k": 1}),
            memory("late", sequence=2, created_at_ms=30, metadata={"k": 1}),
            memory("restored", sequence=9, created_at_ms=5),
            memory("edge", sequence=3, created_at_ms=20),
        )
        save(tx, memory("elsewhere", sequence=99, created_at_ms=99), namespace=OTHER)
    with store.read(ALICE) as reader:

        def newer(sequence: int, at_ms: int, **holds: object) -> list[str]:
            found = reader.memories.traces(
                HOME, entries=sorted(entries_of(holds)), limit=9, newer_than=(sequence, at_ms)
            )
            return [one.memory_id for one in found]

        assert newer(3, 20) == ["edge", "late", "restored"]
        assert newer(2, 31) == ["edge", "restored"]
        assert newer(9, 31) == []
        assert newer(0, 0) == ["edge", "late", "old", "restored"]
        assert newer(3, 20, k=1) == ["late"]


def test_a_replacement_drops_the_entries_of_what_it_replaces(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, memory("a", metadata={"k": 1, "kept": "x"}), memory("b", metadata={"k": 1}))
        save(tx, memory("a", metadata={"k": 1}), namespace=OTHER)
    with store.write(ALICE) as tx:
        save(tx, memory("a", content="new", metadata={"k": 2, "kept": "x"}, sequence=2))
    with store.read(ALICE) as tx:
        assert (traced(tx, k=1), traced(tx, k=2), traced(tx, kept="x")) == (["b"], ["a"], ["a"])
        assert traced(tx, OTHER, k=1) == ["a"]
        assert tx.memories.get(HOME, ["a"])["a"].content == "new"
    with store.write(ALICE) as tx:
        tx.memories.forget(HOME, ["a"])
        save(tx, memory("a"))
    with store.read(ALICE) as tx:
        assert (traced(tx, k=2), traced(tx, kept="x"), traced(tx)) == ([], [], ["a", "b"])


def test_an_exception_leaves_nothing(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, memory("kept", metadata={"k": 1}))
    with pytest.raises(KeyError), store.write(ALICE) as tx:
        save(tx, memory("new", metadata={"k": 1}), memory("kept", content="replaced", metadata={"k": 2}))
        tx.memories.save_space(MemorySpace(namespace=HOME, version=1, memories=2))
        tx.memories.forget(HOME, ["kept"])
        raise KeyError
    with store.read(ALICE) as tx:
        assert tx.memories.get(HOME, ["kept", "new"]) == {"kept": memory("kept", metadata={"k": 1})}
        assert (traced(tx, k=1), traced(tx, k=2), tx.memories.spaces()) == (["kept"], [], [])


def test_tenants_and_namespaces_never_meet(store: Store) -> None:
    for tenant, name in ((ALICE, "alice"), (BOB, "bob")):
        with store.write(tenant) as tx:
            for namespace in (HOME, OTHER):
                own = memory("same", content=f"{name} {namespace}", metadata={"same": 1, name: str(namespace)})
                save(tx, own, namespace=namespace)
                tx.memories.save_space(MemorySpace(namespace=namespace, version=1, memories=1))
    with store.read(ALICE) as tx:
        assert tx.memories.get(HOME, ["same"])["same"].content == "alice default"
        assert traced(tx, same=1) == traced(tx, alice="default") == ["same"]
        assert traced(tx, bob="default") == traced(tx, alice="other") == []
        assert [space.namespace for space in tx.memories.spaces()] == [HOME, OTHER]
    with store.write(BOB) as tx:
        save(tx, memory("same", content="bob again"))
        tx.memories.forget(OTHER, ["same"])
        tx.memories.save_space(MemorySpace(namespace=HOME, version=9, memories=9))
    with store.read(ALICE) as tx:
        for namespace in (HOME, OTHER):
            assert tx.memories.get(namespace, ["same"])["same"].content == f"alice {namespace}"
            assert traced(tx, namespace, same=1) == traced(tx, namespace, alice=str(namespace)) == ["same"]
            assert tx.memories.space(namespace) == MemorySpace(namespace=namespace, version=1, memories=1)
    with store.read(BOB) as tx:
        assert tx.memories.get(HOME, ["same"])["same"].content == "bob again"
        assert tx.memories.get(OTHER, ["same"]) == {}
        assert traced(tx, same=1) == traced(tx, OTHER, same=1) == []


def test_more_ids_than_a_statement_takes(store: Store) -> None:
    names = [f"m{number}" for number in range(2_501)]
    saved = {name: memory(name, metadata={"k": 1}, sequence=place) for place, name in enumerate(names, 1)}
    with store.write(ALICE) as tx:
        save(tx, *saved.values())
    random.Random(1).shuffle(names)
    with store.read(ALICE) as tx:
        assert tx.memories.get(HOME, [*names, *names, "none"]) == saved
        assert traced(tx, k=1) == sorted(names)
    with store.write(ALICE) as tx:
        tx.memories.forget(HOME, [*names[1:], "none"])
    with store.read(ALICE) as tx:
        assert tx.memories.get(HOME, names) == {names[0]: saved[names[0]]}
        assert traced(tx, k=1) == names[:1]


def test_a_reader_keeps_its_snapshot(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, memory("a", metadata={"k": 1}))
    with store.read(ALICE) as reader:
        assert traced(reader, k=1) == ["a"]
        with store.write(ALICE) as writer:
            writer.memories.forget(HOME, ["a"])
            save(writer, memory("b", metadata={"k": 1}))
        assert traced(reader, k=1) == ["a"]
        assert list(reader.memories.get(HOME, ["a", "b"])) == ["a"]
    with store.read(ALICE) as reader:
        assert traced(reader, k=1) == ["b"]


def test_a_writer_sees_what_it_wrote(store: Store) -> None:
    with store.write(ALICE) as tx:
        save(tx, memory("a", metadata={"k": 1}, created_at_ms=NOW_MS))
        assert traced(tx, k=1) == ["a"]
        tx.memories.forget(HOME, ["a"])
        assert (traced(tx), tx.memories.stored(HOME, after=0, limit=9)) == ([], [])
