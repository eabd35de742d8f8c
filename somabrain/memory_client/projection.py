"""Options and memories in the vector engine: written after each commit, compared with SQL, repaired, rebuilt.

SQL is the record (ADR 0001); what the engine holds can be thrown away and made again. One process at a time writes:
the holder of the projection's lock (ADR 0009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from somabrain.memory_client.comparing import Comparison, Key, Shown
from somabrain.memory_client.documents import projected_memory
from somabrain.memory_client.reading import projected_options
from somabrain.oak.changes import Change
from somabrain.oak.model import Option, Source, Vector
from somabrain.ports import (
    JournalEntry,
    Mark,
    Near,
    Positions,
    Projected,
    ReadTransaction,
    Shelf,
    SinkUnavailableError,
    Store,
    VectorEngine,
    VectorEngineMismatchError,
    VectorEngineUnavailableError,
)
from somabrain.tenancy import Namespace, TenantId

MILVUS = "milvus"
"""What the projection's position in the journals is kept under."""

PATIENCE = 2
"""Failures in a row after which an embedded engine's file is taken for damaged."""

_OPTION_CHANGES = frozenset(
    {Change.OPTION_CREATED, Change.OPTION_UPDATED, Change.OPTION_RETIRED, Change.EXECUTION_RECORDED}
)
_UNSEEN_CHANGES = frozenset({Change.EPISODE_RECORDED, Change.EPISODE_OUTCOME, Change.MODEL_CONSOLIDATED})
"""They change no document: primitives have none, and what consolidation does to options has events of its own."""

_MEMORY_CHANGES = frozenset({Change.MEMORY_STORED, Change.MEMORY_FORGOTTEN})


class Projection:
    """The documents of all tenants in a vector engine; an `EventSink`. One thread at a time, but for `search`."""

    def __init__(
        self,
        *,
        store: Store,
        engine: VectorEngine,
        tenants: Callable[[], Iterable[TenantId]],
        dimension: int,
        document_bytes_max: int,
        page: int,
        disposable: bool,
        positions: Positions,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """`tenants`: all that SQL knows. `page` documents are read at once.

        `disposable`: the engine is this database's alone, so one that can't be used is emptied and filled again.
        `positions` are set back before documents are repaired, since recall takes the engine's word for what is before.
        `breathe` is called after a few options and between pages, compared or written: it may wait, so that the
        machine is left to others.
        """
        self._store = store
        self._engine = engine
        self._tenants = tenants
        self._dimension = dimension
        self._document_bytes_max = document_bytes_max
        self._page = page
        self._disposable = disposable
        self._positions = positions
        self._breathe = breathe
        self._agreed = False
        self._failures = 0

    @property
    def name(self) -> str:
        """As `EventSink`."""
        return MILVUS

    @property
    def agreed(self) -> bool:
        """Whether the engine was compared with SQL since it was opened, and has answered ever since."""
        return self._agreed

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        """As `EventSink`: brings the documents that the entries concern to what SQL holds now."""
        if not self._agreed:
            self.check()
        try:
            self._follow(entries[0].tenant, entries)
        except (VectorEngineUnavailableError, VectorEngineMismatchError) as error:
            raise self._failed(error) from error

    def check(self) -> list[Comparison]:
        """Opens the engine, compares everything and repairs. Raises `SinkUnavailableError`, `StoreUnavailableError`.

        An engine that is disposable and has failed `PATIENCE` times in a row is emptied first.
        """
        self._agreed = False
        try:
            if self._disposable and self._failures >= PATIENCE:
                self.clear()
            self._open()
            compared = [each for tenant in self._tenants() for each in self.compare(tenant)]
        except (VectorEngineUnavailableError, VectorEngineMismatchError) as error:
            self._failures += 1
            raise self._failed(error) from error
        self._failures = 0
        self._agreed = True
        return compared

    def _failed(self, error: VectorEngineUnavailableError | VectorEngineMismatchError) -> SinkUnavailableError:
        """One that is not what it was is opened anew by the next attempt."""
        self._agreed = False
        if isinstance(error, VectorEngineMismatchError):
            self._engine.close()
        return SinkUnavailableError(str(error) or (type(error).__doc__ or "").strip().split("\n", 1)[0])

    def _open(self) -> None:
        try:
            if self._engine.open():
                self._positions.reset(MILVUS)
        except VectorEngineMismatchError:
            if not self._disposable:
                raise
            self.clear()

    def begin(self, *, rebuild: bool) -> list[TenantId]:
        """Opens the engine, emptied first where `rebuild`; the tenants to compare. Raises as `VectorEngine`."""
        if rebuild:
            self.clear()
        else:
            self._open()
        return list(self._tenants())

    def clear(self) -> None:
        """Empties the engine; `check` fills it again. Raises as `VectorEngine.clear`."""
        self._agreed = False
        self._positions.reset(MILVUS)
        for shelf in Shelf:
            self._engine.clear(shelf)
        self._engine.open()

    def close(self) -> None:
        """As `EventSink`."""
        self._agreed = False
        self._engine.close()

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As `VectorEngine.search`, once the engine has been compared with SQL. From any thread."""
        if not self._agreed:
            message = "the vector engine is not open in this process, or not compared with SQL yet"
            raise VectorEngineUnavailableError(message)
        return self._engine.search(shelf, tenant, namespace, vector, limit=limit)

    def compare(self, tenant: TenantId) -> list[Comparison]:
        """Compares a tenant's documents one by one, and makes the engine's right.

        While memories are repaired the tenant's position is before the first of them, so that recall reads them in SQL;
        at the end it is where the journal was when the comparison began. Raises as `VectorEngine` and `Store`.
        """
        with self._store.read(tenant) as tx:
            newest, position = tx.sequence(), tx.position(MILVUS)
        found = [self._compared(tenant, shelf, position) for shelf in (Shelf.MEMORIES, Shelf.OPTIONS)]
        if newest > position or not found[0].agrees:
            self._positions.advance(MILVUS, tenant, max(newest, position))
        return found

    def _set_back(self, tenant: TenantId, before: int) -> None:
        """Puts the position at `before`, unless it is there already or earlier."""
        with self._store.read(tenant) as tx:
            position = tx.position(MILVUS)
        if before < position:
            self._positions.advance(MILVUS, tenant, before)

    def _compared(self, tenant: TenantId, shelf: Shelf, position: int) -> Comparison:
        """`position`: the engine was given the changes up to it."""
        shown = Shown(self._engine, shelf, tenant, position)
        report = Comparison(tenant=tenant, shelf=shelf)
        last: Projected | None = None
        for page in self._memories(tenant) if shelf is Shelf.MEMORIES else self._options(tenant):
            checksums = shown.checksums(page)
            missing = [own for own in page if (own.namespace, own.id) not in checksums]
            different = [own for own in page if checksums.get((own.namespace, own.id), own.checksum) != own.checksum]
            report = replace(
                report,
                documents=report.documents + len(page),
                missing=report.missing + len(missing),
                different=report.different + len(different),
            )
            if missing or different:
                if shelf is Shelf.MEMORIES:
                    self._set_back(tenant, min(own.sequence for own in (*missing, *different)) - 1)
                brought = self._bring(shelf, tenant, [(own.namespace, own.id) for own in (*missing, *different)])
                last = brought[-1] if brought else last
            self._breathe()
        marks = shown.left
        with self._store.read(tenant) as tx:
            newest = tx.sequence()
            kept = self._records(tx, shelf, list(marks))
        left = [key for key in sorted(marks, key=_place) if key not in kept]
        surplus = [key for key in left if marks[key].sequence <= newest]
        if surplus:
            self._engine.delete(shelf, tenant, surplus)
        if last is not None and shelf is Shelf.MEMORIES:
            self._see(tenant, (last.namespace, last.id), last)
        return replace(report, surplus=len(surplus), ahead=len(left) - len(surplus))

    def _memories(self, tenant: TenantId) -> Iterator[list[Mark]]:
        """Marks of all of a tenant's memories as SQL has them, a page in a transaction."""
        with self._store.read(tenant) as tx:
            spaces = [space.namespace for space in tx.memories.spaces()]
        for namespace in spaces:
            after = 0
            while page := self._memories_after(tenant, namespace, after):
                yield page
                after = page[-1].sequence

    def _memories_after(self, tenant: TenantId, namespace: Namespace, after: int) -> list[Mark]:
        with self._store.read(tenant) as tx:
            return tx.memories.marks(namespace, after=after, limit=self._page)

    def _options(self, tenant: TenantId) -> Iterator[list[Projected]]:
        """All of a tenant's options as SQL has them, a page in a transaction."""
        with self._store.read(tenant) as tx:
            worlds = [record.namespace for record in tx.namespaces()]
        for namespace in worlds:
            last = ""
            while page := self._options_after(tenant, namespace, last):
                yield page
                last = page[-1].id

    def _options_after(self, tenant: TenantId, namespace: Namespace, last: str) -> list[Projected]:
        with self._store.read(tenant) as tx:
            options = tx.options(namespace, after=last, limit=self._page, besides=Source.PRIMITIVE)
            return self._documents(tx, namespace, options)

    def _documents(self, tx: ReadTransaction, namespace: Namespace, options: Iterable[Option]) -> list[Projected]:
        return projected_options(
            tx,
            namespace,
            options,
            dimension=self._dimension,
            bytes_max=self._document_bytes_max,
            breathe=self._breathe,
        )

    def _records(self, tx: ReadTransaction, shelf: Shelf, keys: Sequence[Key]) -> dict[Key, Projected]:
        """The documents that there are, as SQL has them; primitives have none: their rows are the primitive model."""
        names: dict[Namespace, list[str]] = {}
        for namespace, name in keys:
            names.setdefault(namespace, []).append(name)
        found = []
        for namespace, wanted in names.items():
            if shelf is Shelf.MEMORIES:
                found += [projected_memory(namespace, memory) for memory in tx.memories.get(namespace, wanted).values()]
            else:
                options = tx.options_by_id(namespace, wanted).values()
                found += self._documents(
                    tx, namespace, [each for each in options if each.source is not Source.PRIMITIVE]
                )
        return {(record.namespace, record.id): record for record in found}

    def _follow(self, tenant: TenantId, entries: Sequence[JournalEntry]) -> None:
        keys: dict[Shelf, set[Key]] = {shelf: set() for shelf in Shelf}
        replaced: set[Namespace] = set()
        for entry in entries:
            event, change = entry.event, Change(entry.event.type)
            if change in _OPTION_CHANGES and event.option_id is not None:
                keys[Shelf.OPTIONS].add((event.namespace, event.option_id))
            elif change in _MEMORY_CHANGES:
                keys[Shelf.MEMORIES].add((event.namespace, str(event.payload["memory_id"])))
            elif change not in _UNSEEN_CHANGES:
                replaced.add(event.namespace)
        keys[Shelf.OPTIONS] |= self._options_of(tenant, replaced)
        for shelf, changed in keys.items():
            ordered = sorted(changed, key=_place)
            brought: list[Projected] = []
            for first in range(0, len(ordered), self._page):
                if first:
                    self._breathe()
                brought = self._bring(shelf, tenant, ordered[first : first + self._page])
            if ordered and shelf is Shelf.MEMORIES:
                self._see(tenant, ordered[-1], {(one.namespace, one.id): one for one in brought}.get(ordered[-1]))

    def _see(self, tenant: TenantId, key: Key, brought: Projected | None) -> None:
        """A read that waits for all writes: a search must see what the position is going to pass.

        `brought` is the document that was written there last, `None` where it was deleted. Raises
        `VectorEngineUnavailableError` where the engine shows another: servers have come back from a kill and taken
        writes that no read saw.
        """
        shown = [one.checksum for one in self._engine.get(Shelf.MEMORIES, tenant, key[0], [key[1]])]
        if shown != ([] if brought is None else [brought.checksum]):
            message = "the vector engine took a write and does not show it"
            raise VectorEngineUnavailableError(message)

    def _options_of(self, tenant: TenantId, namespaces: set[Namespace]) -> set[Key]:
        """Options of whole namespaces, those that SQL has and those that the engine has."""
        if not namespaces:
            return set()
        marked = {(mark.namespace, mark.id) for batch in self._engine.marks(Shelf.OPTIONS, tenant) for mark in batch}
        with self._store.read(tenant) as tx:
            kept = {
                (namespace, option_id)
                for namespace in namespaces
                for option_id in tx.option_ids(namespace, besides=Source.PRIMITIVE)
            }
        return {key for key in marked | kept if key[0] in namespaces}

    def _bring(self, shelf: Shelf, tenant: TenantId, keys: Sequence[Key]) -> list[Projected]:
        """Makes the engine's documents what SQL holds now; those that there are, in the order of `keys`."""
        with self._store.read(tenant) as tx:
            found = self._records(tx, shelf, keys)
        records = [found[key] for key in keys if key in found]
        gone = [key for key in keys if key not in found]
        if records:
            self._engine.upsert(shelf, tenant, records)
        if gone:
            self._engine.delete(shelf, tenant, gone)
        return records


def _place(key: Key) -> tuple[str, str]:
    return key[0].value, key[1]
