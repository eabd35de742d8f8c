"""Two tenants with the same ids, texts and namespaces: nothing crosses, whatever happens in whatever order."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app, open_database
from somabrain.errors import MemoryNotFoundError
from somabrain.memory.entries import entries_of
from somabrain.memory.model import Memory, Query
from somabrain.memory.scoring import boosts
from somabrain.memory_client import Recaller, expire, forget, lookup, remember
from somabrain.oak.learning.states import cosine
from somabrain.ports import Shelf, WriteTransaction
from somabrain.store import RelayPositions, SqlStore
from somabrain.tenancy import Namespace, TenantId
from tests.conftest import plain_settings
from tests.factories import ALICE, BOB, HOME, stamp
from tests.integration.test_identity import make_key
from tests.memories import LIMITS, NOW_MS, WEIGHTS, follow, new, projection, recaller
from tests.reference.vector_engine import MemoryVectorEngine
from tests.vectors import vector

TENANTS = (ALICE, BOB)
SPACES = (HOME, Namespace("a"), Namespace("A"))
NAMES = [f"m{number}" for number in range(24)] + ["A", "a", ".", "..", "alice", "bob", "default:m1", "bob:a:m1"]
TEXTS = ["the red kettle", "open the red door", "boil the tea", "alice", "bob", "\u0000 \U0001f600"]
HOLDS: list[dict[str, Any]] = [{}, {"k": 1}, {"k": 1.0, "tenant_id": "bob"}, {"k": True}, {"k": "1", '" or "': "'"}]
OPERATIONS = {"sqlite": 20_000, "postgresql": 3_000}
FOLLOWED_EVERY = 40


@dataclass(slots=True)
class Lives:
    """The operations, and what each tenant has by them: a dictionary of its own."""

    store: SqlStore
    recallers: tuple[Recaller, ...]
    rng: random.Random
    now_ms: int = NOW_MS
    done: Counter[str] = field(default_factory=Counter)
    held: dict[tuple[TenantId, Namespace], dict[str, Memory]] = field(
        default_factory=lambda: {(tenant, namespace): {} for tenant in TENANTS for namespace in SPACES}
    )

    def write(self, tenant: TenantId, count: int) -> None:
        """Changes of one tenant in one transaction."""
        with self.store.write(tenant) as tx:
            for _ in range(count):
                namespace = self.rng.choice(SPACES)
                self.now_ms += self.rng.choice([0, 0, 250, 500])
                kind = self.rng.choices(["remember", "batch", "forget"], [6, 1, 3])[0]
                self.done[kind] += 1
                if kind == "forget":
                    self._forget(tx, tenant, namespace)
                else:
                    self._remember(tx, tenant, namespace, 1 if kind == "remember" else self.rng.randint(2, 8))

    def _remember(self, tx: WriteTransaction, tenant: TenantId, namespace: Namespace, count: int) -> None:
        items = [
            new(
                self.rng.choice(NAMES),
                content=f"{self.rng.choice(TEXTS)} of {tenant}",
                vector=vector(self.rng.randrange(60)),
                metadata={**self.rng.choice(HOLDS), "owner": f"{tenant} {namespace}"},
                importance=self.rng.choice([0.0, 0.5, 1.0]),
                ttl_s=self.rng.choice([None, None, 1, 5]),
            )
            for _ in range(count)
        ]
        stored = remember(tx, namespace, items, stamp(self.now_ms))
        assert [one.memory_id for one in stored] == [item.memory_id for item in items]
        self.held[tenant, namespace].update((one.memory_id, one) for one in stored)

    def _forget(self, tx: WriteTransaction, tenant: TenantId, namespace: Namespace) -> None:
        name = self.rng.choice(NAMES)
        known = self.held[tenant, namespace].get(name)
        if known is None or not known.lives_at(self.now_ms):
            with pytest.raises(MemoryNotFoundError):
                forget(tx, namespace, name, stamp(self.now_ms))
            return
        forget(tx, namespace, name, stamp(self.now_ms))
        del self.held[tenant, namespace][name]

    def expire(self) -> None:
        """What the expiry does, for all tenants."""
        self.done["expire"] += 1
        over: dict[tuple[TenantId, Namespace], set[str]] = {}
        for tenant, namespace, name in self.store.expired_memories(self.now_ms, 1000):
            over.setdefault((tenant, namespace), set()).add(name)
        for owner, own in self.held.items():
            gone = {name for name, one in own.items() if not one.lives_at(self.now_ms)}
            assert over.get(owner, set()) == gone
            with self.store.write(owner[0]) as tx:
                assert expire(tx, owner[1], [*gone, *NAMES], stamp(self.now_ms)) == len(gone)
            for name in gone:
                del own[name]

    def get(self, tenant: TenantId, namespace: Namespace) -> None:
        self.done["get"] += 1
        name = self.rng.choice(NAMES)
        known = self.held[tenant, namespace].get(name)
        with self.store.read(tenant) as tx:
            if known is None or not known.lives_at(self.now_ms):
                with pytest.raises(MemoryNotFoundError):
                    lookup(tx, namespace, name, self.now_ms)
            else:
                assert lookup(tx, namespace, name, self.now_ms) == known

    def recall(self, tenant: TenantId, namespace: Namespace) -> None:
        self.done["recall"] += 1
        wanted = Query(
            vector=vector(self.rng.randrange(60)),
            text=self.rng.choice([None, None, *TEXTS]),
            entries=entries_of(self.rng.choice(HOLDS)),
            top_k=self.rng.choice([1, 5, 100]),
            min_score=self.rng.choice([None, None, 0.2]),
        )
        found = self.rng.choice(self.recallers).recall(tenant, namespace, wanted, self.now_ms)
        own = self.held[tenant, namespace]
        passing = {
            name: one
            for name, one in own.items()
            if one.lives_at(self.now_ms) and wanted.entries <= entries_of(one.metadata)
        }
        for one, _ in found.hits:
            assert one == passing[one.memory_id]
            assert one.metadata["owner"] == f"{tenant} {namespace}"
        if wanted.text is None:
            assert [(one.memory_id, score) for one, score in found.hits] == self.scored(passing, wanted)
        elif wanted.min_score is None:
            assert len(found.hits) == min(len(passing), wanted.top_k)

    def scored(self, passing: dict[str, Memory], wanted: Query) -> list[tuple[str, float]]:
        """Every memory scored one by one."""
        scores = []
        for name, one in passing.items():
            extra = boosts(np.array([one.importance]), np.array([one.created_at_ms]), self.now_ms, WEIGHTS)
            score = round(cosine(one.vector.array(), wanted.vector.array()) + float(extra[0]), 6)
            if wanted.min_score is None or score >= wanted.min_score:
                scores.append((-score, name))
        return [(name, -score) for score, name in sorted(scores)[: wanted.top_k]]

    def whole(self) -> None:
        """Both tenants, all of it."""
        for tenant in TENANTS:
            with self.store.read(tenant) as tx:
                for namespace in SPACES:
                    own = self.held[tenant, namespace]
                    stored = tx.memories.stored(namespace, after=0, limit=10_000)
                    assert {one.memory_id: one for one in stored} == own
                    space = tx.memories.space(namespace)
                    assert space is not None
                    assert space.memories == len(own)
                    traced = tx.memories.traces(namespace, entries=sorted(entries_of({"k": 1})), limit=10_000)
                    assert {one.memory_id for one in traced} == {
                        name for name, one in own.items() if entries_of({"k": 1}) <= entries_of(one.metadata)
                    }
                assert {space.namespace for space in tx.memories.spaces()} <= set(SPACES)
                sequences = [entry.sequence for entry in tx.journal()]
                assert sequences == list(range(1, len(sequences) + 1))


def test_twenty_thousand_operations_of_two_tenants(settings: Settings) -> None:
    with open_database(settings) as database:
        store, engine, positions = SqlStore(database), MemoryVectorEngine(), RelayPositions(database)
        held = projection(store, positions, engine)
        lives = Lives(store, tuple(recaller(store, limits=LIMITS) for _ in range(2)), random.Random(20_000))
        most, rounds = OPERATIONS["sqlite" if database.sqlite else "postgresql"], 0
        while lives.done.total() < most:
            rounds += 1
            lives.write(lives.rng.choice(TENANTS), lives.rng.randint(1, 15))
            for _ in range(lives.rng.randint(1, 10)):
                owner = lives.rng.choice(TENANTS), lives.rng.choice(SPACES)
                lives.rng.choice([lives.get, lives.recall])(*owner)
            if lives.rng.random() < 0.02:
                lives.expire()
            if rounds % FOLLOWED_EVERY == 0:
                follow(store, positions, held, TENANTS)
        lives.whole()
        follow(store, positions, held, TENANTS)
        check_projected(lives, engine)
        assert all(each.agrees for each in held.check())
        check_projected(lives, engine)
        lives.now_ms += 10_000_000
        lives.expire()
        lives.whole()
    assert set(lives.done) == {"remember", "batch", "forget", "get", "recall", "expire"}


def check_projected(lives: Lives, engine: MemoryVectorEngine) -> None:
    """The engine holds each tenant's documents, and no others."""
    assert engine.tenants(Shelf.MEMORIES) <= set(TENANTS)
    for tenant in TENANTS:
        documents = [one for batch in engine.documents(Shelf.MEMORIES, tenant) for one in batch]
        assert len(documents) == engine.count(Shelf.MEMORIES, tenant)
        for namespace in SPACES:
            own = lives.held[tenant, namespace]
            told = {one.id: one for one in documents if one.namespace == namespace}
            assert set(told) == set(own)
            for name, one in told.items():
                document = json.loads(one.document)
                assert (document["memory_id"], document["content"]) == (name, own[name].content)
                assert (document["metadata"], one.vector) == (own[name].metadata, own[name].vector)
                assert (one.sequence, one.checksum) == (own[name].sequence, own[name].checksum)


# --- over HTTP ---

HOSTILE = [
    "or 1==1",
    '" or tenant_id != "',
    "' OR '1'='1",
    '"; DROP TABLE memories; --',
    "tenant_id",
    "b",
    "a:default:m",
    "..",
    "../b/m",
    "%2e%2e%2fb",
    "m?tenant=b",
    "\u0000",
    "\\",
    "{}",
    "$where",
    "\U0001f600",
]


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, dict[str, str]]:
    path = tmp_path / "keys.json"
    return {tenant: make_key(path, tenant, "brain_admin") for tenant in ("a", "b")}


@pytest.fixture
def client(tmp_path: Path, database_url: str, keys: dict[str, dict[str, str]]) -> Iterator[TestClient]:
    assert keys
    settings = plain_settings(
        tmp_path, database_url=database_url, auth_mode="keys", somabrain_keys_file=tmp_path / "keys.json"
    )
    with TestClient(make_app(settings)) as client:
        yield client


def seeded(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    """The same ids, texts and namespaces for both; a's content names a, b's names b."""
    for tenant, who in keys.items():
        for space in ("default", "a", "b"):
            items = [
                {
                    "content": f"secret-of-{tenant} the red kettle",
                    "memory_id": name,
                    "metadata": {"k": 1, "tenant_id": tenant, **dict.fromkeys(HOSTILE, tenant)},
                }
                for name in ("m", "a", "b", "..", "b:m")
            ]
            body = {"memories": items, "namespace": space}
            assert client.post("/memory/remember/batch", json=body, headers=who).status_code == 201


def test_hostile_filters_see_nothing_of_the_other(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    seeded(client, keys)
    query = {"query": {"text": "secret-of-b the red kettle"}, "top_k": 100}
    for key in HOSTILE:
        for value in (*HOSTILE, "a", 1, True):
            response = client.post("/memory/recall", json={**query, "filter": {key: value}}, headers=keys["a"])
            assert response.status_code == 200, response.text
            hits = response.json()["hits"]
            assert len(hits) == (5 if value == "a" else 0), (key, value)
            assert "secret-of-b" not in "".join(hit["content"] for hit in hits)
    for text in HOSTILE:
        hits = client.post("/memory/recall", json={**query, "query": {"text": text}}, headers=keys["a"]).json()["hits"]
        assert len(hits) == 5
        assert {hit["metadata"]["tenant_id"] for hit in hits} == {"a"}


def test_hostile_names_reach_nothing_of_the_other(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    seeded(client, keys)
    paths = [
        "/memory/m",
        "/memory/b",
        "/memory/b:m",
        "/memory/b:default:m",
        "/memory/b%2Fm",
        "/memory/b/m",
        "/memory/%2e%2e/b/m",
        "/memory/..%2fm",
        "/memory/m%00",
        "/memory/m%0A",
        "/memory/m%20",
        "/memory/m%22%20or%20tenant_id%20!=%20%22",
        "/memory/m'%20or%20'1'='1",
        "/memory/m;tenant=b",
        "/memory//m",
        "/memory/m/",
        "//b/memory/m",
        "/memory/*",
        "/memory/%25",
        "/memory/m?namespace=b%22%20or%20%22",
        "/memory/m?namespace=../b",
        "/memory/m?namespace=b&namespace=a",
        "/memory/m?tenant=b&tenant_id=b",
    ]
    spoofed = {**keys["a"], "X-Tenant": "b", "X-Tenant-Id": "b", "X-Forwarded-User": "b", "Cookie": "tenant=b"}
    for path in paths:
        response = client.get(path, headers=spoofed)
        assert response.status_code in {200, 404, 422}, path
        assert "secret-of-b" not in response.text, path
    for path in paths:
        client.delete(path, headers=spoofed)
    for space in ("default", "a", "b"):
        body = {"query": {"text": "kettle"}, "namespace": space, "top_k": 100}
        hits = client.post("/memory/recall", json=body, headers=keys["b"]).json()["hits"]
        assert sorted(hit["memory_id"] for hit in hits) == ["..", "a", "b", "b:m", "m"]
        assert {hit["metadata"]["tenant_id"] for hit in hits} == {"b"}


def test_hostile_writes_change_nothing_of_the_other(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    seeded(client, keys)
    before = client.get("/events", headers=keys["b"]).json()["next"]
    for name in HOSTILE:
        for body in (
            {"content": "x", "memory_id": name},
            {"content": "x", "namespace": name},
            {"content": name, "metadata": {name: name}},
            {"content": "x", "tenant": name},
        ):
            response = client.post("/memory/remember", json=body, headers=keys["a"])
            assert response.status_code in {201, 422}, response.text
    same = {"Idempotency-Key": "same"}
    answers = [
        client.post(
            "/memory/remember", json={"content": "x", "memory_id": "i"}, headers={**keys[tenant], **same}
        ).json()
        for tenant in ("a", "b")
    ]
    assert answers[0]["memory_id"] == answers[1]["memory_id"] == "i"
    assert client.get("/events", headers=keys["b"]).json()["next"] == before + 1
    client.delete("/memory/i", headers=keys["a"])
    assert client.get("/memory/i", headers=keys["b"]).status_code == 200
    text = client.get("/events", params={"limit": 1000}, headers=keys["b"]).text
    assert '"tenant_id":"a"' not in text


def test_a_memory_of_one_tenant_is_none_of_the_other(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    client.post("/memory/remember", json={"content": "secret-of-a", "memory_id": "m"}, headers=keys["a"])
    for response in (client.get("/memory/m", headers=keys["b"]), client.delete("/memory/m", headers=keys["b"])):
        assert (response.status_code, response.json()["code"]) == (404, "memory_not_found")
    assert client.post("/memory/recall", json={"query": {"text": "secret"}}, headers=keys["b"]).json()["hits"] == []
    assert client.get("/memory/m", headers=keys["a"]).status_code == 200
