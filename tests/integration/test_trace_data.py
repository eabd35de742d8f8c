"""The real files of traces: each is converted or refused with a reason, and the service takes what is converted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from somabrain.commands.trace_files import pieces
from somabrain.traces import Converted, converted

DATA = Path(__file__).parents[2].parent / "shared" / "data"
AIRLINE = DATA / "tau_airline" / "trajectories.json"
HOUSEHOLD = DATA / "alfworld" / "episodes.jsonl.gz"


def traces(path: Path) -> list[Converted]:
    if not path.exists():
        pytest.skip(f"no data at {path}")
    return [one for piece in pieces(path) for one in converted(piece.document)]


def bodies(found: list[Converted]) -> list[dict[str, Any]]:
    return [one.body for one in found if one.body is not None]


def refused(found: list[Converted]) -> Counter[str]:
    return Counter(one.refusal.code for one in found if one.refusal is not None)


def ends(found: list[Converted]) -> Counter[tuple[bool, bool | None]]:
    return Counter((one["terminated"], one.get("success")) for one in bodies(found))


def test_the_airline_runs() -> None:
    found = traces(AIRLINE)
    assert (len(found), refused(found)) == (140, {"trace_without_steps": 13})
    assert ends(found) == {(True, False): 63, (True, True): 61, (False, False): 3}
    assert len({one["episode_id"] for one in bodies(found)}) == 127
    steps = [step for one in bodies(found) for step in one["steps"]]
    assert Counter(step.get("ok") for step in steps) == {True: 718, False: 50}
    assert len({one["group"] for one in bodies(found)}) <= 35


def test_the_household_logs() -> None:
    found = traces(HOUSEHOLD)
    assert (len(found), refused(found)) == (3325, {"trace_without_steps": 310})
    assert ends(found) == {(False, False): 1635, (True, True): 1380}
    steps = [step for one in bodies(found) for step in one["steps"]]
    assert Counter(step.get("ok") for step in steps) == {True: 31247, False: 7771, None: 5382}
    assert all("turn" not in step["state"]["features"] for step in steps)


def test_the_service_takes_them_and_counts_none_twice(sqlite_client: TestClient) -> None:
    episodes = bodies(traces(AIRLINE))[:100]
    first = sqlite_client.post("/oak/episodes", json={"episodes": episodes})
    assert first.status_code == 200, first.text
    assert sqlite_client.post("/oak/episodes", json={"episodes": episodes}).content == first.content
    start, goal = {"features": {"last": ""}}, {"features": {"outcome": "success"}}
    plan = sqlite_client.post("/oak/plan", json={"start_state": start, "target_feature": goal}).json()
    assert (plan["reached"], plan["reason"]) == (True, None)
