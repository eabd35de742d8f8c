"""Values of Avro schemas, and whether one schema reads what another wrote (Avro 1.12.0, "Schema Resolution")."""

from __future__ import annotations

import io
import itertools
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError
from hypothesis import strategies as st

Schema = dict[str, Any]
"""A record schema."""

FIXED_SAMPLES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "int": [0, -(2**31), 2**31 - 1],
    "long": [0, -(2**63), 2**63 - 1],
    "float": [0.0, -0.5],
    "double": [0.0, -1e308],
    "string": ["", "ü\U0001f600\u0000"],
    "bytes": [b"", b"\x00\xff"],
}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": TEXTS,
    "bytes": st.binary(),
}


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Values of a schema of primitive types, unions of them, arrays, and records."""
    if isinstance(schema, list):
        return st.one_of([values(branch) for branch in schema])
    if isinstance(schema, dict) and schema["type"] == "record":
        return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in schema["fields"]})
    if isinstance(schema, dict) and schema["type"] == "array":
        return st.lists(values(schema["items"]), max_size=3)
    return STRATEGIES[schema["type"] if isinstance(schema, dict) else schema]


def samples(schema: Any) -> list[Any]:
    """Values that together take every branch of every union and every symbol of every enumeration."""
    match schema:
        case list():
            found = [value for branch in schema for value in samples(branch)]
        case str():
            found = FIXED_SAMPLES[schema]
        case {"type": "record"}:
            columns = {field["name"]: samples(field["type"]) for field in schema["fields"]}
            rows = range(max(map(len, columns.values()), default=1))
            found = [{name: column[row % len(column)] for name, column in columns.items()} for row in rows]
        case {"type": "enum"}:
            found = list(schema["symbols"])
        case {"type": "array"}:
            found = [[], samples(schema["items"])]
        case {"type": "map"}:
            found = [{}, {str(key): value for key, value in enumerate(samples(schema["values"]))}]
        case _:
            found = samples(schema["type"])
    return found


def incompatibilities(writer: Schema, reader: Schema) -> list[str]:
    """Why data written with the record schema `writer` can't be read with `reader`; empty: they can."""
    if writer["name"] != reader["name"] or writer.get("namespace") != reader.get("namespace"):
        return [f"the record is named {reader['name']}, not {writer['name']}"]
    found = _other_meanings(writer, reader)
    plain_writer, plain_reader = _without_meanings(writer), _without_meanings(reader)
    for record in samples(writer):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, plain_writer, record)
        buffer.seek(0)
        try:
            read = fastavro.schemaless_reader(buffer, plain_writer, plain_reader)
        except (SchemaResolutionError, TypeError, ValueError) as error:
            found.append(" ".join(str(error).split()))
            continue
        found += _differences(writer, reader, record, read)
    return [message for message, _ in itertools.groupby(sorted(found))]


def _other_meanings(writer: Schema, reader: Schema) -> list[str]:
    """Fields whose logical type changed: the bytes can be read, but say something else."""
    meant = {field["name"]: _meaning(field["type"]) for field in writer["fields"]}
    return [
        f"{field['name']} changed its logical type"
        for field in reader["fields"]
        if field["name"] in meant and meant[field["name"]] != _meaning(field["type"])
    ]


def _meaning(kind: Any) -> Any:
    return kind.get("logicalType") if isinstance(kind, dict) else None


def _without_meanings(node: Any) -> Any:
    """The schema as values are stored: fastavro turns only some integers into times."""
    if isinstance(node, dict):
        return {key: _without_meanings(value) for key, value in node.items() if key != "logicalType"}
    return [_without_meanings(part) for part in node] if isinstance(node, list) else node


def _differences(writer: Schema, reader: Schema, record: dict[str, Any], read: Any) -> list[str]:
    written = {field["name"]: field for field in writer["fields"]}
    found = []
    for field in reader["fields"]:
        name = field["name"]
        origin = next((old for old in (name, *field.get("aliases", ())) if old in written), None)
        expected = field["default"] if origin is None else record[origin]
        if _comparable(read[name]) != _comparable(expected):
            found.append(f"{name} is read as {read[name]!r}, not {expected!r}")
    return found


def _comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
