"""Answers on the event loop: only what is at hand, and the same as those of a thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDoneError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from starlette.testclient import TestClient

from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import oak_limits, open_worlds
from somabrain.oak.learning import facts
from somabrain.oak.model import State
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planning import Planning
from somabrain.oak.predicting import Asked, Predicting
from somabrain.store import Database, SqlStore
from tests.conftest import plain_settings
from tests.factories import ALICE, BOB, HOME, stamp
from tests.grids import SIZE, lived, walk

ACT = {"target_feature": {"features": {"at": "shop"}}}


def at(place: str) -> dict[str, Any]:
    return {"features": {"at": place}}


@contextmanager
def no_thread_free(client: TestClient) -> Iterator[None]:
    """The application's requests get no worker thread meanwhile."""
    assert client.portal is not None
    limiter = client.portal.call(_limiter)
    for _ in range(int(limiter.total_tokens)):
        client.portal.call(limiter.acquire_on_behalf_of_nowait, object())
    borrowers = list(limiter.statistics().borrowers)
    try:
        yield
    finally:
        for borrower in borrowers:
            client.portal.call(limiter.release_on_behalf_of, borrower)


async def _limiter() -> anyio.CapacityLimiter:
    return anyio.to_thread.current_default_thread_limiter()


def test_what_is_kept_needs_no_thread_and_what_is_not_waits_for_one(sqlite_client: TestClient) -> None:
    client = sqlite_client
    steps = [{"state": at("home"), "action": "go"}]
    client.post("/oak/episode", json={"steps": steps, "final": at("shop"), "success": True}).raise_for_status()
    kept = [
        ("/oak/act", {"state": at("home"), **ACT}),
        ("/oak/plan", {"start_state": at("home"), **ACT}),
        ("/oak/predict", {"state": at("home"), "agent": "ann"}),
        ("/oak/predict", {"state": at("home"), "episode_id": "scored"}),
    ]
    unkept = [
        ("/oak/act", {"state": at("home"), "target_feature": at("home street")}),
        ("/oak/plan", {"start_state": at("home"), **ACT, "alternatives": 1}),
        ("/oak/plan", {"start_state": {"text": "home"}, **ACT}),
        ("/oak/act", {"namespace": "elsewhere", "state": at("home"), **ACT}),
    ]
    known = [client.post(path, json=body).raise_for_status().json() for path, body in kept]
    with ThreadPoolExecutor(len(unkept)) as pool:
        with no_thread_free(client):
            again = [client.post(path, json=body).raise_for_status().json() for path, body in kept]
            waiting: list[Future[Any]] = [pool.submit(client.post, path, json=body) for path, body in unkept]
            for one in waiting:
                with pytest.raises(NotDoneError):
                    one.result(0.1)
        assert [one.result(30).status_code for one in waiting] == [200] * len(unkept)
    assert [_timeless(one) for one in again] == [_timeless(one) for one in known]
    recorded = client.post("/oak/episode", json={"steps": steps, "final": at("shop"), "success": False})
    version = recorded.raise_for_status().json()["model_version"]
    for path, body in kept:
        assert client.post(path, json=body).raise_for_status().json()["model_version"] == version


def test_odds_that_are_kept_wait_in_a_thread_for_another_writer(sqlite_client: TestClient, tmp_path: Path) -> None:
    client = sqlite_client
    steps = [{"state": at("home"), "action": "go"}]
    body = {"state": at("home"), "episode_id": "scored"}
    client.post("/oak/episode", json={"steps": steps, "final": at("shop"), "success": True}).raise_for_status()
    with open_database(plain_settings(tmp_path)) as another, ThreadPoolExecutor(1) as pool:
        with SqlStore(another).write(BOB):
            waiting: Future[Any] = pool.submit(client.post, "/oak/predict", json=body)
            with pytest.raises(NotDoneError):
                waiting.result(0.3)
            client.post("/oak/act", json={"state": at("home"), **ACT}).raise_for_status()
        waiting.result(30).raise_for_status()
    told = {"episode_id": "scored", "steps": steps, "final": at("shop"), "success": True}
    client.post("/oak/episode", json=told).raise_for_status()
    assert client.get("/oak/calibration").raise_for_status().json()["predictions"] == 1


def _timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "planning_ms"}


def test_on_postgresql_every_answer_has_a_thread(store: SqlStore, settings: Any) -> None:
    assert store.reads_at_once() == (not settings.database_url.startswith("postgresql"))


def test_answers_at_once_are_those_of_a_thread(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path)
    with open_database(settings) as database:
        store, worlds = SqlStore(database), open_worlds(settings)
        manager = OptionManager(limits=oak_limits(settings), worlds=worlds)
        planning = Planning(worlds=worlds, manager=manager, similarity_threshold=0.9, max_options=4)
        predicting = Predicting(manager=manager, confidence_z=1.0)
        with store.write(ALICE) as writer:
            for number in range(6):
                manager.record_episode(writer, HOME, f"e{number}", lived(walk(number)), stamp())
        places = [facts({"x": x, "y": y}) for x in range(SIZE) for y in (0, SIZE - 1)]
        places.append(facts({"x": -1, "y": -1}))
        with store.read(ALICE) as tx:

            def answers(target: State, mode: str, *, at_once: bool) -> list[Any]:
                common: dict[str, Any] = {"threshold": None, "mode": mode, "at_once": at_once}
                return [
                    answer
                    for place in places
                    for answer in (
                        planning.plan(tx, HOME, place, target, max_options=None, alternatives=0, **common),
                        planning.act(tx, HOME, place, target, running=None, top_k=3, **common),
                    )
                ]

            for target in places:
                for mode in ("safe", "explore"):
                    assert answers(target, mode, at_once=False) == answers(target, mode, at_once=True)
            for place in places:
                question = Asked(state=place, target=None, agent=None, steps_taken=2, steps_left=3)
                found = predicting.predict(tx, HOME, question)
                assert found == predicting.predict(tx, HOME, question, at_once=True)


def test_the_connection_kept_for_reading_is_none_of_the_pool(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'one.sqlite3'}", pool_size=1, timeout_s=0.2)
    database.prepare()
    store = SqlStore(database)
    with store.read(ALICE) as outer:
        assert outer.namespace(HOME) is None
        with store.read(BOB) as inner:
            assert inner.namespace(HOME) is None
            assert not store.reads_at_once()
    with store.read(ALICE), store.write(ALICE) as tx:
        assert tx.sequence() == 0
    assert store.reads_at_once()
    database.close()
