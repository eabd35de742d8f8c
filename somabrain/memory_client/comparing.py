"""What the vector engine shows of documents, for the comparison with SQL (ADR 0009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from somabrain.ports import Mark, Projected, Shelf, VectorEngine
from somabrain.tenancy import Namespace, TenantId

Key = tuple[Namespace, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What SQL and the engine hold of one tenant's options or memories.

    `missing`, `different` and `surplus` count documents that the engine lacks, has otherwise, and has too many; these
    were repaired. `ahead`: documents of journal rows that this database has never had, as after a restore from an old
    backup; they are never deleted by a comparison.
    """

    tenant: TenantId
    shelf: Shelf
    documents: int = 0
    missing: int = 0
    different: int = 0
    surplus: int = 0
    ahead: int = 0

    @property
    def agrees(self) -> bool:
        """Whether there was nothing to repair."""
        return not (self.missing or self.different or self.surplus or self.ahead)


class Shown:
    """What the engine shows of a tenant's documents, by a scan, and by key where the scan does not show them.

    A server that comes back from a kill has been seen to show nothing of a collection in a scan, and to find it in
    searches. Where all of it is gone that was there, the engine is made to read its data anew, once.
    """

    def __init__(self, engine: VectorEngine, shelf: Shelf, tenant: TenantId, position: int) -> None:
        """`position`: documents of changes up to it were given to the engine."""
        self._engine = engine
        self._shelf = shelf
        self._tenant = tenant
        self._position = position
        self.left = self._scanned()
        """marks of what `checksums` was not asked for"""
        self._blind = not self.left

    def checksums(self, page: Sequence[Mark | Projected]) -> dict[Key, str]:
        """Those of the documents of `page` that there are."""
        keys = [(own.namespace, own.id) for own in page]
        found = {key: self.left.pop(key).checksum for key in keys if key in self.left}
        unseen = [
            key for key, own in zip(keys, page, strict=True) if key not in found and own.sequence <= self._position
        ]
        found |= self._asked(unseen)
        if unseen and self._blind and not found:
            self._blind = False
            self._engine.reload(self._shelf)
            self.left = self._scanned()
            return self.checksums(page)
        return found

    def _scanned(self) -> dict[Key, Mark]:
        return {
            (mark.namespace, mark.id): mark for batch in self._engine.marks(self._shelf, self._tenant) for mark in batch
        }

    def _asked(self, keys: Sequence[Key]) -> dict[Key, str]:
        names: dict[Namespace, list[str]] = {}
        for namespace, name in keys:
            names.setdefault(namespace, []).append(name)
        found = (self._engine.get(self._shelf, self._tenant, namespace, ids) for namespace, ids in names.items())
        return {(record.namespace, record.id): record.checksum for records in found for record in records}
