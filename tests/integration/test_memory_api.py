"""Memories over HTTP on each engine: what is remembered, recalled, forgotten, refused; and texts as states."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.api.services import Services
from somabrain.bootstrap import application, memory, open_database, open_services
from somabrain.ports import Decision, Question
from somabrain.store import SqlStore
from tests.conftest import plain_settings
from tests.integration.test_replay import replayed

JSON = {"content-type": "application/json"}
AXES = 256


def axis(place: int, *, beside: float = 0.0) -> list[float]:
    """A vector along one axis, with a part `beside` along the next."""
    values = [0.0] * AXES
    values[place], values[place + 1] = 1.0, beside
    return values


def packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def remember(client: TestClient, content: str = "x", **body: Any) -> dict[str, Any]:
    response = client.post("/memory/remember", json={"content": content, **body})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def recall(client: TestClient, query: Any, **body: Any) -> list[dict[str, Any]]:
    query = {"text": query} if isinstance(query, str) else {"vector": query} if isinstance(query, list) else query
    response = client.post("/memory/recall", json={"query": query, **body})
    assert response.status_code == 200, response.text
    assert response.json()["degraded"] is False
    hits: list[dict[str, Any]] = response.json()["hits"]
    return hits


def ids(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["memory_id"] for hit in hits]


def refused(response: Any, status: int = 422, code: str = "invalid_request") -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), response.text
    return problem


@dataclass(slots=True)
class Clock:
    """A clock that is moved by hand, from the year 2100 on: far from what the machine's own takes for expired."""

    ms: int = 4_102_444_800_000

    def __call__(self) -> int:
        return self.ms


@contextmanager
def serving(settings: Settings, **changes: Any) -> Iterator[TestClient]:
    """The application over services with these changes."""

    @contextmanager
    def opened() -> Iterator[Services]:
        with open_services(settings) as services:
            yield replace(services, **changes)

    with TestClient(application(settings, opened), base_url="http://localhost") as client:
        yield client


# --- remember, get, recall, forget ---


def test_remember_get_recall_forget(client: TestClient) -> None:
    response = client.post(
        "/memory/remember",
        json={"content": "the kettle is red", "memory_id": "k", "metadata": {"room": "kitchen"}, "importance": 0.7},
    )
    kept = response.json()
    assert response.headers["location"] == "/memory/k"
    assert set(kept) == {
        "memory_id",
        "content",
        "namespace",
        "metadata",
        "importance",
        "created_at",
        "expires_at",
    }
    assert (kept["memory_id"], kept["namespace"], kept["expires_at"]) == ("k", "default", None)
    assert client.get("/memory/k").json() == kept
    remember(client, "a train to the sea", memory_id="t")
    hits = recall(client, "which kettle is red?")
    assert ids(hits) == ["k", "t"]
    assert set(hits[0]) == {"memory_id", "score", "content", "namespace", "metadata", "importance", "created_at"}
    assert {name: value for name, value in hits[0].items() if name != "score"} == {
        name: value for name, value in kept.items() if name != "expires_at"
    }
    assert client.delete("/memory/k").status_code == 204
    assert ids(recall(client, "which kettle is red?")) == ["t"]
    for gone in (client.get("/memory/k"), client.delete("/memory/k")):
        refused(gone, 404, "memory_not_found")


def test_where_a_memory_was_stored_is_where_it_is(client: TestClient) -> None:
    response = client.post("/memory/remember", json={"content": "x", "namespace": "other", "memory_id": "m"})
    found = client.get(response.headers["location"])
    assert (found.status_code, found.json()) == (200, response.json())


def test_without_an_id_the_service_gives_one(client: TestClient) -> None:
    first, second = remember(client, "x"), remember(client, "x")
    assert first["memory_id"] != second["memory_id"]
    assert sorted(ids(recall(client, "x"))) == sorted([first["memory_id"], second["memory_id"]])


def test_words_that_are_also_paths_are_ids_like_others(client: TestClient) -> None:
    for name in ("remember", "recall", "batch"):
        remember(client, f"called {name}", memory_id=name)
        assert client.get(f"/memory/{name}").json()["content"] == f"called {name}"
        assert client.delete(f"/memory/{name}").status_code == 204


def test_a_replacement_is_all_that_is_left(client: TestClient) -> None:
    remember(client, "red kettle", memory_id="k", metadata={"v": 1, "old": True}, vector=axis(0))
    remember(client, "blue train", memory_id="k", metadata={"v": 2}, vector=axis(2))
    remember(client, "filler", memory_id="f", vector=axis(4))
    hits = recall(client, axis(0))
    assert {hit["memory_id"]: hit["content"] for hit in hits} == {"k": "blue train", "f": "filler"}
    assert all(hit["score"] < 0.1 for hit in hits)
    assert ids(recall(client, axis(2))) == ["k", "f"]
    assert recall(client, axis(0), filter={"v": 1}) == recall(client, axis(0), filter={"old": True}) == []
    assert ids(recall(client, axis(0), filter={"v": 2})) == ["k"]
    by_words = recall(client, "red kettle", filter={"v": 2})
    assert by_words[0]["content"] == "blue train"
    assert by_words[0]["score"] < 0.3
    assert client.get("/memory/k").json()["metadata"] == {"v": 2}
    client.delete("/memory/k")
    remember(client, "red kettle", memory_id="k", vector=axis(0))
    assert recall(client, axis(0), filter={"v": 2}) == []
    assert ids(recall(client, axis(0)))[0] == "k"


def test_namespaces_are_worlds_of_their_own(client: TestClient) -> None:
    for space in ("default", "a", "A", "a.b"):
        remember(client, f"in {space}", memory_id="same", namespace=space, metadata={"k": 1})
    for space in ("default", "a", "A", "a.b"):
        (hit,) = recall(client, "in", namespace=space, filter={"k": 1})
        assert (hit["content"], hit["namespace"]) == (f"in {space}", space)
        assert client.get("/memory/same", params={"namespace": space}).json()["content"] == f"in {space}"
    assert client.delete("/memory/same", params={"namespace": "a"}).status_code == 204
    assert [len(recall(client, "in", namespace=space)) for space in ("default", "a", "A", "a.b", "none")] == [
        1,
        0,
        1,
        1,
        0,
    ]


# --- batches ---


def test_a_batch_is_stored_in_its_order(client: TestClient) -> None:
    items = [{"content": f"number {n}", "memory_id": f"m{n}", "vector": axis(n)} for n in range(20)]
    response = client.post("/memory/remember/batch", json={"memories": items, "namespace": "b"})
    assert response.status_code == 201
    results = response.json()["results"]
    assert [(one["memory_id"], one["content"], one["namespace"]) for one in results] == [
        (item["memory_id"], item["content"], "b") for item in items
    ]
    assert ids(recall(client, axis(7), namespace="b", top_k=1)) == ["m7"]
    assert recall(client, axis(7)) == []


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"content": ""}, ["memories", 2, "content"]),
        ({"content": "x", "vector": [1.0]}, ["memories", 2, "vector"]),
        ({"content": "x", "vector": [0.0] * AXES}, ["memories", 2, "vector"]),
        ({"content": "x", "memory_id": "a b"}, ["memories", 2, "memory_id"]),
        ({"content": "x", "metadata": {"n": 2**53}}, ["memories", 2, "metadata"]),
        ({"content": "x", "importance": 1.1}, ["memories", 2, "importance"]),
        ({"content": "x", "unknown": 1}, ["memories", 2, "unknown"]),
        ({"content": "\U0001f600" * 16_385}, ["memories", 2, "content"]),
    ],
)
def test_a_batch_is_stored_whole_or_not_at_all(client: TestClient, broken: Any, where: list[Any]) -> None:
    before = client.get("/events").json()["next"]
    items = [{"content": "good", "memory_id": "g1"}, {"content": "good", "memory_id": "g2"}, broken, {"content": "y"}]
    response = client.post("/memory/remember/batch", json={"memories": items})
    problem = response.json()
    assert response.status_code == 422
    assert problem["errors"][0]["loc"] == where
    assert "memories.2" in problem["detail"]
    assert recall(client, "good") == []
    assert client.get("/events").json()["next"] == before


def test_the_last_of_equal_ids_in_a_batch_stays(client: TestClient) -> None:
    items = [
        {"content": "first", "memory_id": "m", "metadata": {"v": 1}},
        {"content": "other", "memory_id": "o", "metadata": {"v": 1}},
        {"content": "second", "memory_id": "m", "metadata": {"v": 2}},
    ]
    results = client.post("/memory/remember/batch", json={"memories": items}).json()["results"]
    assert [one["content"] for one in results] == ["first", "other", "second"]
    assert client.get("/memory/m").json()["content"] == "second"
    assert ids(recall(client, "x", filter={"v": 1})) == ["o"]
    assert sorted(ids(recall(client, "x"))) == ["m", "o"]
    stored = [event["payload"]["memory_id"] for event in client.get("/events").json()["events"]]
    assert stored == ["m", "o", "m"]
    client.delete("/memory/m")
    assert ids(recall(client, "x")) == ["o"]


@pytest.mark.parametrize(
    ("top", "named", "space"),
    [
        (None, [None, None], "default"),
        ("a", [None, None], "a"),
        ("a", ["a", None], "a"),
        (None, ["a", "a"], "a"),
        (None, ["default", None], "default"),
        ("a", ["a", "b"], None),
        ("a", [None, "default"], None),
        (None, ["a", None], None),
        (None, [None, "a"], None),
        (None, ["a", "b"], None),
        ("default", ["a", "a"], None),
    ],
)
def test_a_batch_concerns_one_namespace(
    client: TestClient, top: str | None, named: list[str | None], space: str | None
) -> None:
    items = [{"content": "x", **({} if one is None else {"namespace": one})} for one in named]
    body = {"memories": items, **({} if top is None else {"namespace": top})}
    response = client.post("/memory/remember/batch", json=body)
    if space is None:
        refused(response)
        assert client.get("/events").json()["next"] == 0
    else:
        assert [one["namespace"] for one in response.json()["results"]] == [space] * 2
        assert len(recall(client, "x", namespace=space)) == 2


@dataclass(slots=True)
class Asked:
    """A policy that allows, and keeps what it was asked."""

    questions: list[Question]

    def decide(self, question: Question) -> Decision:
        self.questions.append(question)
        return Decision(allowed=True)


def test_the_policy_is_asked_about_the_namespace_that_is_written_to(tmp_path: Path) -> None:
    asked = Asked(questions=[])
    with serving(plain_settings(tmp_path), policy=asked) as client:
        named = {"content": "x", "namespace": "a"}
        client.post("/memory/remember/batch", json={"memories": [named, named]})
        client.post("/memory/remember/batch", json={"memories": [named], "namespace": None})
        client.post("/memory/remember/batch", json={"memories": [{"content": "x"}], "namespace": "b"})
        client.post("/memory/remember", json=named)
        client.post("/memory/recall", json={"query": {"text": "x"}, "namespace": "a"})
        client.get("/memory/m", params={"namespace": "c"})
        client.delete("/memory/m", params={"namespace": "c"})
    assert [(one.action, one.namespace, one.resource_id) for one in asked.questions] == [
        ("memory_remember_batch", "a", None),
        ("memory_remember_batch", "a", None),
        ("memory_remember_batch", "b", None),
        ("memory_remember", "a", None),
        ("memory_recall", "a", None),
        ("memory_get", "c", "m"),
        ("memory_forget", "c", "m"),
    ]
    assert {one.resource_kind for one in asked.questions} == {"memory"}


def test_a_batch_has_a_size(client: TestClient) -> None:
    for items in ([], [{"content": "x"}] * 1001):
        refused(client.post("/memory/remember/batch", json={"memories": items}))
    thousand = client.post("/memory/remember/batch", json={"memories": [{"content": "x"}] * 1000})
    assert len({one["memory_id"] for one in thousand.json()["results"]}) == 1000


# --- idempotency ---


def test_a_repeat_with_the_same_key_stores_nothing_again(client: TestClient) -> None:
    body, key = {"content": "once"}, {"Idempotency-Key": "k1"}
    first = client.post("/memory/remember", json=body, headers=key)
    again = client.post("/memory/remember", json=body, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert len(recall(client, "once")) == 1
    refused(client.post("/memory/remember", json={"content": "twice"}, headers=key), 409, "idempotency_conflict")
    batch = {"memories": [body, body]}
    several = [client.post("/memory/remember/batch", json=batch, headers=key).content for _ in range(3)]
    assert len(set(several)) == 1
    assert len(recall(client, "once")) == 3
    path = f"/memory/{first.json()['memory_id']}"
    assert [client.delete(path, headers=key).status_code for _ in range(2)] == [204, 204]
    assert client.delete(path, headers={"Idempotency-Key": "k2"}).status_code == 404
    assert client.delete(path, headers={"Idempotency-Key": "k2"}).status_code == 404
    assert len(recall(client, "once")) == 2


def test_a_refused_request_does_not_use_up_its_key(client: TestClient) -> None:
    key = {"Idempotency-Key": "k"}
    refused(client.delete("/memory/m", headers=key), 404, "memory_not_found")
    remember(client, "x", memory_id="m")
    assert client.delete("/memory/m", headers=key).status_code == 204


# --- several processes ---


def test_what_one_process_stores_the_other_recalls_at_once(settings: Settings) -> None:
    with serving(settings) as one, serving(settings) as two:
        for round_ in range(12):
            writer, reader = (one, two) if round_ % 2 else (two, one)
            remember(writer, f"round {round_}", memory_id=f"m{round_ % 5}", vector=axis(round_), metadata={"r": round_})
            (first, *rest) = recall(reader, axis(round_), top_k=100)
            assert (first["memory_id"], first["content"]) == (f"m{round_ % 5}", f"round {round_}")
            assert ids(recall(reader, axis(0), filter={"r": round_})) == [f"m{round_ % 5}"]
            assert recall(reader, axis(0), filter={"r": round_ - 5}) == []
            assert [hit["score"] < 0.1 for hit in rest] == [True] * len(rest)
            if round_ % 3 == 2:
                writer.delete(f"/memory/m{round_ % 5}")
                assert f"m{round_ % 5}" not in ids(recall(reader, axis(round_), top_k=100))
            hits = [recall(each, "round", top_k=100) for each in (one, two)]
            known = [{hit["memory_id"]: hit["content"] for hit in found} for found in hits]
            assert known[0] == known[1]


def test_a_process_that_comes_later_answers_the_same(settings: Settings) -> None:
    clock = Clock()
    with serving(settings, clock_ms=clock) as first:
        for number in range(300):
            remember(first, f"thing {number % 7} {number}", memory_id=f"m{number % 40}", metadata={"n": number % 3})
            if number % 9 == 0:
                first.delete(f"/memory/m{number % 40}")
            if number % 50 == 0:
                recall(first, "thing 1")
        answers = [recall(first, "thing 5 33", top_k=50, filter=holds) for holds in ({}, {"n": 1}, {"n": 2})]
        with serving(settings, clock_ms=clock) as second:
            again = [recall(second, "thing 5 33", top_k=50, filter=holds) for holds in ({}, {"n": 1}, {"n": 2})]
    assert again == answers
    assert all(answers)


# --- time ---


def test_what_has_expired_is_neither_got_nor_recalled(settings: Settings) -> None:
    clock = Clock()
    with serving(settings, clock_ms=clock) as client:
        kept = remember(client, "short", memory_id="s", ttl_s=10)
        assert (kept["created_at"], kept["expires_at"]) == ("2100-01-01T00:00:00.000Z", "2100-01-01T00:00:10.000Z")
        remember(client, "long", memory_id="l")
        clock.ms += 9_999
        assert sorted(ids(recall(client, "short"))) == ["l", "s"]
        assert client.get("/memory/s").json() == kept
        clock.ms += 1
        assert ids(recall(client, "short")) == ["l"]
        refused(client.get("/memory/s"), 404, "memory_not_found")
        refused(client.delete("/memory/s"), 404, "memory_not_found")
        remember(client, "again", memory_id="s", ttl_s=1)
        assert ids(recall(client, "again"))[0] == "s"
        remember(client, "for good", memory_id="s")
        clock.ms += 10_000_000
        assert client.get("/memory/s").json()["expires_at"] is None


def test_the_expiry_deletes_what_has_expired_and_says_so(settings: Settings) -> None:
    clock = Clock()
    with serving(settings, clock_ms=clock) as client:
        remember(client, "over", memory_id="over", ttl_s=30, metadata={"k": 1})
        remember(client, "over", memory_id="over2", ttl_s=30, namespace="other")
        remember(client, "stays", memory_id="stays", ttl_s=300, metadata={"k": 1})
        assert sorted(ids(recall(client, "over"))) == ["over", "stays"]
        before = client.get("/events").json()["next"]
        clock.ms += 60_000
        with open_database(settings) as database:
            chore = memory.expiry(settings, SqlStore(database), clock)
            chore.work()
            chore.work()
        events = client.get("/events", params={"after": before}).json()["events"]
        payloads = [one["payload"] for one in events]
        told = [
            (one["type"], one["namespace"], payload["memory_id"], payload["expired"])
            for one, payload in zip(events, payloads, strict=True)
        ]
        assert sorted(told) == [
            ("MemoryForgotten", "default", "over", True),
            ("MemoryForgotten", "other", "over2", True),
        ]
        assert ids(recall(client, "over")) == ids(recall(client, "over", filter={"k": 1})) == ["stays"]
        client.delete("/memory/stays")
        assert client.get("/events", params={"after": before + 2}).json()["events"][0]["payload"]["expired"] is False


def test_a_memory_that_was_renewed_is_not_expired(settings: Settings) -> None:
    clock = Clock()
    with serving(settings, clock_ms=clock) as client:
        remember(client, "x", memory_id="m", ttl_s=1)
        remember(client, "x", memory_id="m", ttl_s=600)
        clock.ms += 60_000
        with open_database(settings) as database:
            memory.expiry(settings, SqlStore(database), clock).work()
        assert client.get("/memory/m").status_code == 200


@pytest.mark.parametrize("ttl_s", [0, -1, 3_153_600_001, 1.5, "1", True, 10**30])
def test_a_life_is_a_whole_number_of_seconds(client: TestClient, ttl_s: Any) -> None:
    refused(client.post("/memory/remember", json={"content": "x", "ttl_s": ttl_s}))


def test_the_longest_life(client: TestClient) -> None:
    assert remember(client, ttl_s=3_153_600_000)["expires_at"] > "2100"
    assert remember(client, ttl_s=2.0)["expires_at"] is not None


# --- filters ---


def test_a_filter_compares_as_json_does(client: TestClient) -> None:
    for name, value in {"int": 1, "float": 1.0, "bool": True, "text": "1", "null": None, "list": [1]}.items():
        remember(client, "x", memory_id=name, metadata={"k": value})
    for value, wanted in [
        (1, ["float", "int"]),
        (1.0, ["float", "int"]),
        (True, ["bool"]),
        ("1", ["text"]),
        (False, []),
        (0, []),
        ("true", []),
        ("[1]", []),
        ("null", []),
    ]:
        assert sorted(ids(recall(client, "x", filter={"k": value}))) == wanted, value


def test_every_key_of_a_filter_has_to_hold(client: TestClient) -> None:
    remember(client, "x", memory_id="ab", metadata={"a": 1, "b": "x", "c": {"d": 1}})
    remember(client, "x", memory_id="a", metadata={"a": 1, "b": "y"})
    assert ids(recall(client, "x", filter={"a": 1})) == ["a", "ab"]
    assert ids(recall(client, "x", filter={"a": 1, "b": "x"})) == ["ab"]
    assert recall(client, "x", filter={"a": 1, "b": "z"}) == recall(client, "x", filter={"a": 2, "b": "x"}) == []
    for nested in ({"c.d": 1}, {"d": 1}, {"c": 1}, {"c": '{"d":1}'}, {"c[d]": 1}):
        assert recall(client, "x", filter=nested) == []


@pytest.mark.parametrize(
    "key",
    ["", "'", '"', "a.b", "\\", "\u0000", "\U0001f600", "$gt", "' OR 1=1 --", "%", "a\n", "é", "e\u0301", "k" * 256],
)
def test_a_key_may_be_any_text(client: TestClient, key: str) -> None:
    remember(client, "x", memory_id="has", metadata={key: "v"})
    remember(client, "x", memory_id="lacks", metadata={key + "x": "v", "o": "v"})
    assert ids(recall(client, "x", filter={key: "v"})) == ["has"]
    assert recall(client, "x", filter={key: "w"}) == []
    assert client.get("/memory/has").json()["metadata"] == {key: "v"}


@pytest.mark.parametrize(
    "holds",
    [
        {"k" * 257: 1},
        {"k": None},
        {"k": [1]},
        {"k": {"a": 1}},
        {f"k{n}": 1 for n in range(65)},
        [],
        "k",
        [["k", 1]],
    ],
)
def test_filters_that_are_refused(client: TestClient, holds: Any) -> None:
    problem = refused(client.post("/memory/recall", json={"query": {"text": "x"}, "filter": holds}))
    assert problem["errors"][0]["loc"][0] == "filter"


def test_a_number_beyond_json_in_a_filter_is_refused_where_it_is(client: TestClient) -> None:
    response = client.post("/memory/recall", json={"query": {"text": "x"}, "filter": {"n": 2**53}})
    problem = refused(response, 422, "number_out_of_range")
    assert problem["errors"][0]["loc"] == ["filter", "n"]


# --- queries ---


def test_queries_of_every_kind_of_state(client: TestClient) -> None:
    remember(client, "at: kitchen, holding: cup", memory_id="facts")
    remember(client, "a vector of its own", memory_id="vector", vector=axis(3))
    assert recall(client, "at: kitchen, holding: cup")[0]["memory_id"] == "facts"
    assert recall(client, {"features": {"at": "kitchen", "holding": "cup"}})[0]["memory_id"] == "facts"
    for query in ({"vector": axis(3)}, {"vector": [2.5 * x for x in axis(3)]}, {"vector_b64": packed(axis(3))}):
        (first, _) = recall(client, query)
        assert first["memory_id"] == "vector"
        assert first["score"] == pytest.approx(1.0, abs=1e-5)


def test_equal_facts_recall_equally(client: TestClient) -> None:
    for number in range(30):
        remember(client, f"n: {number % 4}, at: room {number}", memory_id=f"m{number}")
    asked = [{"n": 1, "at": "room 1"}, {"n": 1.0, "at": "room 1"}, {"at": "room 1", "n": 1}]
    answers = [[hit["memory_id"] for hit in recall(client, {"features": one}, top_k=30)] for one in asked]
    assert answers[0] == answers[1] == answers[2]


def test_facts_of_a_query_are_held_to_what_facts_are(client: TestClient) -> None:
    response = client.post("/memory/recall", json={"query": {"features": {"n": 2**53}}})
    assert refused(response, 422, "number_out_of_range")["errors"][0]["loc"] == ["query", "features", "n"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"text": ""},
        {"text": "x", "vector": axis(0)},
        {"text": None},
        {"text": 1},
        {"features": {}},
        {"vector": []},
        {"vector": axis(0)[:-1]},
        {"vector": [0.0] * AXES},
        {"vector_b64": packed(axis(0))[:-4]},
        {"vector_b64": "§"},
        {"vector_b64": packed([0.0] * AXES)},
        {"words": "x"},
        "x",
        None,
    ],
)
def test_queries_that_are_refused(client: TestClient, query: Any) -> None:
    refused(client.post("/memory/recall", json={"query": query}))


@pytest.mark.parametrize("body", [{"top_k": 0}, {"top_k": 101}, {"top_k": 1.5}, {"top_k": True}, {"min_score": "0"}])
def test_bounds_of_a_recall(client: TestClient, body: Any) -> None:
    refused(client.post("/memory/recall", json={"query": {"text": "x"}, **body}))


def test_top_k_is_how_many_there_are_at_the_most(client: TestClient) -> None:
    items = [{"content": f"m {n}", "memory_id": f"m{n:03}", "vector": axis(0, beside=n / 100)} for n in range(120)]
    client.post("/memory/remember/batch", json={"memories": items})
    for top_k in (1, 2, 99, 100):
        assert ids(recall(client, axis(0), top_k=top_k)) == [f"m{n:03}" for n in range(top_k)]
    assert len(recall(client, axis(0))) == 10


def test_min_score_cuts_at_the_score_that_is_told(client: TestClient) -> None:
    items = [{"content": "x", "memory_id": f"m{n}", "vector": axis(0, beside=n / 10)} for n in range(10)]
    client.post("/memory/remember/batch", json={"memories": items})
    with_all = recall(client, axis(0), top_k=10)
    edge = round(with_all[4]["score"] - 1e-4, 6)
    assert [hit["memory_id"] for hit in recall(client, axis(0), min_score=edge)] == [f"m{n}" for n in range(5)]
    assert recall(client, axis(0), min_score=1.5) == []
    assert len(recall(client, axis(0), min_score=-2)) == 10


def test_importance_and_age_move_a_score_by_what_is_documented(settings: Settings) -> None:
    clock = Clock()
    half_life_ms = int(settings.recall_half_life_s * 1000)
    with serving(settings, clock_ms=clock) as client:
        remember(client, "x", memory_id="old", vector=axis(0))
        clock.ms += half_life_ms
        for name, importance in (("least", 0), ("middle", 0.5), ("most", 1.0)):
            remember(client, "x", memory_id=name, vector=axis(0), importance=importance)
        scores = {hit["memory_id"]: hit["score"] for hit in recall(client, axis(0))}
        assert scores == {
            "middle": pytest.approx(1.0),
            "least": pytest.approx(1 - settings.recall_importance_weight),
            "most": pytest.approx(1 + settings.recall_importance_weight),
            "old": pytest.approx(1 - settings.recall_recency_weight / 2),
        }
        clock.ms += 100 * half_life_ms
        later = {hit["memory_id"]: hit["score"] for hit in recall(client, axis(0))}
        assert later["middle"] == pytest.approx(1 - settings.recall_recency_weight)
        clock.ms -= 300 * half_life_ms
        assert {hit["memory_id"]: hit["score"] for hit in recall(client, axis(0))}["old"] == pytest.approx(1.0)


def test_of_equal_scores_the_lower_id_comes_first(settings: Settings) -> None:
    names = ["b", "a", "B", "_", "-", ".x", ":", "0", "aa", "a.b"]
    with serving(settings, clock_ms=Clock()) as client:
        for name in names:
            remember(client, "the same", memory_id=name)
        for query in ("the same", "other", "same"):
            assert ids(recall(client, query)) == sorted(names)
            assert ids(recall(client, query, top_k=3)) == sorted(names)[:3]


def test_a_memory_with_a_vector_of_its_own_is_found_by_it(client: TestClient) -> None:
    remember(client, "kettle", memory_id="own", vector=[3.0 * x for x in axis(5)])
    remember(client, "kettle", memory_id="embedded")
    (first, second) = recall(client, axis(5))
    assert first["memory_id"] == "own"
    assert first["score"] == pytest.approx(1.0, abs=1e-5)
    assert second["score"] < 0.9
    assert recall(client, "kettle")[0]["memory_id"] == "embedded"


# --- what a memory may be ---


@pytest.mark.parametrize(
    "content",
    ["x" * 65_536, "é" * 32_768, "\U0001f600" * 16_384, "\u0000", " ", "\n", "!?", "\u0000 \U0001f600 \u2028 \ufffe é"],
)
def test_contents_come_back_as_they_were(client: TestClient, content: str) -> None:
    kept = remember(client, content, memory_id="m")
    assert kept["content"] == content
    assert client.get("/memory/m").json()["content"] == content
    assert recall(client, content)[0]["content"] == content
    payload = client.get("/events").json()["events"][-1]["payload"]
    assert payload["content_bytes"] == len(content.encode())


@pytest.mark.parametrize("content", ["", "x" * 65_537, "é" * 32_769, "\U0001f600" * 65_536, 1, None, ["x"]])
def test_contents_that_are_refused(client: TestClient, content: Any) -> None:
    assert refused(client.post("/memory/remember", json={"content": content}))["errors"][0]["loc"] == ["content"]


def test_a_lone_surrogate_is_no_text(client: TestClient) -> None:
    for body in ('{"content":"\\ud800"}', '{"content":"x","metadata":{"k":"\\udfff"}}'):
        response = client.post("/memory/remember", content=body, headers=JSON)
        assert response.status_code in {400, 422}


def test_metadata_is_kept_as_it_is(client: TestClient) -> None:
    given = {"\u0000": "\u0000", "\U0001f600": [1, 1.5, None, True, {"é": -0.5}], "n": 2**53 - 1, "": {}}
    remember(client, "x", memory_id="m", metadata=given)
    assert client.get("/memory/m").json()["metadata"] == given
    assert recall(client, "x")[0]["metadata"] == given


def test_metadata_is_at_most_8_kib(client: TestClient) -> None:
    for key, size in (("k", 8192 - len('{"k":""}')), ("é", 8192 - len('{"é":""}'.encode()))):
        assert remember(client, "x", metadata={key: "v" * size})["metadata"] == {key: "v" * size}
        refused(client.post("/memory/remember", json={"content": "x", "metadata": {key: "v" * (size + 1)}}))
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    refused(client.post("/memory/remember", json={"content": "x", "metadata": {"d": deep}}))


def test_many_small_entries_of_metadata(client: TestClient) -> None:
    many = {f"{n:x}": n for n in range(600)}
    remember(client, "x", memory_id="m", metadata=many)
    assert ids(recall(client, "x", filter={f"{n:x}": n for n in range(64)})) == ["m"]
    assert recall(client, "x", filter={**{f"{n:x}": n for n in range(63)}, "5": 6}) == []


@pytest.mark.parametrize(
    "vector",
    ["[]", "[1]", json.dumps([0] * AXES), json.dumps([1.0] * (AXES + 1)), "null_", '["1"]'],
)
def test_vectors_that_are_refused(client: TestClient, vector: str) -> None:
    body = f'{{"content":"x","vector":{vector}}}'
    response = client.post("/memory/remember", content=body, headers=JSON)
    assert response.status_code in {400, 422}
    assert client.get("/events").json()["next"] == 0


@pytest.mark.parametrize("number", ["1e16", "-1e16", "1e308", "1e999", "1" + "0" * 400, "NaN", "Infinity", "true"])
def test_components_that_are_refused(client: TestClient, number: str) -> None:
    vector = "[" + ",".join([number] + ["0"] * (AXES - 1)) + "]"
    for path, body in (
        ("/memory/remember", f'{{"content":"x","vector":{vector}}}'),
        ("/memory/recall", f'{{"query":{{"vector":{vector}}}}}'),
    ):
        response = client.post(path, content=body, headers=JSON)
        assert response.status_code in {400, 422}, response.text


def test_bits_that_are_no_numbers_are_refused(client: TestClient) -> None:
    for value in (math.nan, math.inf, -math.inf):
        response = client.post("/memory/recall", json={"query": {"vector_b64": packed([value] + [0.0] * (AXES - 1))}})
        assert response.status_code == 422


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "a" * 129, "a\n", "a\u0000", "a%20", "*", "{}"])
def test_ids_outside_the_alphabet_are_refused(client: TestClient, name: str) -> None:
    refused(client.post("/memory/remember", json={"content": "x", "memory_id": name}))
    quoted = "".join(f"%{byte:02X}" for byte in name.encode()) or "%20"
    for response in (client.get(f"/memory/{quoted}"), client.delete(f"/memory/{quoted}")):
        assert response.status_code in {404, 422}
        assert response.json()["code"] in {"not_found", "invalid_request"}


@pytest.mark.parametrize("name", ["a" * 128, "A.b_c:d-e", "0", "...", "a.."])
def test_ids_of_the_alphabet(client: TestClient, name: str) -> None:
    assert client.get(remember_at(client, name)).json()["memory_id"] == name


def remember_at(client: TestClient, name: str) -> str:
    response = client.post("/memory/remember", json={"content": "x", "memory_id": name})
    return response.headers["location"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/memory/remember", {"content": "x", "tenant": "b"}),
        ("/memory/remember", {"content": "x", "created_at": "2020-01-01T00:00:00Z"}),
        ("/memory/remember", {"content": "x", "text": "x"}),
        ("/memory/remember/batch", {"memories": [{"content": "x"}], "tenant": "b"}),
        ("/memory/recall", {"query": {"text": "x"}, "tenant": "b"}),
        ("/memory/recall", {"query": {"text": "x", "tenant": "b"}}),
    ],
)
def test_unknown_fields_are_refused(client: TestClient, path: str, body: Any) -> None:
    refused(client.post(path, json=body))


@pytest.mark.parametrize("importance", [-0.01, 1.01, "0.5", True, None])
def test_importance_lies_between_0_and_1(client: TestClient, importance: Any) -> None:
    refused(client.post("/memory/remember", json={"content": "x", "importance": importance}))


@pytest.mark.parametrize("space", ["", "a b", "a/b", "é", "a" * 65, 1, None])
def test_namespaces_outside_the_alphabet_are_refused(client: TestClient, space: Any) -> None:
    for path, body in (("remember", {"content": "x"}), ("recall", {"query": {"text": "x"}})):
        refused(client.post(f"/memory/{path}", json={**body, "namespace": space}))


# --- beside the option layer ---


def test_memories_and_the_model_leave_each_other_alone(client: TestClient) -> None:
    goal = {"text": "the goal"}
    client.post("/oak/option/create", json={"option_id": "o", "name": "o", "target": goal})
    run = {"start": {"text": "start"}, "final": goal, "rewards": [1]}
    version = client.post("/oak/option/o/execution", json=run).json()["model_version"]
    remember(client, "the goal", memory_id="m")
    client.post("/memory/remember/batch", json={"memories": [{"content": "y"}]})
    client.delete("/memory/m")
    plan = client.post("/oak/plan", json={"start_state": {"text": "start"}, "target_feature": goal}).json()
    assert (plan["model_version"], plan["options"]) == (version, ["o"])
    (space,) = client.get("/oak/namespaces").json()["namespaces"]
    assert space["model_version"] == version
    remember(client, "stays", memory_id="stays")
    assert client.delete("/oak/namespace/default").status_code == 204
    assert client.get("/memory/stays").json()["content"] == "stays"
    assert "stays" in ids(recall(client, "stays"))


def test_a_namespace_of_memories_alone_is_empty_for_a_model(client: TestClient) -> None:
    empty = client.get("/oak/model").content
    remember(client, "x")
    assert client.get("/oak/model").content == empty
    assert client.put("/oak/model", content=empty, headers=JSON).status_code == 200
    assert len(recall(client, "x")) == 1


def test_without_the_option_layer_memories_stay(tmp_path: Path, database_url: str) -> None:
    with serving(plain_settings(tmp_path, database_url=database_url, enable_oak=False)) as client:
        remember(client, "x", memory_id="m")
        assert ids(recall(client, "x")) == ["m"]
        assert client.get("/memory/m").status_code == 200
        refused(client.get("/oak/options"), 404, "oak_disabled")


# --- texts as states ---

KITCHEN, HALL, STREET = ({"text": text} for text in ("in the kitchen", "a long dark hall", "out on the street"))


def walked(client: TestClient, namespace: str = "default") -> None:
    """Two options between three places that are told in words."""
    for name, target in (("leave", HALL), ("exit", STREET)):
        body = {"option_id": name, "name": name, "target": target, "namespace": namespace}
        assert client.post("/oak/option/create", json=body).status_code == 201
    for name, start, final in (("leave", KITCHEN, HALL), ("exit", HALL, STREET), ("leave", KITCHEN, HALL)):
        run = {"start": start, "final": final, "rewards": [1], "namespace": namespace}
        assert client.post(f"/oak/option/{name}/execution", json=run).status_code == 200


def test_a_plan_from_text_to_text(client: TestClient) -> None:
    walked(client)
    plan = client.post("/oak/plan", json={"start_state": KITCHEN, "target_feature": STREET}).json()
    assert plan["options"] == ["leave", "exit"]
    places = [(step["from"]["text"], step["to"]["text"]) for step in plan["steps"]]
    assert places == [(KITCHEN["text"], HALL["text"]), (HALL["text"], STREET["text"])]
    shown = client.get("/oak/states").json()["states"]
    assert [state["text"] for state in shown] == [KITCHEN["text"], HALL["text"], STREET["text"]]
    assert client.get("/oak/state/1").json()["text"] == HALL["text"]
    met = client.post("/oak/plan", json={"start_state": STREET, "target_feature": STREET}).json()
    assert met["reason"] == "already_at_target"
    unknown = client.post("/oak/plan", json={"start_state": {"text": "on the moon"}, "target_feature": STREET}).json()
    assert unknown["reason"] == "unknown_start"


def test_an_option_is_found_by_its_text(client: TestClient) -> None:
    walked(client)
    hits = client.post("/oak/option/search", json={"query": STREET}).json()["hits"]
    assert (hits[0]["option"]["option_id"], hits[0]["similarity"]) == ("exit", 1.0)
    assert hits[0]["option"]["target"] == STREET


def test_an_option_of_a_text_is_given_back_as_it_was_declared(client: TestClient) -> None:
    walked(client)
    option = client.get("/oak/option/leave").json()
    assert option["target"] == HALL
    listed = client.get("/oak/options").json()["options"]
    assert [one["target"] for one in listed] == [STREET, HALL]
    sent = ("name", "description", "target", "policy", "termination", "kappa", "gamma", "alpha", "metadata")
    body = {name: option[name] for name in sent}
    put = client.put("/oak/option/leave", json=body)
    assert put.status_code == 200, put.text
    assert (put.json()["policy_version"], put.json()["target"]) == (1, HALL)
    moved = client.put("/oak/option/leave", json={**body, "target": {"text": "somewhere else"}}).json()
    assert moved["policy_version"] == 2


def test_texts_that_no_column_likes(client: TestClient) -> None:
    strange = {"text": "\u0000 \U0001f600 \u2028 ' \" \\"}
    client.post("/oak/option/create", json={"option_id": "o", "name": "o", "target": strange})
    client.post("/oak/option/o/execution", json={"start": KITCHEN, "final": strange, "rewards": [1]})
    assert client.get("/oak/option/o").json()["target"] == strange
    assert client.get("/oak/state/1").json()["text"] == strange["text"]
    plan = client.post("/oak/plan", json={"start_state": KITCHEN, "target_feature": strange}).json()
    assert plan["steps"][0]["to"]["text"] == strange["text"]


def test_texts_in_a_batch_of_runs(client: TestClient) -> None:
    walked(client)
    runs = [{"option_id": "leave", "start": {"text": f"room {n}"}, "final": HALL, "rewards": [0]} for n in range(20)]
    batch = client.post("/oak/executions", json={"executions": runs})
    assert {one["outcome"] for one in batch.json()["results"]} == {1}
    bad = [*runs, {**runs[0], "start": {"text": ""}}]
    refused(client.post("/oak/executions", json={"executions": bad}))


def test_export_import_export_gives_the_same_bytes_with_texts(client: TestClient) -> None:
    walked(client)
    first = client.get("/oak/model").content
    assert HALL["text"].encode() in first
    put = client.put("/oak/model", params={"namespace": "copy"}, content=first, headers=JSON)
    assert put.status_code == 200, put.text
    assert client.get("/oak/model", params={"namespace": "copy"}).content == first
    body = {"start_state": KITCHEN, "target_feature": STREET, "namespace": "copy"}
    assert client.post("/oak/plan", json=body).json()["options"] == ["leave", "exit"]
    assert client.get("/oak/option/leave", params={"namespace": "copy"}).json()["target"] == HALL


def test_a_replay_leaves_memories_out_and_keeps_texts(settings: Settings, tmp_path: Path) -> None:
    with serving(settings) as client:
        remember(client, "before", memory_id="m")
        walked(client)
        remember(client, "between", memory_id="m", ttl_s=1)
        client.delete("/memory/m")
        walked(client, "other")
        model = client.get("/oak/model").content
        client.put("/oak/model", params={"mode": "replace"}, content=model, headers=JSON)
        client.post("/oak/option/exit/execution", json={"start": KITCHEN, "final": STREET, "rewards": [-1]})
        client.post("/memory/remember/batch", json={"memories": [{"content": "after"}] * 3})
        answer = client.get("/oak/model").content
    stored, again = replayed(settings, tmp_path / "scratch")
    assert stored == answer
    assert again == stored
    assert STREET["text"].encode() in again
