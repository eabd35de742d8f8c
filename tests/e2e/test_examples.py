"""The examples as a reader runs them: each learns, offline, and says what became of success."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

EXAMPLES = Path(__file__).parents[2] / "examples"
LOGS = EXAMPLES.parents[1] / "shared" / "data" / "alfworld" / "episodes.jsonl.gz"
LINES_MAX = 80
SAID = re.compile(r"([\d.]+) before, ([\d.]+) after")


def said(folder: Path, *arguments: str, seeds: int) -> list[tuple[float, float]]:
    """Before and after, for each seed and then in the mean."""
    command = [sys.executable, *arguments, "--seeds", str(seeds)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    pairs = [(float(before), float(after)) for before, after in SAID.findall(run.stdout)]
    assert len(pairs) == seeds + 1
    return pairs


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < LINES_MAX


def test_the_support_agent_learns_which_tools_lead_to_a_refund(tmp_path: Path) -> None:
    for before, after in said(tmp_path, str(EXAMPLES / "support_agent.py"), seeds=5):
        assert before < 0.3
        assert after > 0.9


def test_frozen_lake_is_crossed_after_random_steps(tmp_path: Path) -> None:
    for before, after in said(tmp_path, str(EXAMPLES / "frozen_lake.py"), seeds=5):
        assert before < 0.1
        assert after > 0.4


def test_the_household_agent_wastes_fewer_turns_on_lost_runs(tmp_path: Path) -> None:
    if not LOGS.is_file():
        missing(f"no logs of ALFWorld at {LOGS}")
    (*_, (before, after)) = said(tmp_path, str(EXAMPLES / "household_agent.py"), str(LOGS), seeds=5)
    assert after > 1.1 * before
