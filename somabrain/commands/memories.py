"""Commands that remember and recall through a running server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from somabrain.commands.output import EXIT_CONFIGURATION, err, fail, out, print_json, print_table, progress_bar
from somabrain.commands.remote import Server

IMPORT_ROWS = 500
"""Memories in one request."""
IMPORT_BYTES = 8 << 20
"""Bytes in one request, unless a single memory has more: far below what the server takes."""
IMPORTED = "imported:"
"""What the id of an imported memory begins with that has none of its own; the line's SHA-256 follows."""

_DIGEST_BYTES = 16


def remember(server: Server, body: dict[str, Any], *, as_json: bool) -> None:
    """Stores a memory."""
    answer = server.ask("POST", "/memory/remember", json={**body, "namespace": server.namespace}).json()
    if as_json:
        print_json(answer)
    else:
        out.print(f"Remembered as {answer['memory_id']}.")


def recall(server: Server, body: dict[str, Any], *, as_json: bool) -> None:
    """The memories that answer best."""
    answer = server.ask("POST", "/memory/recall", json={**body, "namespace": server.namespace}).json()
    if as_json:
        print_json(answer)
        return
    print_table(
        ("score", "memory", "content", "metadata", "stored"),
        [
            (
                f"{hit['score']:.3f}",
                hit["memory_id"],
                hit["content"],
                orjson.dumps(hit["metadata"]).decode() if hit["metadata"] else "",
                hit["created_at"],
            )
            for hit in answer["hits"]
        ],
    )
    if answer["degraded"]:
        err.print("Milvus did not answer; every memory was read from the database instead.")


def forget(server: Server, memory_id: str) -> None:
    """Deletes a memory."""
    server.ask("DELETE", f"/memory/{memory_id}", params={"namespace": server.namespace})
    err.print(f"Forgot {memory_id}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A memory of the file, and where it stands."""

    number: int
    size: int
    memory: dict[str, Any]


def import_memories(server: Server, path: Path, *, as_json: bool) -> None:
    """Stores the memories of a JSON Lines file, each line as POST /memory/remember takes it.

    The whole file is read before anything is sent. A memory without an id gets one from its line, so importing the
    file again, after an interruption say, stores nothing twice.
    """
    try:
        total = sum(1 for _ in _lines(path))
        with progress_bar("importing", total) as bar:
            for batch in _batches(_lines(path)):
                body = {"namespace": server.namespace, "memories": [line.memory for line in batch]}
                server.ask("POST", "/memory/remember/batch", json=body, told=f"{path}:{batch[0].number} and after")
                bar.advance(bar.task_ids[0], len(batch))
    except OSError as error:
        fail(f"{path}: {error.strerror}", EXIT_CONFIGURATION)
    if as_json:
        print_json({"memories": total})
    else:
        err.print(f"Imported {total} memories.")


def _lines(path: Path) -> Iterator[_Line]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                memory = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                fail(f"{path}:{number}: not JSON: {error}; nothing was imported", EXIT_CONFIGURATION)
            if not isinstance(memory, dict) or not isinstance(memory.get("content"), str):
                fail(f"{path}:{number}: want an object with a content; nothing was imported", EXIT_CONFIGURATION)
            digest = hashlib.sha256(line.strip()).hexdigest()[: 2 * _DIGEST_BYTES]
            yield _Line(number=number, size=len(line), memory={"memory_id": IMPORTED + digest, **memory})


def _batches(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    batch: list[_Line] = []
    for line in lines:
        if batch and (len(batch) == IMPORT_ROWS or sum(held.size for held in batch) + line.size > IMPORT_BYTES):
            yield batch
            batch = []
        batch.append(line)
    if batch:
        yield batch
