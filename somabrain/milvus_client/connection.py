"""pymilvus' client within deadlines of our own, and what its errors mean."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from somabrain.milvus_client.lite import LiteServer
from somabrain.milvus_client.parameters import MilvusParameters
from somabrain.ports import VectorEngineMismatchError, VectorEngineUnavailableError

THREADS = 16
"""Requests at once; further ones wait, within their deadlines."""

LITE_LOOK_S = 0.05
"""Pause between looks at an embedded engine that has not answered: a dead one never will."""

PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 1.0

COLLECTION_MISSING = 100
NOT_LOADED = 101
PARAMETER_INVALID = 1100
PASSING = frozenset({1, 2, 4, 5, 8, 9, 11, NOT_LOADED, 103, 500, 501, 503, 600, 601, 602, 901, 902, 903})
"""Milvus' codes (pkg/util/merr/errors.go) of what passes: not ready, rate limits, channels and nodes that come back."""

PASSING_STATUSES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED"})
GRPC_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 1000,
    "grpc.max_reconnect_backoff_ms": 1000,
}
"""gRPC's own pauses between attempts to connect grow to two minutes."""

HIDDEN = ("MILVUS_URI", "MILVUS_DEFAULT_CONNECTION")
"""Variables that pymilvus reads at import; it fails on a value of ours that is no address."""

_import_lock = threading.Lock()
Client = Any
T = TypeVar("T")


class _PassingError(Exception):
    """A request failed in a way that may pass."""

    def __init__(self, problem: str, *, not_loaded: bool = False) -> None:
        super().__init__(problem)
        self.not_loaded = not_loaded


class Connection:
    """One client, connected again where its engine is embedded and has died. Thread-safe."""

    def __init__(
        self,
        parameters: MilvusParameters,
        *,
        monotonic_s: Callable[[], float],
        sleep: Callable[[float], None],
        observe: Callable[[str, str, float], None],
    ) -> None:
        """Connects to nothing."""
        self._parameters = parameters
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._observe = observe
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._pool: ThreadPoolExecutor | None = None
        path = parameters.lite_path
        self._lite = None if path is None else LiteServer(path, monotonic_s=monotonic_s, sleep=sleep)

    @property
    def embedded(self) -> bool:
        """Whether the engine is Milvus Lite."""
        return self._lite is not None

    def open(self, *, anew: bool = False) -> None:
        """Connects where that has not been done; with `anew` to an embedded engine on an empty file."""
        with self._lock, self._measured("connect"):
            if anew:
                self.close()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, "milvus")
            if self._client is None or (self._lite is not None and not self._lite.alive):
                self._connect(anew=anew)

    def close(self) -> None:
        """Disconnects, and ends an embedded engine."""
        with self._lock:
            self._disconnect()
            if self._lite is not None:
                self._lite.stop()
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def call(
        self, operation: str, request: Callable[[Client, float], T], *, collection: str = "", timeout_s: float = 0
    ) -> T:
        """What the request returns, given the client and the seconds left; repeated while it fails in a passing way.

        `timeout_s` of 0 is that of the parameters. The request must be safe to repeat, and may go on unobserved after
        the deadline. Raises `VectorEngineUnavailableError` and `VectorEngineMismatchError`.
        """
        deadline_s = self._monotonic_s() + (timeout_s or self._parameters.timeout_s)
        pause_s = PAUSE_FIRST_S
        with self._measured(operation):
            while True:
                try:
                    return self._attempt(request, deadline_s)
                except _PassingError as fault:
                    if self._monotonic_s() + pause_s >= deadline_s:
                        message = f"Milvus: {operation}: {fault}"
                        raise VectorEngineUnavailableError(message) from fault
                    if fault.not_loaded and collection:
                        self._load(collection, deadline_s)
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _load(self, collection: str, deadline_s: float) -> None:
        """Asks for a collection that somebody released; the next attempt tells whether it came."""
        try:
            self._attempt(lambda client, s: client.load_collection(collection, timeout=s, _async=True), deadline_s)
        except _PassingError:
            return

    def _attempt(self, request: Callable[[Client, float], T], deadline_s: float) -> T:
        with self._lock:
            if self._pool is None or self._client is None:
                message = "Milvus: not connected"
                raise VectorEngineUnavailableError(message)
            if self._lite is not None and not self._lite.alive:
                self._connect()
            client, pool = self._client, self._pool
            left_s = deadline_s - self._monotonic_s()
            future = pool.submit(_translated, request, client, left_s)
        return self._wait(future, deadline_s)

    def _wait(self, future: Future[T], deadline_s: float) -> T:
        """The result, or a fault at the deadline or at the embedded engine's death, whatever pymilvus still does."""
        while True:
            left_s = max(deadline_s - self._monotonic_s(), 0)
            try:
                return future.result(left_s if self._lite is None else min(left_s, LITE_LOOK_S))
            except TimeoutError:
                problem = "no answer in time" if self._monotonic_s() >= deadline_s else ""
                if self._lite is not None and not self._lite.alive:
                    problem = "the embedded engine died"
                if problem:
                    future.cancel()
                    raise _PassingError(problem) from None

    def _connect(self, *, anew: bool = False) -> None:
        assert self._pool is not None
        self._disconnect()
        timeout_s = self._parameters.connect_timeout_s
        deadline_s = self._monotonic_s() + timeout_s
        uri = self._parameters.uri if self._lite is None else self._lite.start(timeout_s, anew=anew)

        def make(_: None, left_s: float) -> Client:
            client = pymilvus().MilvusClient(
                uri, token=self._parameters.token, timeout=left_s, dedicated=True, grpc_options=GRPC_OPTIONS
            )
            if self._lite is None:
                _prove_version(client.get_server_version(timeout=left_s))
            return client

        try:
            self._client = self._wait(self._pool.submit(_translated, make, None, timeout_s), deadline_s)
        except _PassingError as fault:
            message = f"Milvus: no connection: {fault}"
            raise VectorEngineUnavailableError(message) from fault

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        start_s, result = self._monotonic_s(), "ok"
        try:
            yield
        except VectorEngineMismatchError:
            result = "mismatch"
            raise
        except VectorEngineUnavailableError:
            result = "unavailable"
            raise
        finally:
            self._observe(operation, result, self._monotonic_s() - start_s)


VERSION_MIN = (2, 3)
"""The first server with COSINE and upsert."""


def version_of(text: str) -> tuple[int, int]:
    """Major and minor of what a server says of itself: v2.3.5-lite is (2, 3). Raises `VectorEngineMismatchError`."""
    numbers = text.removeprefix("v").split(".")
    if len(numbers) < len(VERSION_MIN) or not (numbers[0] + numbers[1]).isdigit():
        message = f"Milvus: the server's version {text!r} tells nothing"
        raise VectorEngineMismatchError(message)
    return int(numbers[0]), int(numbers[1])


def _prove_version(text: str) -> None:
    if version_of(text) < VERSION_MIN:
        message = f"Milvus: the server is {text}; 2.3 is the oldest that is supported"
        raise VectorEngineMismatchError(message)


def pymilvus() -> Any:
    """The library, imported when it is first needed, its log silent, and nothing of its left in the environment."""
    with _import_lock:
        before = dict(os.environ)
        try:
            for name in HIDDEN:
                os.environ.pop(name, None)
            import pymilvus as library  # noqa: PLC0415 - half a second
            from pymilvus.client import entity_helper  # noqa: PLC0415
        finally:
            for name in os.environ.keys() - before.keys():  # it reads .env files
                del os.environ[name]
            os.environ.update({name: before[name] for name in HIDDEN if name in before})
    for name in ("pymilvus", "pymilvus.milvus_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Of a row's text it would look at each character's length, in Python and with the interpreter's lock.
    entity_helper.CHECK_STR_ARRAY = False
    return library


def _translated(request: Callable[[Any, float], T], client: Client, left_s: float) -> T:
    """The request, its errors ours."""
    exceptions = pymilvus().exceptions
    import grpc  # noqa: PLC0415 - a part of that half second

    try:
        return request(client, left_s)
    except (exceptions.ParamError, exceptions.DataNotMatchException) as error:
        message = f"Milvus: {error.message}"
        raise VectorEngineMismatchError(message) from error
    except exceptions.MilvusException as error:
        raise _meaning(error.code, str(error.message)) from error
    except grpc.RpcError as error:
        raise _meaning(error.code(), str(error)) from error


def _meaning(code: object, text: str) -> Exception:
    """Ours for an error of pymilvus, whose code may be a number, gRPC's status or a function that returns it."""
    plain = code() if callable(code) else code
    name = plain if isinstance(plain, int) else getattr(plain, "name", plain)
    problem = f"{text.strip().splitlines()[0] if text.strip() else 'no message'} (code {name})"
    if name == COLLECTION_MISSING:
        return VectorEngineMismatchError(f"Milvus: {problem}; `somabrain reconcile --rebuild` makes it anew")
    if name == PARAMETER_INVALID:
        return VectorEngineMismatchError(f"Milvus: {problem}")
    if name in PASSING or name in PASSING_STATUSES:
        return _PassingError(problem, not_loaded=name == NOT_LOADED)
    return VectorEngineUnavailableError(f"Milvus: {problem}")
