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

from somabrain.app import Application, create_app
from somabrain.bootstrap import api_settings, make_app, open_services
from tests.conftest import plain_settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 40
"""Cases of each operation that are drawn, beside those that cover its schema."""
SCENARIOS = 60
"""Sequences of requests that are drawn."""


def described() -> OpenApiSchema:
    """What the application says of itself; the same cases in every run."""
    config = SchemathesisConfig.from_path(ROOT / "schemathesis.toml")
    config.update(seed=1, max_failures=None, max_time=None)
    project = config.projects.get_default()
    project.update(base_url="http://localhost")
    project.generation.update(deterministic=True, max_examples=EXAMPLES, database="none")
    document = make_app(plain_settings(Path())).openapi()
    return schemathesis.openapi.from_dict(orjson.loads(orjson.dumps(document)), config=config)


api = described()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The running application."""
    settings = plain_settings(tmp_path_factory.mktemp("schemathesis"))
    with open_services(settings) as services:
        yield create_app(lambda: nullcontext(services), api_settings(settings), settings.memory_dim)


@api.parametrize()
def test_requests(case: schemathesis.Case, app: Application) -> None:
    case.call_and_validate(app=app)


def test_sequences_of_requests(app: Application) -> None:
    settings = hypothesis.settings(
        max_examples=SCENARIOS,
        stateful_step_count=8,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    schema = api.clone()
    schema.app = app
    schema.as_state_machine().run(settings=settings)
