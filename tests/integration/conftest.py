"""One server for the tests of what stands before the client: the MCP server and the adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from somabrain.client import Brain
from tests.servers import RunningServer, somabrain


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with somabrain({"MILVUS_URI": "off"}, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def own_brain(shared_server: RunningServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Brain]:
    """A namespace of each test's own; odds may take their time on a busy machine."""
    module = request.path.stem.removeprefix("test_").removesuffix("_adapter")
    namespace = f"{module}.{request.node.name}".replace("[", "-").replace("]", "")[:64]
    with Brain(shared_server.url, namespace=namespace, queue=tmp_path / "queue", deadline_s=10.0) as opened:
        yield opened
