"""The events file: every event of every tenant in one Avro object container (EVENTS_FILE)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from libs.kafka_cog.avro_schemas import AvroError, AvroSchemas
from somabrain.errors import ConfigurationError
from somabrain.outbox.container import Container, ContainerBusyError, NotContainerError, looks_like_container
from somabrain.outbox.records import record_of
from somabrain.ports import JournalEntry, SinkUnavailableError


class AvroFileSink:
    """`EventSink` on a file that any Avro tool reads; its schema is the union of all event records.

    Every batch is a block of its own, on disk before `publish` returns. A batch that is given again right after it was
    written is recognised by its event ids and not written twice. A file whose writer had other schemas is renamed to
    `<name>.<n>`, n counting from 1, when the first batch is published; so is one that is damaged before its last block.
    A file that is moved away while the service runs is begun anew.
    """

    def __init__(self, path: Path, schemas: AvroSchemas) -> None:
        """Looks at the file and opens nothing. Raises `ConfigurationError` where it can't be written to."""
        self._path = path
        self._schemas = schemas
        self._container: Container | None = None
        self._check()

    def _check(self) -> None:
        folder = self._path.parent
        problem = None
        try:
            if not folder.is_dir():
                problem = f"the folder {folder} does not exist"
            elif not os.access(self._path if self._path.exists() else folder, os.W_OK):
                problem = f"{self._path} can't be written to"
            elif self._path.exists() and not looks_like_container(self._path):
                problem = f"{self._path} is no Avro object container, and not empty: name another file or move it away"
        except OSError as error:
            problem = f"{self._path}: {error.strerror}"
        if problem is not None:
            message = f"EVENTS_FILE: {problem}"
            raise ConfigurationError(message)

    @property
    def name(self) -> str:
        """As the port."""
        return "file"

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        """As the port. The file is opened, and a torn tail cut off, by the first call."""
        try:
            container = self._opened()
            written = {record["event_id"] for record in container.last_records}
            new = [(entry.event.type, record_of(entry)) for entry in entries if entry.event.event_id not in written]
            for name, record in new:
                self._schemas.check(name, record)
            container.append(new)
        except AvroError as error:
            message = f"an event does not fit its schema: {error}"
            raise SinkUnavailableError(message) from error
        except OSError as error:
            self.close()
            message = f"{self._path}: {error.strerror}"
            raise SinkUnavailableError(message) from error
        except ContainerBusyError as error:
            message = f"{self._path}: another process is writing to it"
            raise SinkUnavailableError(message) from error
        except NotContainerError as error:
            message = f"{self._path}: not an Avro object container"
            raise SinkUnavailableError(message) from error

    def _opened(self) -> Container:
        if self._container is not None and not self._container.intact():
            self.close()
        if self._container is None:
            self._container = Container(self._path, self._schemas)
        return self._container

    def close(self) -> None:
        """As the port."""
        if self._container is not None:
            self._container.close()
            self._container = None
