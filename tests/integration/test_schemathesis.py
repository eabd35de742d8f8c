"""Every route against its own description, by Schemathesis with all checks: no 5xx, no answer that is not documented.

What a schema can't say is in `schemathesis.toml`, with its reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import hypothesis
import orjson
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.testclient import TestClient

from somabrain.api.services import Services
from somabrain.app import Application, create_app
from somabrain.bootstrap import make_app, open_services
from tests.conftest import plain_settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 60
"""Cases of each operation that are drawn, beside those that cover its schema."""
SCENARIOS = 50
STEPS = 6
"""How many sequences of requests are drawn, and how long they get."""
URL = "http://localhost"
OPTION = "0"
"""The id that is drawn most often."""
END_OF_TIME_MS = 2**62
BEFORE, AFTER = {"features": {"at": "home"}}, {"features": {"at": "goal"}}


def described() -> OpenApiSchema:
    """What the application says of itself; the same cases in every run."""
    config = SchemathesisConfig.from_path(ROOT / "schemathesis.toml")
    config.update(seed=1, max_failures=None, max_time=None)
    document = make_app(plain_settings(Path())).openapi()
    schema = schemathesis.openapi.from_dict(orjson.loads(orjson.dumps(document)), config=config)
    schema.config.update(base_url=URL)
    schema.config.generation.update(deterministic=True, max_examples=EXAMPLES, database="none")
    return schema


api = described()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """What the application works with."""
    with open_services(plain_settings(tmp_path_factory.mktemp("schemathesis"))) as services:
        yield services


@pytest.fixture(scope="module")
def application(services: Services) -> Application:
    """The application."""
    return create_app(lambda: nullcontext(services), services.settings, services.limits.dimension)


@pytest.fixture
def app(application: Application, services: Services) -> Iterator[Application]:
    """The application, with an option that has run and a memory; something it is asked must be to its liking."""
    begin_anew(application, services)
    seeded = accepted(services)
    yield application
    assert accepted(services) > seeded


def begin_anew(application: Application, services: Services) -> None:
    """Leaves one option that has run, an episode and a memory of the same id, and what others were remembered."""
    services.store.expire_replies(END_OF_TIME_MS)
    with TestClient(application, base_url=URL) as client:
        for known in client.get("/oak/namespaces").json()["namespaces"]:
            client.delete(f"/oak/namespace/{known['namespace']}")
        client.post("/oak/option/create", json={"option_id": OPTION, "name": "go", "target": AFTER})
        client.post(f"/oak/option/{OPTION}/execution", json={"start": BEFORE, "final": AFTER, "rewards": [1]})
        lived = {"steps": [{"state": BEFORE, "action": "push"}], "final": AFTER, "episode_id": OPTION}
        client.post("/oak/episode", json=lived)
        client.post("/memory/remember", json={"memory_id": OPTION, "content": "the door is open"})


def accepted(services: Services) -> float:
    """How many requests were answered with 2xx."""
    counts = [sample for metric in services.metrics.http.collect() for sample in metric.samples]
    return sum(one.value for one in counts if one.name.endswith("_count") and one.labels["status"].startswith("2"))


@api.parametrize()
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_requests(case: schemathesis.Case, app: Application) -> None:
    case.call_and_validate(app=app)


def test_sequences_of_requests(app: Application, services: Services) -> None:
    begun_by_any = api.exclude(path=["/oak/namespaces", "/oak/options"])  # or only these two begin sequences
    begun_by_any.app = app

    class Workflow(begun_by_any.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            begin_anew(app, services)

    settings = hypothesis.settings(
        max_examples=SCENARIOS,
        stateful_step_count=STEPS,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    Workflow.run(settings=settings)
