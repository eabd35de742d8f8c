"""A vector engine that is two dictionaries, and compares with every vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from somabrain.oak.model import Vector
from somabrain.ports import Mark, Near, Projected, Shelf, VectorEngineUnavailableError
from somabrain.tenancy import Namespace, TenantId


class MemoryVectorEngine:
    """`VectorEngine`; every call fails while it is `down`."""

    def __init__(self) -> None:
        self.held: dict[Shelf, dict[tuple[TenantId, Namespace, str], Projected]] = {shelf: {} for shelf in Shelf}
        self.down = False

    def _records(self, shelf: Shelf) -> dict[tuple[TenantId, Namespace, str], Projected]:
        if self.down:
            raise VectorEngineUnavailableError
        return self.held[shelf]

    def _of(self, shelf: Shelf, tenant: TenantId) -> list[Projected]:
        return [record for (owner, _, _), record in self._records(shelf).items() if owner == tenant]

    def open(self) -> bool:
        """As the port; nothing is ever gone."""
        self._records(Shelf.OPTIONS)
        return False

    def close(self) -> None:
        """As the port."""

    def upsert(self, shelf: Shelf, tenant: TenantId, records: Sequence[Projected]) -> None:
        """As the port."""
        self._records(shelf).update({(tenant, record.namespace, record.id): record for record in records})

    def delete(self, shelf: Shelf, tenant: TenantId, keys: Sequence[tuple[Namespace, str]]) -> None:
        """As the port."""
        for namespace, item_id in keys:
            self._records(shelf).pop((tenant, namespace, item_id), None)

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As the port."""
        near = [
            Near(id=record.id, similarity=cosine(record.vector, vector))
            for record in self._of(shelf, tenant)
            if record.namespace == namespace
        ]
        return sorted(near, key=lambda one: (-one.similarity, one.id))[:limit]

    def get(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, ids: Sequence[str]) -> list[Projected]:
        """As the port."""
        records = self._records(shelf)
        return [records[tenant, namespace, i] for i in sorted(set(ids)) if (tenant, namespace, i) in records]

    def count(self, shelf: Shelf, tenant: TenantId) -> int:
        """As the port."""
        return len(self._of(shelf, tenant))

    def marks(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Mark]]:
        """As the port."""
        for record in self._of(shelf, tenant):
            yield [Mark(namespace=record.namespace, id=record.id, sequence=record.sequence, checksum=record.checksum)]

    def documents(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Projected]]:
        """As the port."""
        for record in self._of(shelf, tenant):
            yield [record]

    def tenants(self, shelf: Shelf) -> set[TenantId]:
        """As the port."""
        return {tenant for tenant, _, _ in self._records(shelf)}

    def reload(self, shelf: Shelf) -> None:
        """As the port; what it holds is what it serves."""
        self._records(shelf)

    def clear(self, shelf: Shelf) -> None:
        """As the port."""
        self._records(shelf).clear()


def cosine(one: Vector, other: Vector) -> float:
    """Of unit vectors, in double precision."""
    return float(np.dot(one.array().astype(np.float64), other.array().astype(np.float64)))
