"""Answers in time or not at all: what an agent's own loop may wait for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from somabrain.client.errors import BrainError, RefusedError, UnavailableError

HANGING_MAX = 4
"""Most questions that are still waited for when nobody wants their answers any more."""

PAUSE_FIRST_S = 0.25
"""For how long nothing is asked after one failure; twice as long after the next, up to `PAUSE_MAX_S`."""

PAUSE_MAX_S = 15.0

T = TypeVar("T")
log = logging.getLogger("somabrain.client")


class Deadline:
    """Asks in a thread of its own and waits at most `deadline_s`, whatever the network does. Thread-safe.

    After a question that was not answered in time none is asked for a while: `PAUSE_FIRST_S`, doubled with each
    failure. A refusal is an answer and pauses nothing.
    """

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._free = threading.BoundedSemaphore(HANGING_MAX)
        self._lock = threading.Lock()
        self._pause_s = 0.0
        self._asks_again_at = 0.0

    def ask(self, question: Callable[[], T]) -> T:
        """The answer. Raises `BrainError`, within `deadline_s` and what a thread takes to be woken."""
        if time.monotonic() < self._asks_again_at:
            raise UnavailableError("not asked: the service did not answer a moment ago")
        if not self._free.acquire(blocking=False):
            raise UnavailableError(f"not asked: {HANGING_MAX} questions still hang")
        answer: Future[T] = Future()
        thread = threading.Thread(target=self._work, args=(question, answer), name="somabrain-ask", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no thread left, or the program ends
            self._free.release()
            raise UnavailableError(f"not asked: {error}") from error
        try:
            found = answer.result(self.deadline_s)
        except TimeoutError:
            late = UnavailableError(f"no answer within {self.deadline_s} s")
            self._failed(late)
            raise late from None
        except RefusedError:
            self._answered()
            raise
        except BrainError as error:
            self._failed(error)
            raise
        self._answered()
        return found

    def _work(self, question: Callable[[], T], answer: Future[T]) -> None:
        try:
            answer.set_result(question())
        except BrainError as error:
            answer.set_exception(error)
        finally:
            self._free.release()

    def _answered(self) -> None:
        with self._lock:
            self._pause_s = 0.0

    def _failed(self, error: BrainError) -> None:
        with self._lock:
            if not self._pause_s:
                log.warning("no odds for now: %s", error)
            self._pause_s = min(PAUSE_MAX_S, max(PAUSE_FIRST_S, 2 * self._pause_s))
            self._asks_again_at = time.monotonic() + self._pause_s
