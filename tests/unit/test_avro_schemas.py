"""Encoding by name: what goes in comes out, what does not fit is refused, and bytes that are no event are named so."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.kafka_cog.avro_schemas import (
    FINGERPRINT_BYTES,
    MARKER,
    AvroSchemas,
    EncodingInvalidError,
    FingerprintUnknownError,
    RecordInvalidError,
    SchemaInvalidError,
    SchemaMissingError,
    fingerprint,
    load_schemas,
    schema_folder,
)
from tests.reference.avro import values

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = load_schemas()
EXAMPLE: dict[str, Any] = {
    "event_id": "0190b0a4-0000-7000-8000-000000000000",
    "tenant_id": "acme",
    "namespace": "default",
    "sequence": 1,
    "timestamp": 1_700_000_000_123,
    "prototypes": 3,
    "options": 2,
}
THING = {"type": "record", "name": "Thing", "namespace": "n", "fields": [{"name": "id", "type": "string"}]}


@st.composite
def events(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A name and a record of it."""
    name = draw(st.sampled_from(SCHEMAS.names))
    return name, draw(values(next(schema for schema in SCHEMAS.union if schema["name"] == SCHEMAS.qualified(name))))


@settings(deadline=None, max_examples=400)
@given(event=events())
def test_what_is_encoded_is_decoded(event: tuple[str, dict[str, Any]]) -> None:
    name, record = event
    data = SCHEMAS.encode(name, record)
    assert data[: len(MARKER)] == b"\xc3\x01"
    assert data[len(MARKER) : len(MARKER) + FINGERPRINT_BYTES] == SCHEMAS.fingerprint(name)
    assert SCHEMAS.decode(data) == (name, record)


@settings(deadline=None, max_examples=200)
@given(event=events(), data=st.data())
def test_damaged_data_are_named_so_or_are_another_record(
    event: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    encoded = SCHEMAS.encode(*event)
    header = len(MARKER) + FINGERPRINT_BYTES
    with pytest.raises(EncodingInvalidError):
        SCHEMAS.decode(encoded + b"\x00")
    with pytest.raises(EncodingInvalidError):
        SCHEMAS.decode(encoded[: data.draw(st.integers(header, len(encoded) - 1))])
    garbage = encoded[:header] + data.draw(st.binary(max_size=60))
    try:
        name, record = SCHEMAS.decode(garbage)
    except EncodingInvalidError:
        return
    assert name == event[0]
    assert set(record) == set(SCHEMAS.fields(name))


def test_fingerprints_stand_in_the_header_as_the_specification_says() -> None:
    assert fingerprint("int").hex() == "8f5c393f1ad57572"
    assert len({SCHEMAS.fingerprint(name) for name in SCHEMAS.names}) == len(SCHEMAS.names)


def crc_64_avro(data: bytes) -> bytes:
    """The algorithm of the Avro specification, "Schema Fingerprints"."""
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in data:
        remainder = (value ^ byte) & 0xFF
        for _ in range(8):
            remainder = (remainder >> 1) ^ (empty if remainder & 1 else 0)
        value = (value >> 8) ^ remainder
    return value.to_bytes(FINGERPRINT_BYTES, "little")


def test_a_fingerprint_is_the_crc_of_the_canonical_form() -> None:
    assert crc_64_avro(b'"int"') == fingerprint("int")
    canonical = '{"name":"n.Thing","type":"record","fields":[{"name":"id","type":"string"}]}'
    noisy = {**THING, "doc": "words", "fields": [{"name": "id", "type": {"type": "string"}, "default": "", "doc": "x"}]}
    assert fingerprint(THING) == fingerprint(noisy) == crc_64_avro(canonical.encode())


def test_what_a_record_leaves_out_takes_its_default() -> None:
    assert SCHEMAS.decode(SCHEMAS.encode("NamespaceDeleted", EXAMPLE)) == (
        "NamespaceDeleted",
        {**EXAMPLE, "schema_version": 1},
    )


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"sequence": None},
        {"sequence": "1"},
        {"sequence": 1.5},
        {"sequence": True},
        {"sequence": 2**63},
        {"prototypes": 2**31},
        {"tenant_id": 5},
        {"tenant_id": "\ud800"},
        {"timestamp": "2026-01-01"},
    ],
)
def test_a_record_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecordInvalidError, match=r"^NamespaceDeleted[^\n]+$"):
        SCHEMAS.encode("NamespaceDeleted", {**EXAMPLE, **change})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_carry_is_refused(number: float) -> None:
    record = {key: value for key, value in EXAMPLE.items() if key not in {"prototypes", "options"}}
    record |= {"option_id": "o", "version": 1, "utility": number}
    with pytest.raises(RecordInvalidError, match="not finite"):
        SCHEMAS.encode("OptionRetired", record)


@pytest.mark.parametrize("field", sorted(EXAMPLE))
def test_a_record_that_lacks_a_field_is_refused(field: str) -> None:
    with pytest.raises(RecordInvalidError, match=f"lacks {field}"):
        SCHEMAS.encode("NamespaceDeleted", {key: value for key, value in EXAMPLE.items() if key != field})


def test_unknown_names_and_fingerprints_are_named() -> None:
    with pytest.raises(SchemaMissingError, match="Nothing"):
        SCHEMAS.encode("Nothing", EXAMPLE)
    data = SCHEMAS.encode("NamespaceDeleted", EXAMPLE)
    with pytest.raises(FingerprintUnknownError, match="0001020304050607"):
        SCHEMAS.decode(MARKER + bytes(range(8)) + data[10:])
    with pytest.raises(SchemaMissingError, match="Gone"):
        AvroSchemas([THING], [{**THING, "name": "Gone"}]).decode(
            AvroSchemas([{**THING, "name": "Gone"}]).encode("Gone", {"id": "x"})
        )


@pytest.mark.parametrize(
    "data", [b"", b"\xc3", b"\xc3\x01", b"\xc3\x01\x00\x00\x00\x00\x00\x00\x00", b"\xc3\x02" + bytes(20)]
)
def test_what_has_no_header_is_no_single_object(data: bytes) -> None:
    with pytest.raises(EncodingInvalidError):
        SCHEMAS.decode(data)


def test_data_of_an_earlier_schema_are_read_as_the_current_one() -> None:
    later = copy.deepcopy(THING)
    later["fields"] = [*THING["fields"], {"name": "count", "type": "int", "default": 7}]
    data = AvroSchemas([THING]).encode("Thing", {"id": "x"})
    assert AvroSchemas([later], [THING]).decode(data) == ("Thing", {"id": "x", "count": 7})
    with pytest.raises(FingerprintUnknownError):
        AvroSchemas([later]).decode(data)


def test_the_union_reads_a_container_of_every_record() -> None:
    buffer = io.BytesIO()
    record = {**EXAMPLE, "schema_version": 1}
    fastavro.writer(buffer, SCHEMAS.union, [(SCHEMAS.qualified("NamespaceDeleted"), record)])
    buffer.seek(0)
    records: list[Any] = list(fastavro.reader(buffer, return_record_name=True))
    [(name, read)] = records
    assert (name, read["options"]) == ("somabrain.oak.NamespaceDeleted", 2)


@pytest.mark.parametrize(
    "schema",
    [
        "int",
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "record", "fields": []},
        {"type": "record", "name": "R"},
        {"type": "record", "name": "R", "fields": [{"name": "x"}]},
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": "whatever"}]},
        [],
    ],
)
def test_what_is_no_record_schema_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaInvalidError):
        AvroSchemas([schema])


def test_two_schemas_of_one_name_are_refused() -> None:
    with pytest.raises(SchemaInvalidError, match="Thing"):
        AvroSchemas([THING, {**THING, "namespace": "m"}])


def test_a_folder_that_holds_no_schemas_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaInvalidError, match=str(tmp_path)):
        load_schemas(tmp_path)
    (tmp_path / "broken.avsc").write_text("{")
    with pytest.raises(SchemaInvalidError, match=r"broken\.avsc"):
        load_schemas(tmp_path)


def test_an_installed_package_has_its_own_copy(tmp_path: Path) -> None:
    assert schema_folder() == ROOT / "proto" / "cog"
    shutil.copytree(ROOT / "libs", tmp_path / "libs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "libs/kafka_cog/schemas").mkdir()
    (tmp_path / "libs/kafka_cog/schemas/thing.avsc").write_text(json.dumps(THING))
    program = "from libs.kafka_cog.avro_schemas import load_schemas; print(load_schemas().names)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "('Thing',)\n"
