"""SIGKILL under load: what was acknowledged is there, no event is lost, nothing counts twice."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from somabrain.outbox.reading import read_events
from tests.conftest import plain_settings
from tests.integration.test_replay import replayed
from tests.servers import RunningServer

KILLS = 50
WRITERS = 4


class Writer(threading.Thread):
    """Sends runs with idempotency keys, and the unanswered one again after each failure, until told to stop."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name=name)
        self._url = url
        self.stopped = threading.Event()
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    def run(self) -> None:
        number = 0
        with httpx.Client(base_url=self._url, timeout=5.0) as client:
            while True:
                key = f"{self.name}-{number}"
                body: dict[str, Any] = {
                    "start": {"features": {"at": "start"}},
                    "final": {"features": {"at": f"p{number % 5}"}},
                    "rewards": [float(number)],
                }
                try:
                    response = client.post(
                        f"/oak/option/{self.name}/execution", json=body, headers={"Idempotency-Key": key}
                    )
                except httpx.HTTPError:
                    time.sleep(0.01)
                    continue
                if response.status_code == httpx.codes.OK:
                    self.acknowledged.append(key)
                    number += 1
                else:
                    self.refused.append(response.text)
                if self.stopped.is_set():
                    return


def test_fifty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    events = tmp_path / "events.avro"
    server = RunningServer({"EVENTS_FILE": str(events)}, tmp_path)
    server.start()
    writers = [Writer(server.url, f"w{number}") for number in range(WRITERS)]
    with httpx.Client(base_url=server.url) as client:
        for writer in writers:
            body = {"option_id": writer.name, "name": writer.name, "target": {"features": {"at": "p0"}}}
            assert client.post("/oak/option/create", json=body).status_code == 201
    try:
        for writer in writers:
            writer.start()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.02, 0.35))
            server.kill()
            server.start()
        time.sleep(0.3)
        for writer in writers:
            writer.stopped.set()
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive()
        assert [writer.refused for writer in writers] == [[]] * WRITERS
        _check_model(server, writers)
        _check_events(server, events, len(writers))
    finally:
        for writer in writers:
            writer.stopped.set()
        server.stop()
    stored, again = replayed(plain_settings(tmp_path), tmp_path / "scratch")
    assert again == stored


def _check_model(server: RunningServer, writers: list[Writer]) -> None:
    for writer in writers:
        option = httpx.get(f"{server.url}/oak/option/{writer.name}").json()
        assert option["executions"] == len(writer.acknowledged) > KILLS / 5


def _check_events(server: RunningServer, file: Path, declared: int) -> None:
    journal: list[dict[str, Any]] = []
    after = 0
    while True:
        page = httpx.get(f"{server.url}/events", params={"after": after, "limit": 1000}).json()
        journal += page["events"]
        after = page["next"]
        if not page["more"]:
            break
    assert [event["sequence"] for event in journal] == list(range(1, len(journal) + 1))
    assert sum(event["type"] == "OptionCreated" for event in journal) == declared
    deadline = time.monotonic() + 30
    while True:
        arrived = [(event["sequence"], event["event_id"]) for event in read_events(file)]
        if len(set(arrived)) == len(journal) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert list(dict.fromkeys(arrived)) == [(event["sequence"], event["event_id"]) for event in journal]
