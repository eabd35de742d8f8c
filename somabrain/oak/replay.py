"""A namespace's model made again from its journal (DESIGN §3): the same bytes as its export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from somabrain.oak.building import BuildParameters, Snapshot, chosen_targets, snapshot, works
from somabrain.oak.changes import Change, Stamp
from somabrain.oak.documents import episode_of_document, execution_of_document, spec_of_document
from somabrain.oak.option_manager import Limits, OptionManager
from somabrain.oak.outcomes import Outcome
from somabrain.oak.publishing import publish
from somabrain.oak.transfer import import_model, parse_model
from somabrain.ports import Event, JournalEntry, Store, WriteTransaction
from somabrain.tenancy import Namespace, TenantId


class Replay:
    """Makes journalled changes again, in a scratch store that holds nothing else."""

    def __init__(
        self,
        scratch: Store,
        manager: OptionManager,
        limits: Limits,
        tenant: TenantId,
        *,
        builds: Mapping[int, BuildParameters],
    ) -> None:
        """`limits` has the learning settings recorded with the namespace, and no maxima that could refuse.

        `builds`: the journal sequences that published consolidations were made from, and with which parameters.
        """
        self._scratch = scratch
        self._manager = manager
        self._limits = limits
        self._tenant = tenant
        self._builds = builds
        self._taken: dict[int, Snapshot] = {}
        self._made: Mapping[Change, Callable[[WriteTransaction, Event, Stamp], object]] = {
            Change.OPTION_CREATED: self._create,
            Change.OPTION_UPDATED: self._replace,
            Change.OPTION_RETIRED: self._retire,
            Change.EXECUTION_RECORDED: self._record,
            Change.EPISODE_RECORDED: self._episode,
            Change.EPISODE_OUTCOME: self._outcome,
            Change.MODEL_CONSOLIDATED: self._consolidate,
            Change.MODEL_IMPORTED: self._import,
            Change.NAMESPACE_DELETED: self._delete,
        }

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
        """One change; those without a request were parts of another, and memories are no part of the model."""
        event = entry.event
        made = self._made.get(Change(event.type))
        if made is not None and event.request is not None:
            now_ms, reporter, event_id = event.timestamp_ms, event.reported_by, event.event_id
            made(tx, event, Stamp(now_ms=now_ms, reported_by=reporter, new_event_id=lambda: event_id))
        if entry.sequence in self._builds:
            record = self._manager.opened(tx, event.namespace)
            states = self._manager.states(tx, record)
            self._taken[entry.sequence] = snapshot(tx, record, states, self._builds[entry.sequence], copying=False)

    def _create(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        spec = spec_of_document(_request(event)["spec"])
        self._manager.create(tx, event.namespace, str(event.option_id), spec, stamp)

    def _replace(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        spec = spec_of_document(_request(event)["spec"])
        self._manager.replace(tx, event.namespace, str(event.option_id), spec, stamp)

    def _retire(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        self._manager.retire(tx, event.namespace, str(event.option_id), stamp)

    def _record(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        run = execution_of_document(_request(event))
        self._manager.record(tx, event.namespace, str(event.option_id), run, stamp)

    def _episode(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        request = _request(event)
        self._manager.record_episode(tx, event.namespace, request["episode_id"], episode_of_document(request), stamp)

    def _outcome(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        self._manager.tell_outcome(tx, event.namespace, Outcome(**_request(event), model_version=0), stamp)

    def _consolidate(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        """Works out again what was published, from the snapshot that it was worked out from."""
        through = _request(event)["through_sequence"]
        taken, parameters = self._taken.pop(through), self._builds[through]
        done = list(works(taken, chosen_targets(taken, parameters), parameters))
        tx.experience.save_models(event.namespace, taken.consolidation.build + 1, [work.model for work in done])
        publish(tx, taken, done, parameters, stamp, seconds=0.0)

    def _import(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        model = parse_model(_request(event)["model"], self._limits.dimension)
        import_model(tx, event.namespace, model, stamp, manager=self._manager, limits=self._limits, replacing=True)

    def _delete(self, tx: WriteTransaction, event: Event, stamp: Stamp) -> None:
        self._manager.delete_namespace(tx, event.namespace, stamp)


def _request(event: Event) -> Mapping[str, Any]:
    return event.request or {}


def builds_of(entries: Iterable[JournalEntry]) -> dict[int, BuildParameters]:
    """The sequences that published consolidations were made from, and with which parameters."""
    requests = (_request(one.event) for one in entries if one.event.type == Change.MODEL_CONSOLIDATED)
    return {request["through_sequence"]: BuildParameters(**request["parameters"]) for request in requests}


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
