"""What processes do that the tests of the relay start and kill."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from somabrain.bootstrap import open_database, open_relay
from somabrain.observability.metrics import Metrics
from somabrain.store import RelayPositions
from tests.conftest import plain_settings

WAIT_S = 30.0
"""Longest wait for what takes milliseconds on a machine at leisure."""

Changes = Mapping[str, Any]


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Waits until it holds; fails with `what` where it never does."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.0005)


@contextmanager
def running(target: Callable[..., None], *arguments: object) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that runs `target(*arguments, pipe)`, and the other end of the pipe; killed at the end if it lives."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe()
    process = context.Process(target=target, args=(*arguments, there))
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join(WAIT_S)
        process.close()
        here.close()


def told(pipe: Connection) -> Any:
    """The next thing that the process says."""
    assert pipe.poll(WAIT_S), "the process says nothing"
    return pipe.recv()


def relay_until_killed(folder: Path, changes: Changes, pipe: Connection) -> None:
    """Relays, and says `leader` or `standby` whenever that changes."""
    settings = plain_settings(folder, **changes)
    said = None
    with open_database(settings) as database, open_relay(settings, database, Metrics()) as relay:
        while True:
            role = "leader" if relay.state().leader else "standby"
            if role != said:
                pipe.send(role)
                said = role
            time.sleep(0.002)


def relay_on_a_full_disk(folder: Path, changes: Changes, file_bytes_max: int, pipe: Connection) -> None:
    """Relays with no file growing above `file_bytes_max`, says what went wrong; after an answer has room again."""
    settings = plain_settings(folder, **changes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, resource.RLIM_INFINITY))
    with open_database(settings) as database, open_relay(settings, database, Metrics()) as relay:
        eventually(lambda: bool(relay.state().problems), "no problem is told")
        pipe.send((str(relay.state()), relay.state().problems))
        pipe.recv()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        positions = RelayPositions(database)
        eventually(lambda: not positions.behind("file") and not relay.state().problems, "the relay does not recover")
        pipe.send(str(relay.state()))
