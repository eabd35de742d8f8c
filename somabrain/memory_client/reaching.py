"""The vector engine as recall reaches it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from somabrain.memory_client.recalling import Nearest
from somabrain.oak.model import Vector
from somabrain.ports import Near, Shelf, VectorEngine, VectorEngineMismatchError, VectorEngineUnavailableError
from somabrain.tenancy import Namespace, TenantId


class OpenedEngine:
    """`Nearest` by an engine that is opened in the background when a search needs it. Thread-safe as the engine is.

    Opening takes an engine that does not answer many times longer than a search may wait.
    """

    def __init__(self, engine: VectorEngine, *, wait_s: float) -> None:
        """`engine` may be shared with what writes to it. A search waits at most `wait_s` for it to open."""
        self._engine = engine
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._opening: threading.Thread | None = None
        self._opened = False
        self._problem = "not open yet"

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As `Nearest`."""
        if not self._opened:
            self._wait_until_open()
        try:
            return self._engine.search(shelf, tenant, namespace, vector, limit=limit)
        except VectorEngineUnavailableError:
            self._opened = False  # who shares it may have closed it
            raise

    def _wait_until_open(self) -> None:
        with self._lock:
            if self._opening is None or not self._opening.is_alive():
                self._opening = threading.Thread(target=self._open, name="milvus_opening", daemon=True)
                self._opening.start()
            opening = self._opening
        opening.join(self._wait_s)
        if not self._opened:
            raise VectorEngineUnavailableError(self._problem)

    def _open(self) -> None:
        try:
            self._engine.open()
        except (VectorEngineUnavailableError, VectorEngineMismatchError) as error:
            self._problem = str(error)
        else:
            self._opened = True


class Paused:
    """`Nearest` that is left alone for a while after it has failed, so that one recall waits for it and not each."""

    def __init__(self, nearest: Nearest, *, pause_s: float, monotonic_s: Callable[[], float]) -> None:
        """For `pause_s` after a failure every search fails at once; then one is tried, the others not."""
        self._nearest = nearest
        self._pause_s = pause_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._until_s: float | None = None

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As `Nearest`; an engine of another make than this service needs is as good as none."""
        after = self._begin()
        try:
            found = self._nearest.search(shelf, tenant, namespace, vector, limit=limit)
            after = None
        except (VectorEngineUnavailableError, VectorEngineMismatchError) as error:
            after = self._monotonic_s() + self._pause_s
            raise VectorEngineUnavailableError from error
        finally:
            self._until_s = after
        return found

    def _begin(self) -> float | None:
        """What the pause is to be again where the search ends by another's fault than the engine's."""
        with self._lock:
            until_s = self._until_s
            if until_s is not None:
                if self._monotonic_s() < until_s:
                    raise VectorEngineUnavailableError
                self._until_s = math.inf
            return until_s
