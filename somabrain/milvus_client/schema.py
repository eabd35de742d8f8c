"""The collections: their fields, their index, and whether those that exist are the ones that are meant."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from somabrain.milvus_client.connection import Client, Connection, pymilvus, version_of
from somabrain.milvus_client.parameters import LITE_INDEX_TYPES, LITE_INSTEAD, MilvusParameters
from somabrain.milvus_client.rows import (
    CHECKSUM_LENGTH,
    DOCUMENT_FIELDS,
    ID_LENGTH_MAX,
    KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    VARCHAR_BYTES_MAX,
)
from somabrain.ports import Shelf, VectorEngineMismatchError, VectorEngineUnavailableError

BASE64_CHARACTERS, BASE64_BYTES = 4, 3  # RFC 4648 §4
FLOAT_BYTES, BYTE_BITS = 4, 8
PARTITION_KEY_VERSION_MIN = (2, 4)
"""Servers before it lose rows when a row is upserted by partition key: 2.3.5 was measured to."""

REBUILD = "`somabrain reconcile --rebuild` makes it anew"
PROBE_TENANTS = 4
PROBE_NAME_BYTES = 8


def prove_index(parameters: MilvusParameters) -> None:
    """Raises `VectorEngineMismatchError` where the embedded engine has no such index."""
    if parameters.lite_path is not None and parameters.index_type not in LITE_INDEX_TYPES:
        message = (
            f"Milvus Lite has no {parameters.index_type}: set MILVUS_INDEX_TYPE={LITE_INSTEAD[parameters.index_type]}, "
            "or MILVUS_URI to a server"
        )
        raise VectorEngineMismatchError(message)


def embedding_length(parameters: MilvusParameters) -> int:
    """Characters of a vector's components, float32, in Base64."""
    return BASE64_CHARACTERS * math.ceil(FLOAT_BYTES * parameters.dimension / BASE64_BYTES)


def fields(parameters: MilvusParameters) -> dict[str, tuple[str, Mapping[str, int]]]:
    """The type and its parameters of each field."""
    return {
        "key": ("VARCHAR", {"max_length": KEY_LENGTH_MAX}),
        "tenant_id": ("VARCHAR", {"max_length": NAME_LENGTH_MAX}),
        "namespace": ("VARCHAR", {"max_length": NAME_LENGTH_MAX}),
        "item_id": ("VARCHAR", {"max_length": ID_LENGTH_MAX}),
        "vector": (parameters.vector_type, {"dim": parameters.vector_dimension}),
        "embedding": ("VARCHAR", {"max_length": embedding_length(parameters)}),
        "sequence": ("INT64", {}),
        "checksum": ("VARCHAR", {"max_length": CHECKSUM_LENGTH}),
        "document_bytes": ("INT64", {}),
        **{field: ("VARCHAR", {"max_length": VARCHAR_BYTES_MAX}) for field in DOCUMENT_FIELDS},
    }


def prove(connection: Connection, parameters: MilvusParameters, shelf: Shelf) -> bool:
    """Makes a shelf's collection where it is missing; whether it was. Another: `VectorEngineMismatchError`."""
    name, timeout_s = parameters.collection(shelf), parameters.connect_timeout_s
    if not connection.call("describe", lambda client, s: client.has_collection(name, timeout=s), timeout_s=timeout_s):
        create(connection, parameters, name)
        return True
    found = connection.call("describe", lambda client, s: client.describe_collection(name, timeout=s))
    differences = list(_differences(fields(parameters), found))
    if differences:
        message = f"Milvus: collection {name}: {'; '.join(differences)}; {REBUILD}"
        raise VectorEngineMismatchError(message)
    if connection.call("describe", lambda client, s: client.list_indexes(name, "vector", timeout=s)):
        index = connection.call("describe", lambda client, s: client.describe_index(name, "vector", timeout=s))
        if index["index_type"] != parameters.index_type:
            message = f"Milvus: collection {name}: its index is {index['index_type']}, not {parameters.index_type}; "
            raise VectorEngineMismatchError(message + REBUILD)
    else:  # its maker died between the two
        connection.call("create", lambda client, s: _index(client, parameters, name, s), timeout_s=timeout_s)
    connection.call("load", lambda client, s: client.load_collection(name, timeout=s), timeout_s=timeout_s)
    return False


def _differences(wanted: Mapping[str, tuple[str, Mapping[str, int]]], found: Mapping[str, Any]) -> list[str]:
    have = {
        field["name"]: (field["type"].name, {key: int(value) for key, value in field["params"].items()})
        for field in found["fields"]
    }
    names = sorted(wanted.keys() | have.keys())
    return [
        f"{name} is {_words(have.get(name))}, not {_words(wanted.get(name))}"
        for name in names
        if have.get(name) != wanted.get(name)
    ]


def _words(field: tuple[str, Mapping[str, int]] | None) -> str:
    if field is None:
        return "missing"
    return field[0] + "".join(f" {key}={value}" for key, value in field[1].items())


def drop(connection: Connection, parameters: MilvusParameters, name: str) -> None:
    """Drops a collection; one that is not there is no error."""
    timeout_s = parameters.connect_timeout_s
    connection.call("drop", lambda client, s: client.drop_collection(name, timeout=s), timeout_s=timeout_s)


def reload(connection: Connection, parameters: MilvusParameters, name: str) -> None:
    """Releases a collection and loads it."""
    timeout_s = parameters.connect_timeout_s
    connection.call("release", lambda client, s: client.release_collection(name, timeout=s), timeout_s=timeout_s)
    connection.call("load", lambda client, s: client.load_collection(name, timeout=s), timeout_s=timeout_s)


def create(connection: Connection, parameters: MilvusParameters, name: str) -> None:
    """Makes a collection and its index, and loads it."""
    by_tenant = not connection.embedded and _partition_key_works(connection, parameters)
    _create(connection, parameters, name, by_tenant=by_tenant)


def _create(connection: Connection, parameters: MilvusParameters, name: str, *, by_tenant: bool) -> None:
    def make(client: Client, left_s: float) -> None:
        library = pymilvus()
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        for field, (kind, values) in fields(parameters).items():
            flags = {"is_primary": True} if field == "key" else {}
            if by_tenant and field == "tenant_id":
                flags = {"is_partition_key": True}
            schema.add_field(field, library.DataType[kind], **values, **flags)
        if not client.has_collection(name, timeout=left_s):
            client.create_collection(name, schema=schema, timeout=left_s)
        _index(client, parameters, name, left_s)
        client.load_collection(name, timeout=left_s)

    connection.call("create", make, timeout_s=parameters.connect_timeout_s)


def _index(client: Client, parameters: MilvusParameters, name: str, left_s: float) -> None:
    index = client.prepare_index_params()
    index.add_index(
        "vector", index_type=parameters.index_type, metric_type=parameters.metric, params=dict(parameters.build())
    )
    client.create_index(name, index, timeout=math.ceil(left_s))  # with a fraction pymilvus waits for ever


def _partition_key_works(connection: Connection, parameters: MilvusParameters) -> bool:
    """Whether a server that should handle a partition key is seen to, in a collection of the probe's own.

    It has been run against no server of 2.4 or later: where it is wrong the collections do without.
    """
    version = connection.call("describe", lambda client, s: client.get_server_version(timeout=s))
    if version_of(version) < PARTITION_KEY_VERSION_MIN:
        return False
    name = f"{parameters.prefix}_probe_{os.urandom(PROBE_NAME_BYTES).hex()}"
    tenants = [f"tenant-{number}" for number in range(PROBE_TENANTS)]
    try:
        _create(connection, parameters, name, by_tenant=True)
        for sequence in (0, 1):
            rows = [_probe_row(parameters, tenant, sequence) for tenant in tenants]
            connection.call("probe", partial(_upsert, name, rows))
        seen = [_probe_seen(connection, name, tenant) for tenant in tenants]
        connection.call("probe", lambda client, s: client.delete(name, filter=f'key in ["{tenants[0]}"]', timeout=s))
        return seen == [[1]] * PROBE_TENANTS and not _probe_seen(connection, name, tenants[0])
    except (VectorEngineUnavailableError, VectorEngineMismatchError):
        return False
    finally:
        drop(connection, parameters, name)


def _upsert(name: str, rows: list[dict[str, Any]], client: Client, left_s: float) -> None:
    client.upsert(name, rows, timeout=left_s)


def _probe_row(parameters: MilvusParameters, tenant: str, sequence: int) -> dict[str, Any]:
    texts = {field: "" for field, (kind, _) in fields(parameters).items() if kind == "VARCHAR"}
    plain = [1.0, *[0.0] * (parameters.dimension - 1)]
    vector = bytes(parameters.binary_bits // BYTE_BITS) if parameters.binary else plain
    return {**texts, "key": tenant, "tenant_id": tenant, "vector": vector, "sequence": sequence, "document_bytes": 0}


def _probe_seen(connection: Connection, name: str, tenant: str) -> list[int]:
    found = connection.call(
        "probe",
        lambda client, s: client.query(
            name,
            filter=f'tenant_id == "{tenant}"',
            output_fields=["sequence"],
            limit=PROBE_TENANTS,
            timeout=s,
            consistency_level="Strong",
        ),
    )
    return [int(row["sequence"]) for row in found]
