"""Journal entries and events files for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastavro

from somabrain.ports import Event, JournalEntry
from somabrain.store import SqlStore
from somabrain.tenancy import TenantId
from tests.factories import ALICE, HOME

FIRST_MS = 1_700_000_000_123


def entry(sequence: int, tenant: TenantId = ALICE, *, text: str = "", **changes: Any) -> JournalEntry:
    """The tenant's entry of that sequence, an OptionCreated, one millisecond after the one before."""
    payload = {"option_id": "o", "version": sequence, "utility": 0.5, "payload": json.dumps({"text": text})}
    values: dict[str, Any] = {
        "type": "OptionCreated",
        "namespace": HOME,
        "option_id": "o",
        "payload": payload,
        "request": None,
        "reported_by": "tester",
        "timestamp_ms": FIRST_MS + sequence,
        "event_id": f"{tenant}-{sequence}",
    }
    return JournalEntry(tenant=tenant, sequence=sequence, event=Event(**{**values, **changes}))


def entries(first: int, last: int, tenant: TenantId = ALICE) -> list[JournalEntry]:
    """The tenant's entries from `first` to `last`."""
    return [entry(sequence, tenant) for sequence in range(first, last + 1)]


def commit(store: SqlStore, tenant: TenantId, count: int, *, text: str = "") -> None:
    """Adds `count` entries to the tenant's journal, in one transaction."""
    with store.write(tenant) as tx:
        for _ in range(count):
            tx.append(entry(tx.sequence() + 1, tenant, text=text).event)


def ids(path: Path) -> list[str]:
    """Event ids in the order of the file, as any Avro tool reads them."""
    with path.open("rb") as stream:
        records: list[Any] = list(fastavro.reader(stream))
    return [record["event_id"] for record in records]


def block_ends(path: Path) -> list[int]:
    """Where the file's blocks end."""
    with path.open("rb") as stream:
        return [block.offset + block.size for block in fastavro.block_reader(stream)]
