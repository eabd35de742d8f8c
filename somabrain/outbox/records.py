"""Journal entries as the Avro records that leave the service (DESIGN §9)."""

from __future__ import annotations

from libs.kafka_cog.avro_schemas import Record
from somabrain.ports import JournalEntry

DOCUMENT_FIELD = "payload"
"""The field that holds a JSON document: text in the journal, UTF-8 bytes in the record."""


def record_of(entry: JournalEntry) -> Record:
    """The fields of the entry's record; `schema_version` is left to its default, the schema's own version."""
    event = entry.event
    own = dict(event.payload)
    if isinstance(own.get(DOCUMENT_FIELD), str):
        own[DOCUMENT_FIELD] = own[DOCUMENT_FIELD].encode()
    return {
        "event_id": event.event_id,
        "tenant_id": entry.tenant.value,
        "namespace": event.namespace.value,
        "sequence": entry.sequence,
        "timestamp": event.timestamp_ms,
        **own,
    }
