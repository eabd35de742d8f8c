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
    """`Nearest` by an engine that is opened with the first search. Thread-safe as the engine is."""

    def __init__(self, engine: VectorEngine) -> None:
        """`engine` may be shared with what writes to it."""
        self._engine = engine

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As `Nearest`."""
        self._engine.open()
        return self._engine.search(shelf, tenant, namespace, vector, limit=limit)


class Paused:
    """`Nearest` that is left alone for a while after it has failed, so that one recall waits for it and not each."""

    def __init__(self, nearest: Nearest, *, pause_s: float, monotonic_s: Callable[[], float]) -> None:
        """For `pause_s` after a failure every search fails at once; then one is tried, and the others wait for it not."""
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
