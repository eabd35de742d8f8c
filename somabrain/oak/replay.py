"""A namespace's model made again from its journal (DESIGN §3): the same bytes as its export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from somabrain.oak.changes import Change, Stamp
from somabrain.oak.documents import episode_of_document, execution_of_document, spec_of_document
from somabrain.oak.option_manager import Limits, OptionManager
from somabrain.oak.outcomes import Outcome
from somabrain.oak.transfer import import_model, parse_model
from somabrain.ports import JournalEntry, Store, WriteTransaction
from somabrain.tenancy import Namespace, TenantId


class Replay:
    """Makes journalled changes again, in a scratch store that holds nothing else."""

    def __init__(self, scratch: Store, manager: OptionManager, limits: Limits, tenant: TenantId) -> None:
        """`limits` has the learning settings recorded with the namespace, and no maxima that could refuse."""
        self._scratch = scratch
        self._manager = manager
        self._limits = limits
        self._tenant = tenant

    def run(
        self, entries: Iterable[JournalEntry], *, batch: int, progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Applies the entries in their order, `batch` in a transaction; tells `progress` how many came in each."""
        remaining = iter(entries)
        while chunk := list(islice(remaining, batch)):
            with self._scratch.write(self._tenant) as tx:
                for entry in chunk:
                    self._apply(tx, entry)
            progress(len(chunk))

    def _apply(self, tx: WriteTransaction, entry: JournalEntry) -> None:
        event = entry.event
        stamp = Stamp(now_ms=event.timestamp_ms, reported_by=event.reported_by, new_event_id=lambda: event.event_id)
        namespace, request, option_id = event.namespace, event.request or {}, event.option_id or ""
        match Change(event.type):
            case Change.OPTION_CREATED:
                self._manager.create(tx, namespace, option_id, spec_of_document(request["spec"]), stamp)
            case Change.OPTION_UPDATED:
                self._manager.replace(tx, namespace, option_id, spec_of_document(request["spec"]), stamp)
            case Change.OPTION_RETIRED:
                self._manager.retire(tx, namespace, option_id, stamp)
            case Change.EXECUTION_RECORDED:
                self._manager.record(tx, namespace, option_id, execution_of_document(request), stamp)
            case Change.EPISODE_RECORDED:
                episode = episode_of_document(request)
                self._manager.record_episode(tx, namespace, request["episode_id"], episode, stamp)
            case Change.EPISODE_OUTCOME:
                told = Outcome(
                    episode_id=request["episode_id"],
                    success=request["success"],
                    reward=request["reward"],
                    model_version=0,
                )
                self._manager.tell_outcome(tx, namespace, told, stamp)
            case Change.MODEL_CONSOLIDATED:
                """Worked out again where the journal's rows that it went through end."""
            case Change.MODEL_IMPORTED:
                model = parse_model(request["model"], self._limits.dimension)
                import_model(tx, namespace, model, stamp, manager=self._manager, limits=self._limits, replacing=True)
            case Change.NAMESPACE_DELETED:
                self._manager.delete_namespace(tx, namespace, stamp)
            case Change.MEMORY_STORED | Change.MEMORY_FORGOTTEN:
                """Memories are no part of the model."""


def entries_of(
    store: Store, tenant: TenantId, namespace: Namespace, *, batch: int, through: int
) -> Iterator[JournalEntry]:
    """The namespace's journal up to sequence `through`, ascending, read `batch` at a time."""
    after = 0
    while True:
        with store.read(tenant) as tx:
            entries = tx.journal(after=after, limit=batch, namespace=namespace)
        for entry in entries:
            if entry.sequence > through:
                return
            yield entry
        if len(entries) < batch:
            return
        after = entries[-1].sequence
