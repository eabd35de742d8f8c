"""The vector engine of DESIGN §10."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from somabrain.milvus_client import schema
from somabrain.milvus_client.binary import hyperplanes, signs
from somabrain.milvus_client.connection import Connection
from somabrain.milvus_client.parameters import MilvusParameters
from somabrain.milvus_client.rows import (
    ALL_FIELDS,
    MARK_FIELDS,
    after,
    among,
    array_of,
    batches,
    equals,
    key_of,
    mark_of,
    projected_of,
    row_of,
)
from somabrain.oak.model import Vector
from somabrain.ports import (
    Mark,
    Near,
    Projected,
    Shelf,
    VectorEngineMismatchError,
    VectorEngineUnavailableError,
)
from somabrain.tenancy import Namespace, TenantId

BATCH_ROWS_MAX = 1000
BATCH_BYTES_MAX = 8 << 20
"""Of one request or answer: an eighth of the 64 MiB that a server takes (proxy.grpc.serverMaxRecvSize)."""

ROW_BYTES = 512
"""What a row has beside its document and vector, about."""

PAGE_ROWS = 8192
RESULT_ROWS_MAX = 16_384
"""Rows of one answer at most (Milvus, "Milvus Limits": topK, limit)."""

STRONG, SESSION, BOUNDED = "Strong", "Session", "Bounded"
"""Consistency levels. Strong waits for all earlier writes, Session for our own, Bounded for none."""


class MilvusEngine:
    """`VectorEngine` on Milvus Lite or a server; each request has a deadline, and is repeated within it.

    An embedded engine that dies is started again by the next request. A collection that is dropped underneath is
    `VectorEngineMismatchError`: only `open` and `clear` make one.
    """

    def __init__(
        self,
        parameters: MilvusParameters,
        *,
        monotonic_s: Callable[[], float],
        sleep: Callable[[float], None],
        observe: Callable[[str, str, float], None],
    ) -> None:
        """Connects to nothing. `observe` is told of each request: operation, ok | unavailable | mismatch, seconds."""
        self._parameters = parameters
        self._connection = Connection(parameters, monotonic_s=monotonic_s, sleep=sleep, observe=observe)
        self._lock = threading.RLock()
        self._opened = False
        self._planes: NDArray[np.float32] | None = None

    def open(self) -> bool:
        """As the port."""
        with self._lock:
            if self._opened:
                return False
            schema.prove_index(self._parameters)
            self._connection.open()
            made = [schema.prove(self._connection, self._parameters, shelf) for shelf in Shelf]
            self._opened = True
            return any(made)

    def close(self) -> None:
        """As the port."""
        with self._lock:
            self._opened = False
            self._connection.close()

    def upsert(self, shelf: Shelf, tenant: TenantId, records: Sequence[Projected]) -> None:
        """As the port; of records with one key the last. Raises `ValueError` on what can't be stored."""
        rows = {}
        for record, vector in zip(records, self._vectors([record.vector for record in records]), strict=True):
            row = row_of(tenant, record)
            rows[row["key"]] = {**row, "vector": vector}
        sized = ((row, _size(row)) for row in rows.values())
        for batch in batches(sized, rows_max=BATCH_ROWS_MAX, bytes_max=BATCH_BYTES_MAX):
            self._call("upsert", shelf, partial(_upsert, batch))

    def delete(self, shelf: Shelf, tenant: TenantId, keys: Sequence[tuple[Namespace, str]]) -> None:
        """As the port. Raises `ValueError`."""
        names = {key_of(tenant, namespace, item_id): None for namespace, item_id in keys}
        for batch in _of_rows(names):
            self._call("delete", shelf, partial(_delete, batch))

    def search(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, vector: Vector, *, limit: int) -> list[Near]:
        """As the port; which of equal ones come into the last places is the engine's choice."""
        if limit < 1:
            return []
        wanted = array_of(vector, self._parameters.dimension)
        binary = self._parameters.binary
        rows = max(self._parameters.candidates, limit) if binary else limit
        breadth = {"metric_type": self._parameters.metric, "params": {}}
        breadth["params"] = dict(self._parameters.breadth(min(rows, RESULT_ROWS_MAX)))
        data = self._vectors([vector])
        found = self._call(
            "search",
            shelf,
            lambda client, name, s: client.search(
                name,
                data=data,
                anns_field="vector",
                filter=f"{equals('tenant_id', tenant.value)} and {equals('namespace', namespace.value)}",
                limit=min(rows, RESULT_ROWS_MAX),
                output_fields=["item_id", "embedding"] if binary else ["item_id"],
                search_params=breadth,
                timeout=s,
                consistency_level=BOUNDED,
            ),
        )[0]
        ids = [hit["entity"]["item_id"] for hit in found]
        near = _cosines(wanted, found) if binary else [float(hit["distance"]) for hit in found]
        ranked = sorted(zip(ids, near, strict=True), key=lambda pair: (-pair[1], pair[0]))
        return [Near(id=item_id, similarity=similarity) for item_id, similarity in ranked[:limit]]

    def get(self, shelf: Shelf, tenant: TenantId, namespace: Namespace, ids: Sequence[str]) -> list[Projected]:
        """As the port. Raises `ValueError`."""
        keys = sorted({key_of(tenant, namespace, item_id) for item_id in ids})
        sizes = [row for part in _of_rows(keys) for row in self._rows(shelf, among(part), ["key", "document_bytes"])]
        return [record for batch in self._whole(shelf, sizes) for record in sorted(batch, key=lambda one: one.id)]

    def count(self, shelf: Shelf, tenant: TenantId) -> int:
        """As the port."""
        found = self._rows(shelf, equals("tenant_id", tenant.value), ["count(*)"], limit=None)
        return int(found[0]["count(*)"])

    def marks(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Mark]]:
        """As the port."""
        for page in self._pages(shelf, equals("tenant_id", tenant.value), MARK_FIELDS):
            yield [mark_of(row) for row in page]

    def documents(self, shelf: Shelf, tenant: TenantId) -> Iterator[Sequence[Projected]]:
        """As the port; a document that is deleted meanwhile may be missing."""
        for page in self._pages(shelf, equals("tenant_id", tenant.value), ["document_bytes"]):
            yield from self._whole(shelf, page)

    def tenants(self, shelf: Shelf) -> set[TenantId]:
        """As the port."""
        pages = self._pages(shelf, "", ["tenant_id"])
        return {TenantId(name) for page in pages for name in {row["tenant_id"] for row in page}}

    def reload(self, shelf: Shelf) -> None:
        """As the port: released and loaded."""
        schema.reload(self._connection, self._parameters, self._parameters.collection(shelf))

    def clear(self, shelf: Shelf) -> None:
        """As the port. Where an embedded engine can't do it, its file is removed: both collections are then empty."""
        with self._lock:
            schema.prove_index(self._parameters)
            name = self._parameters.collection(shelf)
            try:
                self._connection.open()
                schema.drop(self._connection, self._parameters, name)
                schema.create(self._connection, self._parameters, name)
            except (VectorEngineUnavailableError, VectorEngineMismatchError):
                if not self._connection.embedded:
                    raise
                self._connection.open(anew=True)
                for each in Shelf:
                    schema.create(self._connection, self._parameters, self._parameters.collection(each))

    def _call(self, operation: str, shelf: Shelf, request: Callable[[Any, str, float], Any]) -> Any:
        """`request` is given the client, the collection's name and the seconds left."""
        name = self._parameters.collection(shelf)
        return self._connection.call(operation, lambda client, s: request(client, name, s), collection=name)

    def _rows(
        self,
        shelf: Shelf,
        condition: str,
        wanted: Sequence[str],
        *,
        limit: int | None = RESULT_ROWS_MAX,
        consistency: str = STRONG,
    ) -> list[dict[str, Any]]:
        bounds = {} if limit is None else {"limit": limit}
        found = self._call(
            "query",
            shelf,
            lambda client, name, s: client.query(
                name,
                filter=condition,
                output_fields=list(wanted),
                timeout=s,
                consistency_level=consistency,
                **bounds,
            ),
        )
        return list(found)

    def _pages(self, shelf: Shelf, condition: str, wanted: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """All rows, with their keys, by ranges of the primary key.

        An engine returns the rows of the smallest keys first where their number is limited: `pymilvus.QueryIterator`
        rests on it, and the contract suite proves it of Milvus Lite 2.5.1 and of a server 2.3.5. The first page waits
        for all writes, so that the others need not.
        """
        key, consistency = "", STRONG
        while True:
            beyond = f"{condition} and {after(key)}" if condition else after(key)
            page = self._rows(shelf, beyond, ["key", *wanted], limit=PAGE_ROWS, consistency=consistency)
            if page:
                yield page
            if len(page) < PAGE_ROWS:
                return
            key, consistency = max(row["key"] for row in page), SESSION

    def _whole(self, shelf: Shelf, rows: Sequence[dict[str, Any]]) -> Iterator[list[Projected]]:
        """The documents of rows with `key` and `document_bytes`."""
        own = ROW_BYTES + schema.embedding_length(self._parameters)
        sized = ((row["key"], int(row["document_bytes"]) + own) for row in rows)
        for keys in batches(sized, rows_max=BATCH_ROWS_MAX, bytes_max=BATCH_BYTES_MAX):
            found = self._rows(shelf, among(keys), ALL_FIELDS, consistency=SESSION)
            yield [projected_of(row) for row in found]

    def _vectors(self, vectors: Sequence[Vector]) -> list[Any]:
        """As the collection's vector field takes them. Raises `ValueError`."""
        arrays = [array_of(vector, self._parameters.dimension) for vector in vectors]
        if not self._parameters.binary or not arrays:
            return arrays
        if self._planes is None:
            self._planes = hyperplanes(self._parameters.binary_bits, self._parameters.dimension)
        return list(signs(self._planes, arrays))


def _upsert(rows: list[dict[str, Any]], client: Any, name: str, left_s: float) -> None:
    client.upsert(name, rows, timeout=left_s)


def _delete(keys: list[str], client: Any, name: str, left_s: float) -> None:
    client.delete(name, filter=among(keys), timeout=left_s)


def _of_rows(keys: Iterable[str]) -> Iterator[list[str]]:
    return batches(((key, 1) for key in keys), rows_max=BATCH_ROWS_MAX, bytes_max=BATCH_ROWS_MAX)


def _size(row: dict[str, Any]) -> int:
    return ROW_BYTES + int(row["document_bytes"]) + 2 * len(row["embedding"])


def _cosines(wanted: NDArray[np.float32], found: Sequence[Any]) -> list[float]:
    """The exact ones, of the vectors that the hits carry; 0 beside a zero vector."""
    if not found:
        return []
    data = b"".join(base64.b64decode(hit["entity"]["embedding"]) for hit in found)
    vectors = np.frombuffer(data, dtype="<f4").reshape(len(found), -1)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    return [float(value) for value in vectors @ wanted / np.where(lengths > 0, lengths, 1)]
