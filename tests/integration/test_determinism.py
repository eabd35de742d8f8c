"""The same request on the same model version gives the same bytes: in another process, and after a restart."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import httpx

from tests.servers import somabrain

STATES = 12


def learn(client: httpx.Client) -> None:
    """A world with ties, retries and failures."""
    rng = random.Random(3)
    for name in ("a", "b", "c", "d"):
        body = {"option_id": name, "name": name, "target": {"features": {"s": 0}}}
        client.post("/oak/option/create", json=body).raise_for_status()
    runs = [
        {
            "option_id": rng.choice("abcd"),
            "start": {"features": {"s": rng.randrange(STATES)}},
            "final": {"features": {"s": rng.randrange(STATES)}},
            "rewards": [-1.0] * rng.randint(1, 3),
            "terminated_by": rng.choice(["target", "failure"]),
        }
        for _ in range(400)
    ]
    client.post("/oak/executions", json={"executions": runs}).raise_for_status()


def plans(client: httpx.Client) -> list[str]:
    """Every plan's text but the time it took."""
    texts = []
    for start in range(STATES):
        for goal in range(STATES):
            body: dict[str, Any] = {
                "start_state": {"features": {"s": start}},
                "target_feature": {"features": {"s": goal}},
                "alternatives": 3,
                "max_options": 1 + (start + goal) % 4,
            }
            texts.append(client.post("/oak/plan", json=body).text.rsplit(',"planning_ms"', 1)[0])
    return texts


def test_plans_do_not_depend_on_the_process(tmp_path: Path) -> None:
    answers = []
    for seed in ("1", "2"):
        with somabrain({"PYTHONHASHSEED": seed}, tmp_path) as server, httpx.Client(base_url=server.url) as client:
            if not answers:
                learn(client)
            answers += [plans(client), plans(client)]
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert sum('"reached":true' in text for text in answers[0]) > STATES * STATES / 2
