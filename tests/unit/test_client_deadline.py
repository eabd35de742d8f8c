"""What an agent waits for: in time or not at all, and not again at once."""

from __future__ import annotations

import threading
import time

import pytest

from somabrain.client import RefusedError, UnavailableError
from somabrain.client.deadline import HANGING_MAX, PAUSE_FIRST_S, Deadline


def refused() -> int:
    raise RefusedError(status=422, code="invalid_request", detail="")


def away() -> int:
    raise UnavailableError


def hangs(deadline: Deadline, over: threading.Event) -> None:
    with pytest.raises(UnavailableError):
        deadline.ask(lambda: over.wait(30.0))


def test_an_answer_in_time() -> None:
    assert Deadline(10.0).ask(lambda: 7) == 7


def test_after_a_failure_nothing_is_asked_for_a_while() -> None:
    deadline, asked = Deadline(10.0), threading.Event()
    with pytest.raises(UnavailableError):
        deadline.ask(away)
    with pytest.raises(UnavailableError, match="a moment ago"):
        deadline.ask(asked.set)
    assert not asked.is_set()
    time.sleep(PAUSE_FIRST_S)
    deadline.ask(asked.set)
    assert asked.is_set()


def test_a_refusal_is_an_answer() -> None:
    deadline = Deadline(10.0)
    with pytest.raises(RefusedError):
        deadline.ask(refused)
    assert deadline.ask(lambda: 7) == 7


def test_few_questions_hang() -> None:
    deadline, over = Deadline(1.0), threading.Event()
    before = set(threading.enumerate())
    asking = [threading.Thread(target=hangs, args=(deadline, over)) for _ in range(3 * HANGING_MAX)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(set(threading.enumerate()) - before) == HANGING_MAX
    over.set()
