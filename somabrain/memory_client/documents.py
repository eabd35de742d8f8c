"""The complete documents of options and memories, as the vector engine holds them (DESIGN §10). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from somabrain.memory.model import Memory
from somabrain.oak.documents import (
    json_text,
    option_part,
    row_part,
    state_document,
    timestamp,
    timestamp_ms,
    vector_base64,
)
from somabrain.oak.learning import ENCODER_ID, facts_vector
from somabrain.oak.model import FAIL, Facts, Json, ModelRow, Option, State, Vector
from somabrain.ports import Projected
from somabrain.tenancy import Namespace

MEMORY_FORMAT = "somabrain-memory-1"
OPTION_FORMAT = "somabrain-option-1"
OMITTED_FORMAT = "somabrain-option-omitted-1"
"""The documents' formats; one that says another is not read. The last is of an option that no document can hold: its
policy, say, is as large as a request may be."""


def checksum_of(document: str) -> str:
    """Lower-case hex of the SHA-256 of the document's UTF-8."""
    return hashlib.sha256(document.encode()).hexdigest()


def memory_document(memory: Memory) -> str:
    """A memory as JSON text: everything but whose it is and where in the journal."""
    return json_text(
        {
            "format": MEMORY_FORMAT,
            "memory_id": memory.memory_id,
            "content": memory.content,
            "metadata": dict(memory.metadata),
            "importance": memory.importance,
            "created_at": timestamp(memory.created_at_ms),
            "expires_at": None if memory.expires_at_ms is None else timestamp(memory.expires_at_ms),
            "vector_b64": vector_base64(memory.vector),
        }
    )


def memory_of_projected(projected: Projected) -> Memory:
    """The inverse of `memory_document`. Raises `ValueError` for a document of another format."""
    document = _read(projected.document, MEMORY_FORMAT)
    expires_at = document["expires_at"]
    return Memory(
        memory_id=document["memory_id"],
        content=document["content"],
        metadata=document["metadata"],
        importance=document["importance"],
        created_at_ms=timestamp_ms(document["created_at"]),
        expires_at_ms=None if expires_at is None else timestamp_ms(expires_at),
        vector=projected.vector,
        sequence=projected.sequence,
        checksum=projected.checksum,
    )


def projected_memory(namespace: Namespace, memory: Memory) -> Projected:
    """A memory for the vector engine."""
    document = memory_document(memory)
    return Projected(
        namespace=namespace,
        id=memory.memory_id,
        vector=memory.vector,
        document=document,
        sequence=memory.sequence,
        checksum=checksum_of(document),
    )


def projected_option(
    namespace: Namespace,
    option: Option,
    rows: Sequence[ModelRow],
    states: Mapping[int, State],
    *,
    dimension: int,
    sequence: int,
    bytes_max: int,
) -> Projected:
    """An option and its model for the vector engine, under the vector of its target.

    `states` has every prototype that `rows` name. Rows that would make the document larger than `bytes_max` are left
    out, those of fewest runs first, and counted; an option that is larger by itself leaves a document that names it.
    """
    document = option_document_text(option, rows, states, dimension)
    kept = list(rows)
    while len(document) > bytes_max and kept:
        kept = sorted(sorted(kept, key=lambda row: (-row.executions, row.start))[: len(kept) // 2], key=_start)
        document = option_document_text(option, kept, states, dimension, omitted=len(rows) - len(kept))
    if len(document) > bytes_max:
        document = json_text({"format": OMITTED_FORMAT, "option_id": option.option_id})
    target = option.spec.target
    vector = Vector(data=facts_vector(target, dimension).tobytes()) if isinstance(target, Facts) else target
    return Projected(
        namespace=namespace,
        id=option.option_id,
        vector=vector,
        document=document,
        sequence=sequence,
        checksum=checksum_of(document),
    )


def option_document_text(
    option: Option, rows: Iterable[ModelRow], states: Mapping[int, State], dimension: int, omitted: int = 0
) -> str:
    """An option and its model as JSON text that stands alone: states are named by their place in the document.

    Prototype numbers mean nothing outside their database, so they are not in it.
    """
    places: dict[int, int] = {}

    def place(number: int) -> int | str:
        return "FAIL" if number == FAIL else places.setdefault(number, len(places))

    parts = []
    for row in rows:
        part = row_part(row)
        del part["option_id"]
        part["start"] = place(row.start)
        part["outcomes"] = [[place(y), *moments[1:]] for y, moments in zip(row.outcomes, part["outcomes"], strict=True)]
        parts.append(part)
    return json_text(
        {
            "format": OPTION_FORMAT,
            "memory_dim": dimension,
            "encoder": ENCODER_ID,
            "option": option_part(option),
            "states": [state_document(states[number]) for number in places],
            "rows": parts,
            "rows_omitted": omitted,
        }
    )


def option_of_projected(projected: Projected) -> dict[str, Json] | None:
    """The members of an option's document, `None` of one that was too large. Raises `ValueError` for another format."""
    document = _read(projected.document, OPTION_FORMAT, OMITTED_FORMAT)
    return None if document["format"] == OMITTED_FORMAT else document


def _read(text: str, *forms: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict) or document.get("format") not in forms:
        message = f"not a document of the format {' or '.join(forms)}"
        raise ValueError(message)
    return document


def _start(row: ModelRow) -> int:
    return row.start
