"""The vector engine as recall reaches it."""

from __future__ import annotations

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
        """For `pause_s` after a failure every search fails at once."""
        self._nearest = nearest
        self._pause_s = pause_s
        self._monotonic_s = monotonic_s
        self._until_s: float | None = None

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As `Nearest`; an engine of another make than this service needs is as good as none."""
        until_s = self._until_s
        if until_s is not None and self._monotonic_s() < until_s:
            raise VectorEngineUnavailableError
        try:
            found = self._nearest.search(shelf, tenant, namespace, vector, limit=limit)
        except (VectorEngineUnavailableError, VectorEngineMismatchError) as error:
            self._until_s = self._monotonic_s() + self._pause_s
            raise VectorEngineUnavailableError from error
        self._until_s = None
        return found
