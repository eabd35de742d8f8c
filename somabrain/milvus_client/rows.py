"""Documents as rows of a collection, and back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import Vector
from somabrain.ports import Mark, Projected
from somabrain.tenancy import Namespace, TenantId

DOCUMENT_BYTES_MAX = 1 << 19
"""The largest document, in bytes of UTF-8: 512 KiB."""

VARCHAR_BYTES_MAX = 65_535
"""The largest VARCHAR (Milvus, "Milvus Limits"), in bytes of UTF-8."""

CONTINUATIONS_MAX = 3
"""Bytes of a UTF-8 character after its first (RFC 3629 §3): what a cut between characters may leave unused."""

PARTS = -(-DOCUMENT_BYTES_MAX // (VARCHAR_BYTES_MAX - CONTINUATIONS_MAX))
"""The VARCHAR fields that a document takes at most."""

DOCUMENT_FIELDS = ("document", *(f"document_{part}" for part in range(1, PARTS)))
MARK_FIELDS = ("namespace", "item_id", "sequence", "checksum")
ALL_FIELDS = (*MARK_FIELDS, "embedding", *DOCUMENT_FIELDS)
NAME_LENGTH_MAX = 64
ID_LENGTH_MAX = 128
KEY_LENGTH_MAX = 2 * NAME_LENGTH_MAX + ID_LENGTH_MAX + 2
CHECKSUM_LENGTH = 64
SEPARATOR = ":"

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CONTINUATION, _CONTINUATION_MASK = 0b1000_0000, 0b1100_0000  # RFC 3629 §3
T = TypeVar("T")


def key_of(tenant: TenantId, namespace: Namespace, item_id: str) -> str:
    """The primary key; tenants and namespaces hold no colon, so it is theirs alone. Raises `ValueError`."""
    if _ID.fullmatch(item_id) is None:
        message = f"an id is 1 to {ID_LENGTH_MAX} of A-Za-z0-9._:-, not {item_id!r}"
        raise ValueError(message)
    return SEPARATOR.join((tenant.value, namespace.value, item_id))


def equals(field: str, value: str) -> str:
    """The filter for a field's value."""
    return f"{field} == {json.dumps(value, ensure_ascii=False)}"


def among(keys: Sequence[str]) -> str:
    """The filter for these primary keys."""
    return f"key in {json.dumps(list(keys), ensure_ascii=False)}"


def after(key: str) -> str:
    """The filter for the primary keys beyond this one; beyond the empty one are all."""
    return f"key > {json.dumps(key, ensure_ascii=False)}"


def split(document: str) -> list[str]:
    """The document in `PARTS` parts, none cutting a character, the last ones empty. Raises `ValueError`."""
    rest = document.encode()
    if len(rest) > DOCUMENT_BYTES_MAX:
        message = f"a document is at most {DOCUMENT_BYTES_MAX} bytes, not {len(rest)}"
        raise ValueError(message)
    parts = []
    for _ in range(PARTS):
        end = min(len(rest), VARCHAR_BYTES_MAX)
        while end < len(rest) and rest[end] & _CONTINUATION_MASK == _CONTINUATION:
            end -= 1
        parts.append(rest[:end].decode())
        rest = rest[end:]
    return parts


def array_of(vector: Vector, dimension: int) -> NDArray[np.float32]:
    """Shape (dimension,). Raises `ValueError`."""
    array = vector.array()
    if array.shape != (dimension,):
        message = f"a vector has {dimension} components, not {array.size}"
        raise ValueError(message)
    return array.astype(np.float32, copy=False)


def row_of(tenant: TenantId, record: Projected) -> dict[str, Any]:
    """All fields but `vector`. Raises `ValueError`."""
    return {
        "key": key_of(tenant, record.namespace, record.id),
        "tenant_id": tenant.value,
        "namespace": record.namespace.value,
        "item_id": record.id,
        "embedding": base64.b64encode(record.vector.data).decode("ascii"),
        "sequence": record.sequence,
        "checksum": record.checksum,
        "document_bytes": len(record.document.encode()),
        **dict(zip(DOCUMENT_FIELDS, split(record.document), strict=True)),
    }


def projected_of(row: Mapping[str, Any]) -> Projected:
    """Of a row with `ALL_FIELDS`."""
    return Projected(
        namespace=Namespace(row["namespace"]),
        id=row["item_id"],
        vector=Vector(data=base64.b64decode(row["embedding"])),
        document="".join(row[field] for field in DOCUMENT_FIELDS),
        sequence=int(row["sequence"]),
        checksum=row["checksum"],
    )


def mark_of(row: Mapping[str, Any]) -> Mark:
    """Of a row with `MARK_FIELDS`."""
    return Mark(
        namespace=Namespace(row["namespace"]),
        id=row["item_id"],
        sequence=int(row["sequence"]),
        checksum=row["checksum"],
    )


def batches(items: Iterable[tuple[T, int]], *, rows_max: int, bytes_max: int) -> Iterator[list[T]]:
    """Items with their sizes, in order, in lists of at most so many and so much; a larger one comes alone."""
    batch: list[T] = []
    total = 0
    for item, size in items:
        if batch and (len(batch) == rows_max or total + size > bytes_max):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch
