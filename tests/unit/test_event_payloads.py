"""Every change has a schema, and the service writes exactly what its schema says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.kafka_cog.avro_schemas import load_schemas
from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import oak_limits, open_consolidator, open_worlds
from somabrain.memory_client import NewMemory, forget, remember
from somabrain.oak.changes import Change
from somabrain.oak.documents import option_document
from somabrain.oak.model import Ending, Episode, Step, Vector
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.outcomes import Outcome
from somabrain.oak.transfer import export_model, import_model, parse_model
from somabrain.outbox.reading import COMMON_FIELDS
from somabrain.outbox.records import record_of
from somabrain.ports import JournalEntry
from somabrain.store import SqlStore
from somabrain.tenancy import Namespace
from tests.conftest import plain_settings
from tests.factories import ALICE, HOME, at, run, spec, stamp

SCHEMAS = load_schemas()
COPY = Namespace("copy")


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[JournalEntry]]:
    """The journal of a tenant that did everything that can be done."""
    settings = plain_settings(tmp_path_factory.mktemp("journal"))
    limits = oak_limits(settings)
    manager = OptionManager(limits=limits, worlds=open_worlds(settings))
    with open_database(settings) as database:
        store = SqlStore(database)
        with store.write(ALICE) as tx:
            manager.create(tx, HOME, "go", spec(name="gehe \U0001f600", policy={"by": ["foot", None, 2.5]}), stamp())
            manager.replace(tx, HOME, "go", spec(metadata={"k": "v"}), stamp())
            manager.record(tx, HOME, "go", run(at("home"), at("goal")), stamp())
            manager.record(tx, HOME, "go", run(at("home"), at("goal"), ending=Ending.FAILURE), stamp())
            manager.record(tx, HOME, "go", run(at("goal"), at("home"), (-1.0, 5e8), Ending.TIMEOUT), stamp())
            manager.record(tx, HOME, "go", run(at("home"), at("moon"), ending=Ending.CENSORED), stamp())
            manager.record(tx, HOME, "go", run(at("moon"), at("sun"), ending=Ending.CENSORED), stamp())
            manager.record_batch(
                tx, HOME, [("go", run(at("home"), at("goal"), rewards=(), reward=-3.5, duration=10**6))], stamp()
            )
            unit = Vector(data=b"\x00\x00\x80\x3f" + bytes(4 * (settings.memory_dim - 1)))
            manager.create(tx, HOME, "turn", spec(unit), stamp())
            manager.record(tx, HOME, "turn", run(unit, unit), stamp())
            manager.retire(tx, HOME, "turn", stamp())
            for name, success in (("told", True), ("waiting", None)):
                first = Step(state=at("home"), action="walk", reward=-1.0)
                second = Step(state=at("goal"), action={"a": 1}, reward=2.0)
                walked = Episode(
                    steps=(first, second), final=at("sun"), terminated=False, success=success, agent="an agent"
                )
                manager.record_episode(tx, HOME, name, walked, stamp())
            told = Outcome(episode_id="waiting", success=False, reward=-0.5, model_version=0)
            manager.tell_outcome(tx, HOME, told, stamp())
        assert open_consolidator(settings, store, open_worlds(settings)).run(ALICE, HOME) is not None
        with store.write(ALICE) as tx:
            model = parse_model(json.loads(export_model(tx, HOME, settings.memory_dim)), settings.memory_dim)
            import_model(tx, COPY, model, stamp(), manager=manager, limits=limits, replacing=False)
            manager.delete_namespace(tx, COPY, stamp())
            remember(tx, HOME, [memory("m", ttl_s=None), memory("n", ttl_s=60)], stamp())
            forget(tx, HOME, "m", stamp())
        with store.read(ALICE) as tx:
            entries = tx.journal()
            documents = {"go": option_document(*_with_retention(manager, tx.option(HOME, "go")))}
        assert documents["go"]["executions"] == 4
        yield entries


def memory(memory_id: str, ttl_s: int | None) -> NewMemory:
    vector = Vector(data=b"\x00\x00\x80\x3f" + bytes(4 * 255))
    content = "secret \u0000 ü"
    return NewMemory(
        memory_id=memory_id, content=content, vector=vector, metadata={"k": [1]}, importance=1.0, ttl_s=ttl_s
    )


def _with_retention(manager: OptionManager, option: Any) -> tuple[Any, float]:
    return option, manager.tau_s(option)


def test_changes_and_schemas_are_the_same_names() -> None:
    assert set(SCHEMAS.names) == {change.value for change in Change}


def test_every_change_was_journalled(journal: list[JournalEntry]) -> None:
    assert {entry.event.type for entry in journal} == {change.value for change in Change}


def test_what_is_written_is_what_the_schema_says(journal: list[JournalEntry]) -> None:
    for entry in journal:
        name, record = SCHEMAS.decode(SCHEMAS.encode(entry.event.type, record_of(entry)))
        own = {field: value for field, value in record.items() if field not in COMMON_FIELDS}
        assert name == entry.event.type
        assert set(own) == set(entry.event.payload)
        assert {key: value for key, value in own.items() if key != "payload"} == {
            key: value for key, value in entry.event.payload.items() if key != "payload"
        }
        assert {key: record[key] for key in COMMON_FIELDS} == {
            "sequence": entry.sequence,
            "event_id": entry.event.event_id,
            "tenant_id": "alice",
            "namespace": entry.event.namespace.value,
            "timestamp": entry.event.timestamp_ms,
            "schema_version": 1,
        }


def test_the_payload_of_an_option_is_its_document(journal: list[JournalEntry]) -> None:
    created = next(entry for entry in journal if entry.event.type == Change.OPTION_CREATED)
    _, record = SCHEMAS.decode(SCHEMAS.encode(created.event.type, record_of(created)))
    document = json.loads(record["payload"].decode("utf-8"))
    assert (document["option_id"], document["name"], document["version"]) == ("go", "gehe \U0001f600", 1)
    assert document["policy"] == {"by": ["foot", None, 2.5]}
    assert document["target"] == {"features": {"at": "goal"}}


def test_an_event_holds_no_facts_and_no_caller(journal: list[JournalEntry]) -> None:
    for entry in journal:
        if entry.event.type == Change.EXECUTION_RECORDED:
            data = SCHEMAS.encode(entry.event.type, record_of(entry))
            assert not any(word in data for word in (b"home", b"moon", b"tester"))


def test_an_event_holds_no_content(journal: list[JournalEntry]) -> None:
    stored = [entry.event for entry in journal if entry.event.type == Change.MEMORY_STORED]
    assert [event.payload["content_bytes"] for event in stored] == [len("secret \u0000 ü".encode())] * 2
    assert not any(
        b"secret" in SCHEMAS.encode(event.type, record_of(entry))
        for entry, event in zip(
            [entry for entry in journal if entry.event.type == Change.MEMORY_STORED], stored, strict=True
        )
    )


def test_a_failed_and_a_censored_run_say_so(journal: list[JournalEntry]) -> None:
    runs = [entry.event.payload for entry in journal if entry.event.type == Change.EXECUTION_RECORDED]
    assert [run["failed"] for run in runs] == [False, True, False, False, False, False, False]
    assert [
        (run["start_prototype"] is None, run["final_prototype"] is None)
        for run in runs
        if run["terminated_by"] == "censored"
    ] == [
        (False, True),
        (True, True),
    ]


def test_a_number_that_is_not_finite_never_reaches_the_journal(tmp_path: Path) -> None:
    with open_database(plain_settings(tmp_path)) as database:
        store = SqlStore(database)
        event = stamp().event(
            Change.OPTION_RETIRED, HOME, {"option_id": "o", "version": 1, "utility": float("nan")}, None
        )
        with pytest.raises(ValueError, match="JSON"), store.write(ALICE) as tx:
            tx.append(event)
        with store.read(ALICE) as tx:
            assert tx.journal() == []
