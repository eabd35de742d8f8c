"""Metrics are read from the database: right after a restart, with a bound on labels."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app, open_database
from somabrain.store import SqlStore
from somabrain.tenancy import TenantId
from tests.contract.test_store import fill

GOAL = {"features": {"at": "goal"}}


def samples(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_options_and_prototypes_are_counted_in_the_database(settings: Settings) -> None:
    changed = settings.model_copy(update={"metrics_cache_s": 0.0})
    with TestClient(make_app(changed), base_url="http://localhost") as client:
        assert samples(client, "option_count") == {}
        for name, kappa in (("a", 1.0), ("b", 3.0), ("c", 1.0)):
            client.post("/oak/option/create", json={"option_id": name, "name": name, "target": GOAL, "kappa": kappa})
        run = {"start": {"features": {"at": "x"}}, "final": GOAL, "rewards": [2]}
        for name in "ab":
            client.post(f"/oak/option/{name}/execution", json=run)
        client.delete("/oak/option/c")
    with TestClient(make_app(changed), base_url="http://localhost") as client:
        assert samples(client, "option_count") == {("active", "local"): 2.0, ("retired", "local"): 1.0}
        assert samples(client, "option_utility_avg") == {("local",): (3.0 + 5.0) / 2}
        assert samples(client, "oak_prototypes") == {(): 2.0}


def test_the_memory_of_compiled_namespaces_is_told(sqlite_client: TestClient) -> None:
    assert samples(sqlite_client, "oak_graph_cache_bytes") == {(): 0.0}
    run = {"steps": [{"state": GOAL, "action": "wait"}], "final": GOAL, "success": True}
    sqlite_client.post("/oak/episode", json=run).raise_for_status()
    sqlite_client.post("/oak/plan", json={"start_state": GOAL, "target_feature": GOAL}).raise_for_status()
    assert samples(sqlite_client, "oak_graph_cache_bytes")[()] > 1_000


def test_tenants_beyond_the_bound_are_one_label(settings: Settings) -> None:
    with open_database(settings) as database:
        store = SqlStore(database)
        for number in range(5):
            with store.write(TenantId(f"t{number}")) as tx:
                fill(tx)
    changed = settings.model_copy(update={"metrics_max_tenants": 2})
    with TestClient(make_app(changed), base_url="http://localhost") as client:
        counts = samples(client, "option_count")
        assert counts["active", "other"] == 3 * 2
        assert {label for _, label in counts} == {"t0", "t1", "other"}


def test_requests_are_observed_by_route_not_by_path(sqlite_client: TestClient) -> None:
    for name in "abc":
        sqlite_client.get(f"/oak/option/{name}")
    sqlite_client.get("/nothing/here")
    counts = samples(sqlite_client, "http_request_duration_seconds_count")
    assert counts["GET", "/oak/option/{option_id}", "404"] == 3
    assert counts["GET", "unmatched", "404"] == 1
