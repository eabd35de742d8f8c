"""Each import contract breaks where a module reaches for what it must not; `make check` holds the code to them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]

WRONG = {
    "Settings know nobody, libraries do not know the service": ("common/config/settings.py", "import libs"),
    "From the edge to the nouns": ("somabrain/oak/model.py", "import somabrain.ports"),
    "Adapters see ports and what is below, the outbox the store, and none another": (
        "somabrain/auth/keys.py",
        "import somabrain.policy.embedded",
    ),
    "Adapters know neither the edge nor the use cases": ("somabrain/policy/document.py", "import somabrain.api"),
    "Only bootstrap opens adapters": ("somabrain/api/guard.py", "import somabrain.auth.keys"),
    "Only bootstrap and the outbox open the store": ("somabrain/app.py", "import somabrain.store"),
    "The client knows nothing of the service": ("somabrain/client/brain.py", "import somabrain.errors"),
    "Only milvus_client imports pymilvus": ("somabrain/store/codec.py", "import pymilvus"),
    "Only its adapter imports Minari": ("somabrain/commands/trace_files.py", "import minari"),
    "Only its adapters import LangChain and LangGraph": ("somabrain/commands/memories.py", "import langchain.agents"),
    "Only its adapter imports the OpenAI Agents SDK": ("somabrain/commands/local.py", "import agents"),
    "Only mcp imports the MCP SDK": ("somabrain/commands/output.py", "import mcp"),
    "The MCP server knows of the service what the client tells": ("somabrain/mcp/tools.py", "import somabrain.errors"),
    "Only kernels are compiled": ("somabrain/oak/planner/policy.py", "import numba"),
    "Only subtasks are solved sparsely": ("somabrain/oak/consolidation/salience.py", "import scipy"),
    "Only the edge and adapters are observed": ("somabrain/oak/option_manager.py", "import somabrain.observability"),
    "What observes knows none of what is observed": ("somabrain/observability/logs.py", "import somabrain.api"),
    "The core does no I/O and has no clock, chance, log, task or vendor but numpy": (
        "somabrain/oak/planner/search.py",
        "from time import monotonic",
    ),
    "Use cases and ports do no I/O and name no vendor of it": ("somabrain/oak/changes.py", "import sqlalchemy.orm"),
}


def verdicts(folder: Path) -> dict[str, str]:
    """KEPT or BROKEN for each contract, on the code in `folder`."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    lines = [line.rsplit(" ", 1) for line in output.splitlines() if line.endswith((" KEPT", " BROKEN"))]
    assert lines, output
    return {name: verdict for name, verdict in lines if name in CONTRACTS}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in PROJECT["tool"]["importlinter"]["root_packages"]:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_has_an_example_that_breaks_it() -> None:
    assert set(WRONG) == set(CONTRACTS)


def test_a_wrong_import_breaks_its_contract(copied: Path) -> None:
    for path, statement in WRONG.values():
        with (copied / path).open("a", encoding="utf-8") as module:
            module.write(f"\n{statement}\n")
    assert verdicts(copied) == dict.fromkeys(CONTRACTS, "BROKEN")
