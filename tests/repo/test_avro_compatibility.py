"""Every change of a schema in `proto/cog` keeps what was written before readable (DESIGN §9).

`avro/released.jsonl` holds every schema that ever left the house, one a line, oldest first. A changed schema gets a new
default of its `schema_version`, and a new line; a line is never changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libs.kafka_cog.avro_schemas import SUFFIX, schema_folder
from tests.reference.avro import incompatibilities

RELEASED = Path(__file__).parent / "avro" / "released.jsonl"
COMMON = {
    "event_id": "string",
    "tenant_id": "string",
    "namespace": "string",
    "sequence": "long",
    "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
    "schema_version": "int",
}

Schema = dict[str, Any]


def released() -> list[tuple[str, int, Schema]]:
    lines = [json.loads(line) for line in RELEASED.read_text(encoding="utf-8").splitlines()]
    return [(line["name"], line["version"], line["schema"]) for line in lines]


def today() -> dict[str, Schema]:
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(schema_folder().glob(f"*{SUFFIX}"))]
    return {schema["name"]: schema for schema in schemas}


def version_of(schema: Schema) -> Any:
    return next(field["default"] for field in schema["fields"] if field["name"] == "schema_version")


def without_docs(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: without_docs(value) for key, value in node.items() if key != "doc"}
    return [without_docs(part) for part in node] if isinstance(node, list) else node


def faults(history: list[tuple[str, int, Schema]], current: dict[str, Schema]) -> list[str]:
    """What is wrong with the current schemas, given those released."""
    found = []
    latest: dict[str, tuple[int, Schema]] = {}
    for name, version, schema in history:
        if name not in current:
            found.append(f"{name} is gone")
            continue
        found += [f"{name} {version}: {why}" for why in incompatibilities(schema, current[name])]
        if name in latest and version != latest[name][0] + 1:
            found.append(f"{name}: version {version} does not follow {latest[name][0]}")
        latest[name] = (version, schema)
    for name, schema in current.items():
        if name not in latest:
            found.append(f"{name} is not recorded as released")
        elif (version_of(schema), without_docs(schema)) != (latest[name][0], without_docs(latest[name][1])):
            found.append(f"{name} was changed and not recorded as a new version")
    return found


def test_todays_schemas_read_all_that_was_ever_written() -> None:
    assert faults(released(), today()) == []


@pytest.mark.parametrize("name", sorted(today()))
def test_a_schema_has_the_common_fields_and_says_what_each_one_is(name: str) -> None:
    schema = today()[name]
    assert schema["namespace"] == "somabrain.oak"
    assert schema["doc"]
    assert {field["name"]: field["type"] for field in schema["fields"][: len(COMMON)]} == COMMON
    assert all(field["doc"] for field in schema["fields"])


BASE: Schema = {
    "type": "record",
    "name": "Thing",
    "namespace": "n",
    "fields": [
        {"name": "schema_version", "type": "int", "default": 1},
        {"name": "id", "type": "string"},
        {"name": "count", "type": "long"},
        {"name": "small", "type": "int"},
        {"name": "share", "type": "double"},
        {"name": "maybe", "type": ["null", "int"], "default": None},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "data", "type": "bytes"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> Schema:
    """The base with its fields, by name, changed: those that the change leaves, in its order."""
    schema = copy.deepcopy(BASE)
    fields = {field["name"]: field for field in schema["fields"]}
    change(fields)
    schema["fields"] = list(fields.values())
    return schema


def set_type(name: str, new: Any) -> Change:
    def change(fields: dict[str, Any]) -> None:
        fields[name] = {"name": name, "type": new}

    return change


def added(**field: Any) -> Change:
    return lambda fields: fields.update(new={"name": "new", **field})


HARMLESS: dict[str, Change] = {
    "a field with a default is added": added(type="string", default=""),
    "a nullable field is added": added(type=["null", "string"], default=None),
    "a field is removed": lambda fields: fields.pop("count"),
    "fields change places": lambda fields: fields.update(id=fields.pop("id")),
    "int becomes long": set_type("small", "long"),
    "int becomes double": set_type("small", "double"),
    "a field becomes nullable": set_type("count", ["null", "long"]),
    "a string becomes bytes": set_type("id", "bytes"),
    "an enumeration gains a symbol": set_type("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}),
    "a field is renamed and keeps its old name as alias": lambda fields: fields["id"].update(
        name="key", aliases=["id"]
    ),
    "a doc is changed": lambda fields: fields["id"].update(doc="new words"),
}

HARMFUL: dict[str, Change] = {
    "a field without a default is added": added(type="string"),
    "a nullable field without a default is added": added(type=["null", "string"]),
    "a field is renamed": lambda fields: fields["id"].update(name="key"),
    "long becomes int": set_type("count", "int"),
    "double becomes long": set_type("share", "long"),
    "double becomes float": set_type("share", "float"),
    "a string becomes a number": set_type("id", "long"),
    "bytes become a string": set_type("data", "string"),
    "bytes become a number": set_type("data", "long"),
    "a nullable field no longer is": set_type("maybe", "int"),
    "a nullable field is null alone": set_type("maybe", "null"),
    "an enumeration loses a symbol": set_type("kind", {"type": "enum", "name": "Kind", "symbols": ["A"]}),
    "milliseconds become microseconds": set_type("at", {"type": "long", "logicalType": "timestamp-micros"}),
    "a time becomes a number": set_type("at", "long"),
    "an enumeration becomes a number": set_type("kind", "int"),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_a_harmless_change_passes(what: str) -> None:
    assert incompatibilities(BASE, changed(HARMLESS[what])) == []


@pytest.mark.parametrize("what", HARMFUL)
def test_a_harmful_change_fails(what: str) -> None:
    assert incompatibilities(BASE, changed(HARMFUL[what])) != []


def test_a_renamed_record_fails() -> None:
    assert incompatibilities(BASE, {**BASE, "name": "Other"}) != []
    assert incompatibilities(BASE, {**BASE, "namespace": "other"}) != []


def second_version() -> Schema:
    def change(fields: dict[str, Any]) -> None:
        fields["schema_version"]["default"] = 2
        fields["new"] = {"name": "new", "type": "string", "default": ""}

    return changed(change)


def test_a_change_is_recorded_as_a_version_of_its_own() -> None:
    first, second = ("Thing", 1, BASE), ("Thing", 2, second_version())
    assert faults([first], {"Thing": BASE}) == []
    assert faults([first, second], {"Thing": second_version()}) == []
    assert faults([first], {"Thing": second_version()}) == ["Thing was changed and not recorded as a new version"]
    assert faults([first], {"Thing": changed(added(type="string", default=""))}) != []
    assert faults([first, ("Thing", 3, second_version())], {"Thing": second_version()}) != []


def test_a_schema_neither_disappears_nor_appears_unrecorded() -> None:
    assert faults([("Thing", 1, BASE)], {}) == ["Thing is gone"]
    assert faults([], {"Thing": BASE}) == ["Thing is not recorded as released"]
