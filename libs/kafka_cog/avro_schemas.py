"""The Avro schemas of the events: loaded, parsed, told apart by fingerprint, and encoded and decoded by name.

The Avro specification, version 1.12.0, is the source: "Single-object encoding", "Parsing Canonical Form for Schemas",
"Schema Fingerprints" and "Schema Resolution".
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType
from fastavro.validation import ValidationError, validate

MARKER = b"\xc3\x01"
"""First two bytes of a single object, version 1."""

FINGERPRINT_BYTES = 8
"""Length of a CRC-64-AVRO fingerprint, which follows the marker in little-endian order."""

SUFFIX = ".avsc"

Schema = dict[str, Any]
"""A record schema: the JSON object of one .avsc file."""

Record = dict[str, Any]
"""An event: field names and values, times in milliseconds since the epoch."""

T = TypeVar("T")

_MALFORMED = (
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    SchemaResolutionError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
)
"""What fastavro raises on bytes that are no record of the schema."""


class AvroError(Exception):
    """The data or schemas can't be used. The base of what this module raises."""

    def __init__(self, detail: str | None = None) -> None:
        """`detail` replaces the class's own message, the first line of its docstring."""
        super().__init__(detail or (type(self).__doc__ or "").strip().split("\n", 1)[0])


class SchemaInvalidError(AvroError):
    """The text is not the Avro schema of a record."""


class SchemaMissingError(AvroError):
    """There is no schema of this name."""


class RecordInvalidError(AvroError):
    """The record does not fit its schema."""


class EncodingInvalidError(AvroError):
    """The bytes are not one record in single-object encoding."""


class FingerprintUnknownError(AvroError):
    """No known schema has this fingerprint."""


def schema_folder() -> Path:
    """Where the .avsc files are: beside this module in an installed wheel, in `proto/cog` in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "schemas"
    return installed if installed.is_dir() else here.parent.parent / "proto" / "cog"


def load_schemas(folder: Path | None = None) -> AvroSchemas:
    """The schemas of every .avsc file in `folder`, by default the ones shipped. Raises `SchemaInvalidError`."""
    folder = folder or schema_folder()
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        message = f"{folder}: no {SUFFIX} file there"
        raise SchemaInvalidError(message)
    documents = []
    for file in files:
        try:
            documents.append(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            message = f"{file}: {error}"
            raise SchemaInvalidError(message) from error
    return AvroSchemas(documents)


def fingerprint(schema: Any) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form, as it stands in a single object: 8 bytes, little endian.

    Schemas that differ in docs, defaults and logical types alone have the same.
    """
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


class AvroSchemas:
    """Record schemas by their unqualified names. Immutable; thread-safe."""

    def __init__(self, current: Iterable[Schema], earlier: Iterable[Schema] = ()) -> None:
        """`current` encode and are what decoding resolves to; data may also have been written with `earlier` ones.

        Raises `SchemaInvalidError`, also where two of `current` have one name.
        """
        self._documents: list[Schema] = []
        self._parsed: dict[str, Schema] = {}
        self._plain: dict[str, Schema] = {}
        self._headers: dict[str, bytes] = {}
        self._writers: dict[bytes, tuple[str, Schema]] = {}
        for document in earlier:
            self._add_writer(_parsed(document))
        for document in current:
            parsed = _parsed(document)
            name = _name(parsed)
            if name in self._parsed:
                message = f"two schemas are named {name}"
                raise SchemaInvalidError(message)
            self._documents.append(document)
            self._parsed[name] = parsed
            self._plain[name] = _without_logical_types(parsed)
            self._headers[name] = MARKER + self._add_writer(parsed)

    def _add_writer(self, parsed: Schema) -> bytes:
        mark = fingerprint(parsed)
        self._writers[mark] = (_name(parsed), _without_logical_types(parsed))
        return mark

    @property
    def names(self) -> tuple[str, ...]:
        """Unqualified names, in the order given."""
        return tuple(self._parsed)

    @property
    def union(self) -> list[Schema]:
        """The parsed schemas as one union, for a file that holds records of all of them."""
        return list(self._parsed.values())

    @property
    def documents(self) -> list[Schema]:
        """The schemas as they were given. Unlike the parsed ones they are the same text in every process."""
        return list(self._documents)

    def qualified(self, name: str) -> str:
        """The record's full name, its namespace included. Raises `SchemaMissingError`."""
        return str(_of(self._parsed, name)["name"])

    def fields(self, name: str) -> tuple[str, ...]:
        """The record's field names, in order. Raises `SchemaMissingError`."""
        return tuple(field["name"] for field in _of(self._parsed, name)["fields"])

    def fingerprint(self, name: str) -> bytes:
        """As the function of this name. Raises `SchemaMissingError`."""
        return _of(self._headers, name)[len(MARKER) :]

    def check(self, name: str, record: Mapping[str, Any]) -> None:
        """Holds a record to its schema: no other fields, none missing that has no default, types and ranges.

        Numbers must be finite and texts must be encodable in UTF-8.
        Raises `SchemaMissingError`, `RecordInvalidError`.
        """
        unknown = sorted(set(record) - set(self.fields(name)))
        if unknown:
            message = f"{name} has no field {', '.join(unknown)}"
            raise RecordInvalidError(message)
        missing = [
            field["name"]
            for field in self._parsed[name]["fields"]
            if field["name"] not in record and "default" not in field
        ]
        if missing:
            message = f"{name} lacks {', '.join(missing)}"
            raise RecordInvalidError(message)
        try:
            validate(dict(record), self._plain[name])
            for value in record.values():
                _check_value(value)
        except (ValidationError, ValueError) as error:
            message = f"{name}: {_one_line(error)}"
            raise RecordInvalidError(message) from error

    def encode(self, name: str, record: Mapping[str, Any]) -> bytes:
        """The record in single-object encoding; fields left out take their defaults. Raises as `check`."""
        self.check(name, record)
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._plain[name], dict(record), strict_allow_default=True)
        return self._headers[name] + body.getvalue()

    def decode(self, data: bytes) -> tuple[str, Record]:
        """Name and record of a single object, resolved from the schema that wrote it to the current one of its name.

        Raises `EncodingInvalidError`, `FingerprintUnknownError`, and `SchemaMissingError` where the writer's schema
        has no current successor.
        """
        start = len(MARKER) + FINGERPRINT_BYTES
        if len(data) < start or not data.startswith(MARKER):
            raise EncodingInvalidError
        known = self._writers.get(data[len(MARKER) : start])
        if known is None:
            message = f"no known schema has the fingerprint {data[len(MARKER) : start].hex()}"
            raise FingerprintUnknownError(message)
        name, writer = known
        body = io.BytesIO(data[start:])
        try:
            record = fastavro.schemaless_reader(body, writer, _of(self._plain, name))
        except _MALFORMED as error:
            raise EncodingInvalidError from error
        if body.read(1) or not isinstance(record, dict):
            raise EncodingInvalidError
        return name, record


def _parsed(document: Any) -> Schema:
    if not (
        isinstance(document, dict) and document.get("type") == "record" and isinstance(document.get("fields"), list)
    ):
        raise SchemaInvalidError
    try:
        parsed = fastavro.parse_schema(document)
    except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError) as error:
        message = f"{document.get('name')}: {_one_line(error)}"
        raise SchemaInvalidError(message) from error
    assert isinstance(parsed, dict)
    return parsed


def _without_logical_types(parsed: Schema) -> Schema:
    """The schema with which values are read and written as they are, times as integers."""
    plain = fastavro.parse_schema(_stripped(parsed))
    assert isinstance(plain, dict)
    return plain


def _stripped(node: Any) -> Any:
    if isinstance(node, list):
        return [_stripped(part) for part in node]
    if not isinstance(node, dict):
        return node
    dropped = {"logicalType", "__fastavro_parsed", "__named_schemas"}
    return {key: value if key == "default" else _stripped(value) for key, value in node.items() if key not in dropped}


def _check_value(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        message = f"{value} is not finite"
        raise ValueError(message)
    if isinstance(value, str):
        value.encode()


def _name(parsed: Schema) -> str:
    return str(parsed["name"]).rpartition(".")[2]


def _of(known: Mapping[str, T], name: str) -> T:
    if name not in known:
        message = f"there is no schema of the name {name}"
        raise SchemaMissingError(message)
    return known[name]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
