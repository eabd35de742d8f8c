"""The thread that sends what waits in the queue."""

from __future__ import annotations

import logging
import threading
import time

from somabrain.client.answers import EpisodeAnswers, EpisodeOutcomeAnswer, understood
from somabrain.client.disk_queue import DiskQueue, Item
from somabrain.client.errors import BrainError, RefusedError
from somabrain.client.transport import Request, Transport

SEND_TIMEOUT_S = 10.0
RETRY_FIRST_S = 0.25
"""The pause after a failure; twice as long after each further one, up to `RETRY_MAX_S`."""
RETRY_MAX_S = 30.0
OUTCOME_PATIENCE_S = 86_400.0
"""How long an outcome waits for its episode, which may be in the queue of another machine."""
FLUSH_STEP_S = 0.01
FLUSH_RETRY_S = 0.25
"""How often the sender is woken while somebody waits for it."""

_NOT_NOW = frozenset({401, 403, 405, 408, 425, 429})
"""Statuses that are not about the item, besides those from 500 on: it is sent again."""
_NOT_HERE = frozenset({"not_found", "oak_disabled"})
"""Codes of a service that does not serve this at all, for now."""
_SERVER_FAULT = 500

log = logging.getLogger("somabrain.client")


class Sender:
    """Sends items oldest first, again and again until each arrived or was refused. Thread-safe.

    An item is sent until the service has answered it, each time with the same key, so that it happens once.
    """

    def __init__(self, queue: DiskQueue, transport: Transport) -> None:
        self._queue = queue
        self._transport = transport
        self._news = threading.Event()
        self._closed = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        if not queue.empty():
            self.wake()

    def wake(self) -> None:
        """There is something to send."""
        with self._lock:
            if not self._closed and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="somabrain-send", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # the machine has no thread left, or the program ends
                    log.warning("what is recorded waits in %s: %s", self._queue.folder, error)
        self._news.set()

    def flush(self, timeout_s: float) -> bool:
        """Waits until nothing is left to send, at most `timeout_s`; whether nothing is."""
        until = time.monotonic() + timeout_s
        asked_at = -FLUSH_RETRY_S
        while not self._queue.empty():
            now = time.monotonic()
            if now >= until:
                return False
            if now - asked_at >= FLUSH_RETRY_S:
                asked_at = now
                self.wake()
            time.sleep(FLUSH_STEP_S)
        return True

    def close(self, timeout_s: float) -> None:
        """Ends the thread; waits at most `timeout_s` for what it is sending."""
        self._closed = True
        self._news.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._closed:
            self._news.wait(None if pause_s == 0.0 else pause_s)
            self._news.clear()
            try:
                done = self._closed or self._round()
            except OSError as error:
                log.warning("the queue in %s can't be read: %s", self._queue.folder, error)
                done = False
            pause_s = 0.0 if done else min(RETRY_MAX_S, max(RETRY_FIRST_S, 2 * pause_s))

    def _round(self) -> bool:
        """Sends what waits; whether nothing is left."""
        with self._queue.held() as mine:
            if not mine:
                return self._queue.empty()
            for item in self._queue.items():
                if self._closed or not self._sent(item):
                    return False
        return self._queue.empty()

    def _sent(self, item: Item) -> bool:
        """Whether the next item may be sent: this one arrived, was refused, or waits for another."""
        try:
            request = Request(method="POST", path=item.path, body=item.body, key=item.key)
            answer = self._transport.ask(request, timeout_s=SEND_TIMEOUT_S)
            understood(EpisodeOutcomeAnswer if item.path.endswith("/outcome") else EpisodeAnswers, answer)
        except RefusedError as error:
            return self._judged(item, error)
        except BrainError as error:
            log.info("not sent yet: %s", error)
            return False
        self._queue.done(item)
        return True

    def _judged(self, item: Item, error: RefusedError) -> bool:
        if error.status >= _SERVER_FAULT or error.status in _NOT_NOW or error.code in _NOT_HERE:
            log.warning("not sent yet: %s", error)
            return False
        if error.code == "outcome_known":
            log.info("%s: %s", item.path, error)
            self._queue.done(item)
        elif error.code != "episode_not_found" or item.age_s > OUTCOME_PATIENCE_S:
            self._queue.refuse(item, str(error))
        return True
