"""Events read back from an Avro object container file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import fastavro
from fastavro.schema import SchemaParseException

from somabrain.oak.documents import timestamp
from somabrain.outbox.container import DAMAGED, MAGIC, SYNC_BYTES
from somabrain.outbox.errors import EventsFileError

COMMON_FIELDS = ("sequence", "event_id", "tenant_id", "namespace", "timestamp", "schema_version")
"""What every event has; the others are its own (DESIGN §9)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The file's events in its order, as `GET /events` answers them; repeats are not dropped.

    A torn last block, or header, which a writer has not finished, is left out. Raises `EventsFileError`, `OSError`.
    """
    with path.open("rb") as stream:
        for name, record in _records(stream, path):
            try:
                yield _event(name, record)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                message = f"{path}: a record {name} is no event"
                raise EventsFileError(message) from error


def _records(stream: IO[bytes], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        blocks = fastavro.block_reader(stream, return_record_name=True)
    except (*DAMAGED, SchemaParseException) as error:
        if _begun(stream, error):
            return
        message = f"{path}: not an Avro object container"
        raise EventsFileError(message) from error
    good = stream.tell()
    stream.seek(good - SYNC_BYTES)
    marker = stream.read(SYNC_BYTES)
    while True:
        try:
            block = next(blocks, None)
            records: list[Any] = [] if block is None else list(block)
        except DAMAGED as error:
            stream.seek(good)
            if marker not in stream.read():
                return
            message = f"{path}: damaged in the block at byte {good}"
            raise EventsFileError(message) from error
        if block is None:
            return
        good = stream.tell()
        for named in records:
            if not isinstance(named, tuple):
                message = f"{path}: a record is no event"
                raise EventsFileError(message)
            yield named


def _begun(stream: IO[bytes], error: BaseException) -> bool:
    """Whether the file ends within its header; fastavro's error then comes of the end that it met."""
    stream.seek(0)
    return isinstance(error.__context__, EOFError) and MAGIC.startswith(stream.read(len(MAGIC)))


def _event(name: str, record: dict[str, Any]) -> dict[str, Any]:
    own = {field: value for field, value in record.items() if field not in COMMON_FIELDS}
    return {
        "sequence": record["sequence"],
        "event_id": record["event_id"],
        "type": name.rpartition(".")[2],
        "tenant_id": record["tenant_id"],
        "namespace": record["namespace"],
        "timestamp": timestamp((record["timestamp"] - _EPOCH) // _MILLISECOND),
        "option_id": own.get("option_id"),
        "payload": {field: value.decode() if isinstance(value, bytes) else value for field, value in own.items()},
    }
