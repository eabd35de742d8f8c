"""Recall above RECALL_EXACT_MAX: what the vector engine proposes, and what is right also where it is late or gone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app, open_database
from somabrain.errors import RecallUnavailableError
from somabrain.memory.model import Query
from somabrain.memory_client import (
    NewMemory,
    OpenedEngine,
    Paused,
    Recalled,
    Recaller,
    RecallLimits,
    forget,
    remember,
)
from somabrain.oak.model import Vector
from somabrain.ports import Near, Shelf, VectorEngineMismatchError, VectorEngineUnavailableError
from somabrain.store import Database, RelayPositions, SqlStore
from somabrain.tenancy import Namespace, TenantId
from tests.conftest import plain_settings
from tests.factories import ALICE, BOB, HOME, stamp
from tests.memories import LIMITS, NOW_MS, follow, new, projection, query, recaller
from tests.reference.vector_engine import MemoryVectorEngine
from tests.vectors import vector

OTHER = Namespace("other")
EXACT_MAX = 50
BEYOND = replace(LIMITS, exact_max=EXACT_MAX, candidates=40, staleness_ms=10_000)
LATER_MS = NOW_MS + 60_000
"""When what was stored at NOW_MS is older than the engine's staleness."""


@dataclass(slots=True)
class Bench:
    """A store, an engine that follows it when it is told to, and recall that may ask it."""

    database: Database
    store: SqlStore
    engine: MemoryVectorEngine = field(default_factory=MemoryVectorEngine)
    asked: int = 0
    while_asked: Callable[[], None] = lambda: None

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        self.asked += 1
        found = self.engine.search(shelf, tenant, namespace, vector, limit=limit)
        self.while_asked()
        return found

    def follow(self) -> None:
        positions = RelayPositions(self.database)
        follow(self.store, positions, projection(self.store, positions, self.engine), [ALICE, BOB])

    def remember(self, *items: NewMemory, namespace: Namespace = HOME, at_ms: int = NOW_MS) -> None:
        with self.store.write(ALICE) as tx:
            remember(tx, namespace, items, stamp(at_ms))

    def forget(self, *ids: str, at_ms: int = NOW_MS) -> None:
        with self.store.write(ALICE) as tx:
            for memory_id in ids:
                forget(tx, HOME, memory_id, stamp(at_ms))

    def recaller(self, limits: RecallLimits = BEYOND, **changes: Any) -> Recaller:
        return recaller(self.store, self, limits=limits, **changes)

    def exact(self, wanted: Query, now_ms: int = LATER_MS, namespace: Namespace = HOME) -> list[tuple[str, float]]:
        return told(recaller(self.store).recall(ALICE, namespace, wanted, now_ms))


def told(recalled: Recalled) -> list[tuple[str, float]]:
    return [(memory.memory_id, score) for memory, score in recalled.hits]


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    with open_database(settings) as database:
        yield Bench(database=database, store=SqlStore(database))


def many(count: int, prefix: str = "m") -> list[NewMemory]:
    return [new(f"{prefix}{number:03}", metadata={"n": number % 5}) for number in range(count)]


def test_up_to_the_limit_the_engine_is_not_asked(bench: Bench) -> None:
    bench.remember(*many(EXACT_MAX))
    recall = bench.recaller()
    found = recall.recall(ALICE, HOME, query(vector("q")), LATER_MS)
    assert (bench.asked, found.degraded, told(found)) == (0, False, bench.exact(query(vector("q"))))
    bench.remember(new("one more"), namespace=OTHER)
    bench.follow()
    recall.recall(ALICE, HOME, query(vector("q")), LATER_MS)
    assert bench.asked == 1


def test_above_the_limit_the_answer_is_the_exact_one(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.remember(*many(30), namespace=OTHER)
    bench.follow()
    recall = bench.recaller()
    for seed in range(20):
        for min_score in (None, 0.2):
            wanted = query(vector(seed), top_k=7, min_score=min_score)
            found = recall.recall(ALICE, HOME, wanted, LATER_MS)
            assert (told(found), found.degraded) == (bench.exact(wanted), False)
    assert bench.asked == 40
    assert told(recall.recall(BOB, HOME, query(vector(1)), LATER_MS)) == []
    assert told(recall.recall(ALICE, Namespace("unseen"), query(vector(1)), LATER_MS)) == []


def test_whole_memories_come_back(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    with bench.store.read(ALICE) as tx:
        known = tx.memories.get(HOME, [f"m{number:03}" for number in range(120)])
    for memory, _ in bench.recaller().recall(ALICE, HOME, query(vector("q"), top_k=20), LATER_MS).hits:
        assert memory == known[memory.memory_id]


def test_what_is_not_projected_yet_is_found(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    wanted = query(vector("late"), top_k=3)
    bench.remember(new("late"))
    found = bench.recaller().recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), False)
    assert told(found)[0][0] == "late"


def test_what_the_engine_has_but_may_not_show_yet_is_found(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    bench.remember(new("young"), at_ms=LATER_MS - 10_000)
    bench.follow()
    bench.engine.delete(Shelf.MEMORIES, ALICE, [(HOME, "young")])
    found = bench.recaller().recall(ALICE, HOME, query(vector("young"), top_k=1), LATER_MS)
    assert [one for one, _ in told(found)] == ["young"]


def test_what_is_projected_while_the_engine_answers_is_found(bench: Bench) -> None:
    """It was not in the engine when that searched, and is behind its position when SQL is read."""
    bench.remember(*many(120))
    bench.follow()
    bench.remember(new("late"))
    bench.while_asked = bench.follow
    found = bench.recaller().recall(ALICE, HOME, query(vector("late"), top_k=1), LATER_MS)
    assert [one for one, _ in told(found)] == ["late"]


def test_what_is_forgotten_is_not_found(bench: Bench) -> None:
    bench.remember(*many(160))
    bench.follow()
    recall = bench.recaller()
    wanted = query(vector("q"), top_k=5)
    nearest = [one for one, _ in told(recall.recall(ALICE, HOME, wanted, LATER_MS))]
    bench.forget(*nearest)
    found = recall.recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), False)
    assert not set(nearest) & {one for one, _ in told(found)}
    bench.remember(new(nearest[0]))
    assert told(recall.recall(ALICE, HOME, wanted, LATER_MS)) == bench.exact(wanted)


def test_where_most_that_the_engine_proposes_is_forgotten_the_answer_is_whole(bench: Bench) -> None:
    bench.remember(*many(160))
    bench.follow()
    wanted = query(vector("q"), top_k=10)
    bench.forget(*(one for one, _ in bench.exact(query(vector("q"), top_k=38))))
    found = bench.recaller().recall(ALICE, HOME, wanted, LATER_MS)
    assert told(found) == bench.exact(wanted)


def test_where_most_that_the_engine_proposes_has_expired_the_answer_is_whole(bench: Bench) -> None:
    bench.remember(*(replace(one, ttl_s=10 if one.memory_id < "m100" else None) for one in many(160)))
    bench.follow()
    wanted = query(vector("m001"), top_k=30)
    found = bench.recaller().recall(ALICE, HOME, wanted, LATER_MS)
    assert told(found) == bench.exact(wanted)
    assert len(told(found)) == 30


def test_a_burst_of_what_is_near_does_not_need_a_scan(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    bench.remember(*(new(f"b{number:02}", vector=vector("burst")) for number in range(45)), at_ms=LATER_MS)
    bench.follow()
    wanted = query(vector("burst"), top_k=10)
    found = bench.recaller().recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), False)


def test_what_is_replaced_scores_by_its_new_vector(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    bench.remember(new("m007", vector=vector("elsewhere"), content="new"))
    recall = bench.recaller()
    for wanted in (query(vector("m007"), top_k=10), query(vector("elsewhere"), top_k=10)):
        found = recall.recall(ALICE, HOME, wanted, LATER_MS)
        assert told(found) == bench.exact(wanted)
    first, score = told(found)[0]
    assert first == "m007"
    assert score == pytest.approx(1.0, abs=1e-3)
    assert found.hits[0][0].content == "new"


@pytest.mark.parametrize("holds", [{}, {"even": True}], ids=["all", "filtered"])
def test_a_random_life_is_recalled_exactly_whatever_the_lag(bench: Bench, holds: dict[str, bool]) -> None:
    rng = random.Random(5)
    bench.remember(*(replace(one, metadata={"even": one.memory_id[-1] in "02468"}) for one in many(90)))
    bench.follow()
    recall = bench.recaller(replace(BEYOND, candidates=2) if holds else BEYOND)
    for step in range(120):
        name = f"m{rng.randrange(110):03}"
        with bench.store.read(ALICE) as tx:
            known = bool(tx.memories.get(HOME, [name]))
        if rng.random() < 0.3 and known:
            bench.forget(name)
        else:
            even = {"even": rng.random() < 0.5}
            bench.remember(new(name, vector=vector(rng.randrange(40)), importance=0.5, metadata=even))
        if rng.random() < 0.1:
            bench.follow()
        wanted = query(vector(rng.randrange(40)), top_k=5, holds=holds)
        assert told(recall.recall(ALICE, HOME, wanted, LATER_MS)) == bench.exact(wanted), step
    assert bench.asked > 50


def test_without_the_engine_the_hits_are_the_same_and_degraded(bench: Bench) -> None:
    bench.remember(*many(120))
    wanted = query(vector("q"), top_k=9, min_score=0.1)
    bench.engine.down = True
    for recall in (bench.recaller(), recaller(bench.store, None, limits=BEYOND)):
        found = recall.recall(ALICE, HOME, wanted, LATER_MS)
        assert (told(found), found.degraded) == (bench.exact(wanted), True)
    bench.engine.down = False
    bench.follow()
    assert bench.recaller().recall(ALICE, HOME, wanted, LATER_MS).degraded is False


def test_a_filter_that_lets_few_through_is_answered_exactly_without_the_engine(bench: Bench) -> None:
    bench.remember(*many(120))
    holding: list[tuple[Any, int]] = [(0, 24), (4, 24), (4.0, 24), (5, 0), ("4", 0), (True, 0)]
    for value, count in holding:
        wanted = query(vector("q"), holds={"n": value}, top_k=100)
        found = bench.recaller().recall(ALICE, HOME, wanted, LATER_MS)
        assert (told(found), found.degraded, bench.asked) == (bench.exact(wanted), False, 0)
        assert len(told(found)) == count


FILTERED = replace(BEYOND, candidates=2, proposals_max=60)
"""Limits under which a filter that lets 24 through has the engine propose."""


def test_of_what_the_engine_proposes_only_what_passes_the_filter_is_found(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    recall = bench.recaller(FILTERED)
    for seed in range(20):
        for holds in ({"n": seed % 5}, {"n": seed % 5, "even": True}):
            bench.remember(new("late", vector=vector(seed), metadata={"n": seed % 5, "even": True}))
            bench.remember(new("another", vector=vector(seed), metadata={"n": (seed + 1) % 5}))
            wanted = query(vector(seed), top_k=3, holds=holds)
            found = recall.recall(ALICE, HOME, wanted, LATER_MS)
            assert (told(found), found.degraded) == (bench.exact(wanted), False)
            assert told(found)[0][0] == "late"
    assert bench.asked >= 20


def test_where_none_of_the_nearest_passes_the_filter_the_answer_is_whole(bench: Bench) -> None:
    bench.remember(*many(120))
    ranked = [one for one, _ in bench.exact(query(vector("q"), top_k=120))]
    bench.remember(*(new(one, metadata={"far": place >= 90}) for place, one in enumerate(ranked)))
    bench.follow()
    wanted = query(vector("q"), top_k=3, holds={"far": True})
    found = bench.recaller(FILTERED).recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded, bench.asked) == (bench.exact(wanted), False, 2)
    assert [one for one, _ in told(found)] == ranked[90:93]
    found = bench.recaller(replace(FILTERED, proposals_max=100)).recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded, bench.asked) == (bench.exact(wanted), False, 4)


def test_of_many_that_pass_the_nearest_are_scored(bench: Bench) -> None:
    """More of what is proposed passes than is wanted; where too many of these have moved or expired, all are read."""
    bench.remember(*many(300))
    ranked = [one for one, _ in bench.exact(query(vector("q"), top_k=100))]
    bench.remember(*(new(f"m{number:03}", metadata={"near": f"m{number:03}" in ranked[:6]}) for number in range(300)))
    bench.follow()
    wanted = query(vector("q"), top_k=3, holds={"near": False})
    found = bench.recaller(replace(FILTERED, proposals_max=200)).recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded, bench.asked) == (bench.exact(wanted), False, 1)
    assert [one for one, _ in told(found)] == ranked[6:9]
    moved = [new(one, vector=vector(ranked[40]), metadata={"near": False}) for one in ranked[6:12]]
    bench.remember(*moved)
    found = bench.recaller(FILTERED).recall(ALICE, HOME, wanted, LATER_MS)
    assert [one for one, _ in told(found)] == [one for one, _ in bench.exact(wanted)] == ranked[12:15]
    expired = [replace(new(one), metadata={"near": False}, ttl_s=10) for one in ranked[6:14]]
    bench.remember(*expired)
    bench.follow()
    assert told(bench.recaller(FILTERED).recall(ALICE, HOME, wanted, LATER_MS)) == bench.exact(wanted)


def test_a_filter_that_lets_many_through_is_degraded_without_the_engine(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.engine.down = True
    wanted = query(vector("q"), holds={"n": 3})
    found = bench.recaller(FILTERED).recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), True)


def test_the_limit_is_crossed_downwards_too(bench: Bench) -> None:
    bench.remember(*many(EXACT_MAX))
    recall, wanted = bench.recaller(), query(vector("q"), top_k=EXACT_MAX)
    assert told(recall.recall(ALICE, HOME, wanted, LATER_MS)) == bench.exact(wanted)
    bench.remember(*many(20, "x"))
    bench.follow()
    recall.recall(ALICE, HOME, wanted, LATER_MS)
    assert bench.asked == 1
    bench.forget(*(f"x{number:03}" for number in range(20)), "m001", "m002")
    bench.remember(new("m003", vector=vector("moved")))
    assert told(recall.recall(ALICE, HOME, wanted, LATER_MS)) == bench.exact(wanted)
    assert bench.asked == 1


def test_more_that_is_fresh_than_may_be_read_is_scanned(bench: Bench) -> None:
    bench.remember(*many(120))
    wanted = query(vector("q"))
    found = bench.recaller().recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), True)


def test_a_limit_of_zero_leaves_everything_to_the_engine(bench: Bench) -> None:
    bench.remember(*many(120))
    bench.follow()
    wanted = query(vector("q"))
    found = bench.recaller(replace(BEYOND, exact_max=0)).recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), False)


def test_a_scan_that_takes_too_long_is_given_up(bench: Bench) -> None:
    bench.remember(*many(120))
    ticks = iter(range(1000))
    recall = recaller(bench.store, limits=replace(BEYOND, scan_deadline_s=2.0), monotonic_s=lambda: float(next(ticks)))
    with pytest.raises(RecallUnavailableError):
        recall.recall(ALICE, HOME, query(vector("q")), LATER_MS)
    with pytest.raises(RecallUnavailableError):
        recall.recall(ALICE, HOME, query(vector("q"), holds={"n": 1}), LATER_MS)
    assert told(recall.recall(ALICE, Namespace("unseen"), query(vector("q")), LATER_MS)) == []


def test_an_engine_that_failed_is_left_alone_for_a_while(bench: Bench) -> None:
    now_s = [100.0]
    paused = Paused(bench, pause_s=5.0, monotonic_s=lambda: now_s[0])

    def asked() -> int:
        before = bench.asked
        try:
            paused.search(Shelf.MEMORIES, ALICE, HOME, vector("q"), limit=3)
        except VectorEngineUnavailableError:
            return before - bench.asked
        return bench.asked - before

    assert asked() == 1
    bench.engine.down = True
    assert asked() == -1
    bench.engine.down = False
    now_s[0] += 4.9
    assert asked() == 0
    now_s[0] += 0.1
    assert (asked(), asked()) == (1, 1)
    bench.engine.down = True
    assert (asked(), asked()) == (-1, 0)
    now_s[0] += 5
    assert (asked(), asked()) == (-1, 0)


@dataclass(slots=True)
class Mismatched:
    """An engine of another make."""

    asked: int = 0

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        self.asked += 1
        message = "of another make"
        raise VectorEngineMismatchError(message)


def test_an_engine_of_another_make_is_as_good_as_none(bench: Bench) -> None:
    bench.remember(*many(120))
    other = Mismatched()
    recall = recaller(bench.store, Paused(other, pause_s=5.0, monotonic_s=lambda: 1.0), limits=BEYOND)
    wanted = query(vector("q"))
    for _ in range(3):
        found = recall.recall(ALICE, HOME, wanted, LATER_MS)
        assert (told(found), found.degraded) == (bench.exact(wanted), True)
    assert other.asked == 1


def test_a_projection_that_was_not_compared_yet_is_not_searched(bench: Bench) -> None:
    bench.remember(*many(120))
    held = projection(bench.store, RelayPositions(bench.database), bench.engine)
    recall, wanted = recaller(bench.store, held, limits=BEYOND), query(vector("q"))
    assert recall.recall(ALICE, HOME, wanted, LATER_MS).degraded is True
    held.check()
    RelayPositions(bench.database).advance("milvus", ALICE, 120)
    found = recall.recall(ALICE, HOME, wanted, LATER_MS)
    assert (told(found), found.degraded) == (bench.exact(wanted), False)
    bench.engine.down = True
    assert recall.recall(ALICE, HOME, wanted, LATER_MS).degraded is True
    held.close()
    bench.engine.down = False
    assert recall.recall(ALICE, HOME, wanted, LATER_MS).degraded is True


@pytest.mark.parametrize("rebuilding", [False, True])
def test_recall_is_right_while_the_engine_is_filled_again(bench: Bench, *, rebuilding: bool) -> None:
    bench.remember(*many(120))
    bench.follow()
    wanted, recall = query(vector("q")), bench.recaller()
    seen: list[tuple[bool, bool]] = []

    def ask() -> None:
        found = recall.recall(ALICE, HOME, wanted, LATER_MS)
        seen.append((told(found) == bench.exact(wanted), found.degraded))

    ask()
    held = projection(bench.store, RelayPositions(bench.database), bench.engine, breathe=ask)
    if rebuilding:
        held.clear()
        ask()
    else:
        bench.engine.clear(Shelf.MEMORIES)
    held.check()
    ask()
    assert all(right for right, _ in seen)
    assert len(seen) > 10
    assert (seen[0][1], seen[1][1], seen[-1][1]) == (False, True, False)
    with bench.store.read(ALICE) as tx:
        assert tx.position("milvus") == tx.sequence()


def test_an_engine_opens_with_the_first_search(bench: Bench) -> None:
    opened = OpenedEngine(bench.engine, wait_s=5.0)
    assert opened.search(Shelf.MEMORIES, ALICE, HOME, vector("q"), limit=3) == []
    bench.engine.down = True
    with pytest.raises(VectorEngineUnavailableError):
        opened.search(Shelf.MEMORIES, ALICE, HOME, vector("q"), limit=3)


@contextmanager
def beyond(folder: Path, database_url: str, **changes: Any) -> Iterator[TestClient]:
    settings = plain_settings(folder, database_url=database_url, recall_exact_max=20, **changes)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        items = [{"content": f"thing {number}", "memory_id": f"m{number:02}"} for number in range(40)]
        assert client.post("/memory/remember/batch", json={"memories": items}).status_code == 201
        yield client


def test_over_http_without_an_engine(tmp_path: Path, database_url: str) -> None:
    with beyond(tmp_path, database_url) as client:
        answer = client.post("/memory/recall", json={"query": {"text": "thing 7"}, "top_k": 3}).json()
        assert answer["degraded"] is True
        assert answer["hits"][0]["memory_id"] == "m07"
        for number in range(20):
            client.delete(f"/memory/m{39 - number}")
        again = client.post("/memory/recall", json={"query": {"text": "thing 7"}, "top_k": 3}).json()
        assert again["degraded"] is False
        assert again["hits"][0]["memory_id"] == "m07"


def test_over_http_where_a_scan_takes_too_long(tmp_path: Path, database_url: str) -> None:
    with beyond(tmp_path, database_url, recall_scan_deadline_s=1e-9) as client:
        response = client.post("/memory/recall", json={"query": {"text": "thing 7"}})
        assert (response.status_code, response.json()["code"]) == (503, "recall_unavailable")
        assert response.headers["retry-after"]
        assert client.get("/memory/m07").status_code == 200
        assert client.post("/memory/remember", json={"content": "x"}).status_code == 201
