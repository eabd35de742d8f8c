"""The store: one suite for LangGraph's own in-memory store and for memories of a real service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from somabrain.adapters.langgraph import HITS_MAX, SomabrainStore, TooManyItemsError
from somabrain.client import Brain, InvalidError, UnavailableError
from tests.servers import free_port

ANN, BOB = ("users", "ann"), ("users", "bob")


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.fixture(params=["langgraph", "somabrain"])
def store(request: pytest.FixtureRequest) -> BaseStore:
    if request.param == "langgraph":
        return InMemoryStore(index={"dims": 8, "embed": DeterministicFakeEmbedding(size=8), "fields": ["$"]})
    return SomabrainStore(request.getfixturevalue("own_brain"))


def keys(found: list[Any]) -> set[tuple[tuple[str, ...], str]]:
    return {(item.namespace, item.key) for item in found}


VALUE = {"text": "aisle seats", "n": 1.5, "whole": 7, "no": None, "tags": ["a", {"b": True}], "$odd": "ä\n", "": ""}


def test_an_item_is_what_was_put(store: BaseStore) -> None:
    assert store.get(ANN, "seat") is None
    store.put(ANN, "seat", VALUE)
    found = store.get(ANN, "seat")
    assert found is not None
    assert (found.value, found.key, found.namespace) == (VALUE, "seat", ANN)
    assert found.created_at <= found.updated_at
    store.put(ANN, "seat", {"text": "window"})
    found = store.get(ANN, "seat")
    assert found is not None
    assert found.value == {"text": "window"}
    assert store.get(BOB, "seat") is None
    store.delete(ANN, "seat")
    store.delete(ANN, "seat")
    assert store.get(ANN, "seat") is None


def test_names_that_look_alike_are_apart(store: BaseStore) -> None:
    names = [("a", "b"), ("a/b",), ("a,b",), ('a", "b',), ("ab",), ("b", "a"), ("ä",), ("A", "b")]
    for place, name in enumerate(names):
        store.put(name, "k/ü ", {"place": place})
    for place, name in enumerate(names):
        found = store.get(name, "k/ü ")
        assert found is not None
        assert found.value == {"place": place}
    assert keys(store.search(("a",))) == {(("a", "b"), "k/ü ")}


def test_a_search_is_below_a_prefix(store: BaseStore) -> None:
    for name in (ANN, BOB, ("users",), ("users", "ann", "deep"), ("usersx",)):
        store.put(name, "k", {"x": 1})
    assert keys(store.search(("users",))) == {(n, "k") for n in (ANN, BOB, ("users",), ("users", "ann", "deep"))}
    assert keys(store.search(ANN)) == {(ANN, "k"), (("users", "ann", "deep"), "k")}
    assert len(store.search(())) == 5
    assert store.search(("nobody",)) == []


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"kind": "a"}, {"1", "2"}),
    ({"kind": "a", "n": 2}, {"2"}),
    ({"n": {"$gt": 1}}, {"2", "3"}),
    ({"n": {"$gte": 2, "$lt": 3}}, {"2"}),
    ({"n": {"$lte": 1.0}}, {"1"}),
    ({"kind": {"$ne": "a"}}, {"3"}),
    ({"kind": {"$eq": "b"}}, {"3"}),
    ({"deep": {"x": 1}}, {"1"}),
    ({"tags": ["p", "q"]}, {"2"}),
    ({"gone": None}, {"1", "2", "3"}),
    ({"text": "t" * 1000}, {"1"}),
    ({"kind": "c"}, set()),
]


def test_filters(store: BaseStore) -> None:
    store.put(ANN, "1", {"kind": "a", "n": 1, "deep": {"x": 1, "y": 2}, "text": "t" * 1000})
    store.put(ANN, "2", {"kind": "a", "n": 2, "tags": ["p", "q"]})
    store.put(BOB, "3", {"kind": "b", "n": 3, "tags": ["p"]})
    for wanted, found in FILTERS:
        assert {item.key for item in store.search(("users",), filter=wanted)} == found, wanted
    with pytest.raises(ValueError, match="operator"):
        store.search(("users",), filter={"n": {"$near": 1}})


def test_pages_hold_each_item_once(store: BaseStore) -> None:
    for number in range(25):
        store.put(ANN, str(number), {"n": number, "even": number % 2 == 0})
    pages = [store.search(ANN, limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert keys([item for page in pages for item in page]) == {(ANN, str(number)) for number in range(25)}
    assert len(store.search(ANN, filter={"even": True}, limit=20)) == 13


def test_namespaces(store: BaseStore) -> None:
    names = [ANN, BOB, ("users", "ann", "v1"), ("docs", "v1"), ("docs", "v2")]
    for name in names:
        store.put(name, "k", {"x": 1})
    assert store.list_namespaces() == sorted(names)
    assert store.list_namespaces(prefix=("users",)) == sorted(names[:3])
    assert store.list_namespaces(suffix=("v1",)) == [("docs", "v1"), ("users", "ann", "v1")]
    assert store.list_namespaces(prefix=("users", "*", "v1")) == [("users", "ann", "v1")]
    assert store.list_namespaces(prefix=("*", "v2"), suffix=("v2",)) == [("docs", "v2")]
    assert store.list_namespaces(max_depth=1) == [("docs",), ("users",)]
    assert store.list_namespaces(limit=2, offset=1) == sorted(names)[1:3]


def test_a_batch_reads_what_was_before_it(store: BaseStore) -> None:
    store.put(ANN, "old", {"x": 0})
    found = store.batch(
        [
            PutOp(ANN, "new", {"x": 1}),
            GetOp(ANN, "new"),
            GetOp(ANN, "old"),
            PutOp(ANN, "new", {"x": 2}),
            SearchOp(ANN),
            ListNamespacesOp(),
            PutOp(ANN, "old", None),
        ]
    )
    assert [found[place] for place in (0, 1, 3, 6)] == [None] * 4
    assert (found[2].value, keys(found[4]), found[5]) == ({"x": 0}, {(ANN, "old")}, [ANN])
    assert store.get(ANN, "new").value == {"x": 2}  # type: ignore[union-attr]
    assert store.get(ANN, "old") is None


def test_wrong_namespaces(store: BaseStore) -> None:
    for name in ((), ("a.b",), ("",), ("langgraph",)):
        with pytest.raises(InvalidNamespaceError):
            store.put(name, "k", {"x": 1})


def test_awaited(store: BaseStore) -> None:
    async def work() -> None:
        await asyncio.gather(*(store.aput(ANN, str(number), {"n": number}) for number in range(10)))
        assert (await store.aget(ANN, "3")).value == {"n": 3}  # type: ignore[union-attr]
        assert len(await store.asearch(("users",), limit=20)) == 10
        await store.adelete(ANN, "3")
        assert await store.aget(ANN, "3") is None
        assert await store.alist_namespaces() == [ANN]

    asyncio.run(work())


def test_a_node_of_a_graph_gets_it(store: BaseStore) -> None:
    def node(state: dict[str, Any], *, store: BaseStore) -> dict[str, Any]:
        store.put(ANN, "seen", {"x": state["x"]})
        return {"x": store.get(ANN, "seen").value["x"] + 1}  # type: ignore[union-attr]

    graph = StateGraph(dict)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    assert graph.compile(store=store).invoke({"x": 1}) == {"x": 2}


def test_a_query_is_answered_by_meaning_and_words(own_brain: Brain) -> None:
    store = SomabrainStore(own_brain)
    store.put(ANN, "seat", {"text": "Ann prefers an aisle seat", "kind": "preference"})
    store.put(ANN, "cat", {"text": "the cat is called Tom", "note": "aisle"}, index=["text"])
    store.put(ANN, "secret", {"text": "aisle seat, aisle seat"}, index=False)
    found = store.search(("users",), query="who prefers an aisle seat", limit=5)
    assert [item.key for item in found] == ["seat", "cat"]
    assert found[0].score is not None
    assert found[1].score is not None
    assert found[0].score > found[1].score
    assert [item.key for item in store.search(ANN, query="cat", filter={"kind": "preference"})] == ["seat"]
    assert found[1].value == {"text": "the cat is called Tom", "note": "aisle"}
    assert store.search(ANN, limit=1)[0].score is None


def test_an_item_expires(own_brain: Brain) -> None:
    store = SomabrainStore(own_brain, default_ttl=10)
    store.put(ANN, "default", {"x": 1})
    store.put(ANN, "never", {"x": 1}, ttl=None)
    store.put(ANN, "soon", {"x": 1}, ttl=1.0 / 60)
    lives = {}
    for hit in own_brain.recall("x", top_k=10, filter={"key": "default"}).hits + own_brain.recall("x", top_k=10).hits:
        if "key" in hit.metadata:
            lives[hit.metadata["key"]] = own_brain.memory(hit.memory_id)
    assert lives["never"].expires_at is None
    assert lives["default"].expires_at is not None
    assert (lives["default"].expires_at - lives["default"].created_at).total_seconds() == 600
    assert lives["soon"].expires_at is not None
    assert (lives["soon"].expires_at - lives["soon"].created_at).total_seconds() == 1


def test_more_items_than_one_recall_gives_are_found_in_parts(own_brain: Brain) -> None:
    store = SomabrainStore(own_brain)
    many = 2 * HITS_MAX + 7
    store.batch([PutOp(ANN, str(number), {"n": number}) for number in range(many)])
    store.put(BOB, "0", {"n": many})
    assert len(store.search(ANN, limit=HITS_MAX)) == HITS_MAX
    assert [item.key for item in store.search(ANN, filter={"n": 100})] == ["100"]
    every = store.search(ANN, limit=1_000)
    assert sorted(item.value["n"] for item in every) == list(range(many))
    assert sorted(item.value["n"] for item in store.search(ANN, filter={"n": {"$gt": 99}}, limit=1_000)) == [
        *range(100, many)
    ]
    ranked = store.search(ANN, query="150", limit=many)
    assert ranked[0].key == "150"
    scores = [item.score or 0.0 for item in ranked]
    assert scores == sorted(scores, reverse=True)
    pages = [store.search(ANN, query="150", limit=60, offset=first) for first in range(0, many, 60)]
    assert [item.key for page in pages for item in page] == [item.key for item in ranked]
    assert keys(store.search((), limit=1_000)) == keys(every) | {(BOB, "0")}


def test_more_namespaces_than_one_recall_gives_are_listed(own_brain: Brain) -> None:
    store = SomabrainStore(own_brain)
    names = [("users", f"{number:03}") for number in range(HITS_MAX + 20)]
    store.batch([PutOp(name, "k", {"n": 1}) for name in names])
    assert store.list_namespaces(limit=1_000) == names
    assert store.list_namespaces(prefix=("users",), limit=5, offset=HITS_MAX) == names[HITS_MAX : HITS_MAX + 5]


def test_items_that_cannot_be_parted_are_an_error_and_no_part_of_them(own_brain: Brain) -> None:
    store = SomabrainStore(own_brain)
    store.put(ANN, "one", {"n": 0})
    one = own_brain.recall("one", filter={"indexed": True}).hits[0]
    for number in range(HITS_MAX):
        own_brain.remember(one.content, metadata={**one.metadata, "key": str(number)}, memory_id=f"store:{number}")
    with pytest.raises(TooManyItemsError, match="100 items"):
        store.search(ANN, limit=HITS_MAX + 1)


def test_items_without_parts_are_an_error_where_parts_are_needed(own_brain: Brain) -> None:
    store = SomabrainStore(own_brain)
    store.put(ANN, "old", {"text": "an item of before"})
    old = own_brain.recall("an item of before", filter={"indexed": True}).hits[0]
    unparted = {name: value for name, value in old.metadata.items() if not name.startswith("part.")}
    own_brain.remember(old.content, metadata=unparted, memory_id=old.memory_id)
    store.batch([PutOp(ANN, str(number), {"n": number}) for number in range(HITS_MAX)])
    with pytest.raises(TooManyItemsError, match="put them again"):
        store.search(ANN, query="an item of before", limit=HITS_MAX + 1)


def test_refusals_and_outages_are_the_clients(own_brain: Brain, tmp_path: Path) -> None:
    store = SomabrainStore(own_brain)
    with pytest.raises(InvalidError, match="content"):
        store.put(ANN, "k", {"text": "x" * 70_000})
    with pytest.raises(ValueError, match="JSON"):
        store.put(ANN, "k", {"n": float("nan")})
    store.put(ANN, "k", {"n": 10**17, "near": json.loads("1e300")})
    assert store.get(ANN, "k").value == {"n": 10**17, "near": 1e300}  # type: ignore[union-attr]
    assert len(store.search(ANN, filter={"n": 10**17})) == 1
    with Brain(f"http://127.0.0.1:{free_port()}", queue=tmp_path) as away, pytest.raises(UnavailableError):
        SomabrainStore(away).get(ANN, "k")
