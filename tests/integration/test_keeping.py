"""Retention: a discovered option lives as long as plans, actions or runs use it, and its utility earns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.api.services import Services
from somabrain.bootstrap import application, open_services
from somabrain.oak.keeping import Uses, retire_unused
from somabrain.oak.model import Evidence, Option, Source, Status
from somabrain.ports import Store
from somabrain.tenancy import TenantId
from tests.conftest import plain_settings
from tests.factories import HOME, spec, stamp
from tests.grids import GOAL, cell, walks

LOCAL = TenantId("local")
DAY_MS = 86_400_000
NEVER = 1_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return plain_settings(tmp_path, oak_consolidate_episodes=NEVER, oak_use_flush_s=3600.0)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with open_services(settings) as services:
        yield services


@pytest.fixture
def client(settings: Settings, services: Services) -> Iterator[TestClient]:
    """A world in which options were discovered."""
    app = application(settings, lambda: nullcontext(services))
    with TestClient(app, base_url="http://localhost") as client:
        client.post("/oak/episodes", json=walks(0, 30)).raise_for_status()
        client.post("/oak/consolidate", json={"wait": True}).raise_for_status()
        yield client


def active(store: Store) -> dict[str, Option]:
    with store.read(LOCAL) as tx:
        return {one.option_id: one for one in tx.options(HOME, source=Source.DISCOVERED, status=Status.ACTIVE)}


def retired_at(services: Services, after_ms: int) -> set[str]:
    """What is retired when the newest option is so old."""
    before = active(services.store)
    made_ms = max(option.created_at_ms for option in before.values())
    retire_unused(services.store, services.manager, [LOCAL], stamp(made_ms + after_ms))
    return set(before) - set(active(services.store))


def test_nobody_uses_them(services: Services, client: TestClient) -> None:
    known = set(active(services.store))
    assert retired_at(services, DAY_MS - 60_000) == set()
    assert retired_at(services, DAY_MS + 60_000) == known
    events = client.get("/events", params={"limit": 1000}).json()["events"]
    assert {event["option_id"] for event in events if event["type"] == "OptionRetired"} == known
    with services.store.read(LOCAL) as tx:
        record = tx.namespace(HOME)
        assert record is not None
        assert record.active_options == 0
        assert {one.status for one in tx.options(HOME, source=Source.PRIMITIVE)} == {Status.ACTIVE}


@pytest.mark.parametrize("path", ["/oak/plan", "/oak/act"])
def test_plans_and_actions_keep_what_they_use(services: Services, client: TestClient, path: str) -> None:
    start = {"start_state" if path == "/oak/plan" else "state": cell((0, 0)), "target_feature": cell(GOAL)}
    answer = client.post(path, json=start).json()
    used = set(answer["options"] if path == "/oak/plan" else [answer["option_id"]]) & set(active(services.store))
    assert used
    made_ms = max(option.created_at_ms for option in active(services.store).values())
    late = Uses(store=services.store, clock_ms=lambda: made_ms + DAY_MS)
    late.note(LOCAL, HOME, used)
    assert retired_at(services, 0) == set()
    services.uses.flush()
    late.flush()
    retired = retired_at(services, DAY_MS + 60_000)
    assert retired
    assert not retired & used
    assert retired_at(services, 2 * DAY_MS + 60_000) == used


def test_runs_keep_what_they_run_and_utility_earns_time(services: Services, client: TestClient) -> None:
    first, second, *_ = sorted(active(services.store))
    run = {"start": cell((0, 0)), "final": cell(GOAL), "rewards": [1.0]}
    client.post(f"/oak/option/{first}/execution", json=run).raise_for_status()
    with services.store.write(LOCAL) as tx:
        option = tx.option(HOME, second)
        assert option is not None
        tx.save_options(HOME, [replace(option, evidence=Evidence(runs=1, reward=2.0))])
        used_ms = tx.experience.unused(HOME, before_ms=2**60)[first]
    assert used_ms >= option.created_at_ms
    assert not {first, second} & retired_at(services, DAY_MS + 60_000)
    assert second not in retired_at(services, 2 * DAY_MS)
    assert second in retired_at(services, 3 * DAY_MS + 60_000)


def test_declared_options_and_foreign_ones_are_never_retired(services: Services, client: TestClient) -> None:
    with services.store.write(LOCAL) as tx:
        services.manager.create(tx, HOME, "mine", spec(), stamp())
    retire_unused(services.store, services.manager, [TenantId("other")], stamp(2**45))
    assert active(services.store)
    retire_unused(services.store, services.manager, [LOCAL], stamp(2**45))
    assert client.get("/oak/option/mine").json()["status"] == "active"
