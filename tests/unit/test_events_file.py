"""The events file: whole blocks whatever happens to its tail, no repeats of the last batch, nobody's file destroyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.kafka_cog.avro_schemas import AvroSchemas, load_schemas
from somabrain.errors import ConfigurationError
from somabrain.outbox.container import SYNC_BYTES
from somabrain.outbox.errors import EventsFileError
from somabrain.outbox.file import AvroFileSink
from somabrain.outbox.reading import read_events
from somabrain.ports import JournalEntry, SinkUnavailableError
from tests.events import block_ends, entries, entry, ids
from tests.factories import BOB

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = load_schemas()


def publish(path: Path, *batches: list[JournalEntry], schemas: AvroSchemas = SCHEMAS) -> None:
    """As one process that ends in good order."""
    sink = AvroFileSink(path, schemas)
    for batch in batches:
        sink.publish(batch)
    sink.close()


def header_bytes(path: Path) -> int:
    with path.open("rb") as stream:
        return next(iter(fastavro.block_reader(stream))).offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.avro"


def test_any_avro_tool_reads_what_was_published(path: Path) -> None:
    publish(path, entries(1, 3), entries(1, 2, BOB))
    publish(path, entries(4, 4))
    assert ids(path) == ["alice-1", "alice-2", "alice-3", "bob-1", "bob-2", "alice-4"]
    assert len(block_ends(path)) == 3
    with path.open("rb") as stream:
        reader = fastavro.reader(stream)
        record: Any = next(reader)
        assert reader.metadata["avro.codec"] == "deflate"
    assert json.loads(record["payload"]) == {"text": ""}
    assert record["timestamp"].isoformat() == "2023-11-14T22:13:20.124000+00:00"
    assert record["schema_version"] == 1


def test_events_are_read_back_as_the_api_answers_them(path: Path) -> None:
    publish(path, [entry(1, text="ü")])
    assert list(read_events(path)) == [
        {
            "sequence": 1,
            "event_id": "alice-1",
            "type": "OptionCreated",
            "tenant_id": "alice",
            "namespace": "default",
            "timestamp": "2023-11-14T22:13:20.124Z",
            "option_id": "o",
            "payload": {"option_id": "o", "version": 1, "utility": 0.5, "payload": '{"text": "\\u00fc"}'},
        }
    ]


def test_a_tail_torn_at_any_byte_is_cut_off(path: Path) -> None:
    publish(path, entries(1, 2), entries(3, 3))
    whole = path.read_bytes()
    last = block_ends(path)[-2]
    for length in range(last, len(whole)):
        path.write_bytes(whole[:length])
        assert [event["sequence"] for event in read_events(path)] == [1, 2]
        publish(path, entries(4, 4))
        assert ids(path) == ["alice-1", "alice-2", "alice-4"], length


def test_a_header_torn_at_any_byte_is_written_again(path: Path) -> None:
    publish(path, entries(1, 1))
    header = path.read_bytes()[: header_bytes(path)]
    for length in [*range(0, len(header), 97), *range(len(header) - SYNC_BYTES - 1, len(header) + 1)]:
        path.write_bytes(header[:length])
        assert list(read_events(path)) == []
        publish(path, entries(2, 2))
        assert ids(path) == ["alice-2"], length
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("garbage", [b"\x00", b"\x00" * 5000, os.urandom(100_000), b"\xff" * 40])
def test_what_follows_the_last_block_is_cut_off(path: Path, garbage: bytes) -> None:
    publish(path, entries(1, 2))
    with path.open("ab") as stream:
        stream.write(garbage)
    publish(path, entries(3, 3))
    assert ids(path) == ["alice-1", "alice-2", "alice-3"]


def test_a_large_torn_block_is_cut_off(path: Path) -> None:
    publish(path, entries(1, 1), [entry(2, text=os.urandom(200_000).hex())])
    os.truncate(path, path.stat().st_size - 1)
    publish(path, entries(3, 3))
    assert ids(path) == ["alice-1", "alice-3"]


def damage(path: Path, start: int, end: int) -> None:
    """Bytes that never reached the disk, though later ones did."""
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(bytes(end - start))


def test_a_last_block_whose_middle_was_lost_is_cut_off(path: Path) -> None:
    publish(path, entries(1, 2), [entry(3, text=os.urandom(500).hex())])
    first, second = block_ends(path)
    whole = path.read_bytes()
    most = (first, second - SYNC_BYTES)
    for start, end in [most, (first, first + 1), (first + 2, first + 3), (first + 9, second - 99)]:
        path.write_bytes(whole)
        damage(path, start, end)
        publish(path, entries(4, 4))
        assert ids(path) == ["alice-1", "alice-2", "alice-4"], (start - first, end - first)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_whatever_the_last_block_holds_the_others_stay(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.avro"
        publish(path, entries(1, 2), entries(3, 4))
        first, second = block_ends(path)
        damaged = bytearray(path.read_bytes())
        for place, value in data.draw(st.dictionaries(st.integers(first, second - 1), st.integers(0, 255))).items():
            damaged[place] = value
        path.write_bytes(damaged)
        publish(path, entries(5, 5))
        assert ids(path)[:2] == ["alice-1", "alice-2"]
        assert ids(path)[-1] == "alice-5"


def test_a_file_damaged_further_back_is_kept_aside(path: Path) -> None:
    publish(path, entries(1, 1), entries(2, 2), entries(3, 3))
    ends = block_ends(path)
    damage(path, ends[0], ends[1] - SYNC_BYTES)
    damage(path, ends[1], ends[2] - SYNC_BYTES)
    damaged = path.read_bytes()
    publish(path, entries(4, 4))
    assert ids(path) == ["alice-4"]
    assert path.with_name("events.avro.1").read_bytes() == damaged


def test_a_file_of_other_schemas_is_kept_aside(path: Path) -> None:
    older = AvroSchemas([schema for schema in SCHEMAS.union if "Option" in schema["name"]])
    publish(path, entries(1, 1), schemas=older)
    publish(path, entries(2, 2))
    publish(path, entries(3, 3), schemas=older)
    publish(path, entries(4, 4), schemas=older)
    assert ids(path.with_name("events.avro.1")) == ["alice-1"]
    assert ids(path.with_name("events.avro.2")) == ["alice-2"]
    assert ids(path) == ["alice-3", "alice-4"]


def test_every_process_goes_on_with_the_same_file(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.events import entries;"
        "from tests.unit.test_events_file import publish; publish(Path(sys.argv[1]), entries(*[int(sys.argv[2])] * 2))"
    )
    for number in (1, 2, 3):
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program, str(path), str(number)], check=True, env=environment)
    assert list(path.parent.iterdir()) == [path]
    assert ids(path) == ["alice-1", "alice-2", "alice-3"]


def test_a_batch_given_again_is_not_written_again(path: Path) -> None:
    sink = AvroFileSink(path, SCHEMAS)
    sink.publish(entries(1, 3))
    sink.publish(entries(1, 3))
    sink.close()
    sink.publish(entries(1, 3))
    sink.publish(entries(2, 5))
    sink.close()
    publish(path, entries(4, 6), [])
    assert ids(path) == [f"alice-{n}" for n in range(1, 7)]


def test_the_same_sequences_of_another_journal_are_new(path: Path) -> None:
    publish(path, entries(1, 2), [entry(1, event_id="other-1"), entry(2, event_id="other-2")])
    assert ids(path) == ["alice-1", "alice-2", "other-1", "other-2"]


def test_only_one_writes(path: Path) -> None:
    first, second = AvroFileSink(path, SCHEMAS), AvroFileSink(path, SCHEMAS)
    first.publish(entries(1, 1))
    with pytest.raises(SinkUnavailableError, match="another process"):
        second.publish(entries(2, 2))
    first.close()
    second.publish(entries(2, 2))
    second.close()
    assert ids(path) == ["alice-1", "alice-2"]


Meddling = Callable[[Path], object]


@pytest.mark.parametrize(
    ("meddle", "left"),
    [
        (lambda path: path.rename(path.with_name("away")), ["alice-2"]),
        (lambda path: path.unlink(), ["alice-2"]),
        (lambda path: path.write_bytes(b""), ["alice-2"]),
        (lambda path: os.truncate(path, path.stat().st_size - 3), ["alice-2"]),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), ["alice-1", "alice-2"]),
    ],
    ids=["moved", "deleted", "emptied", "shortened", "lengthened"],
)
def test_what_is_done_to_the_file_meanwhile_is_seen(path: Path, meddle: Meddling, left: list[str]) -> None:
    sink = AvroFileSink(path, SCHEMAS)
    sink.publish(entries(1, 1))
    meddle(path)
    sink.publish(entries(2, 2))
    sink.close()
    assert ids(path) == left


def test_a_folder_that_goes_makes_the_sink_unavailable_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = AvroFileSink(folder / "events.avro", SCHEMAS)
    sink.publish(entries(1, 1))
    folder.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(SinkUnavailableError, match="No such file"):
            sink.publish(entries(2, 2))
    (tmp_path / "away").rename(folder)
    sink.publish(entries(2, 2))
    sink.close()
    assert ids(folder / "events.avro") == ["alice-1", "alice-2"]


def test_an_event_that_fits_no_schema_is_held_back(path: Path) -> None:
    sink = AvroFileSink(path, SCHEMAS)
    with pytest.raises(SinkUnavailableError, match="NeverHeardOf"):
        sink.publish([entry(1), entry(2, type="NeverHeardOf")])
    with pytest.raises(SinkUnavailableError, match="no field"):
        sink.publish([entry(1), entry(2, type="NamespaceDeleted")])
    sink.publish([entry(1)])
    sink.close()
    assert ids(path) == ["alice-1"]


def test_a_place_that_cannot_be_an_events_file_stops_the_start(tmp_path: Path) -> None:
    foreign, pipe = tmp_path / "notes.txt", tmp_path / "pipe"
    foreign.write_text("not to be lost")
    os.mkfifo(pipe)
    for path in (tmp_path / "missing" / "events.avro", tmp_path, foreign, pipe):
        with pytest.raises(ConfigurationError, match=r"^EVENTS_FILE: [^\n]+$") as caught:
            AvroFileSink(path, SCHEMAS)
        assert str(path.parent) in str(caught.value)
    assert foreign.read_text() == "not to be lost"


def test_a_foreign_file_that_appears_later_is_left_alone(path: Path) -> None:
    sink = AvroFileSink(path, SCHEMAS)
    path.write_text("not to be lost")
    with pytest.raises(SinkUnavailableError, match="not an Avro"):
        sink.publish(entries(1, 1))
    assert path.read_text() == "not to be lost"


def test_opening_the_sink_touches_nothing(path: Path) -> None:
    publish(path, entries(1, 1))
    os.truncate(path, path.stat().st_size - 1)
    before = path.read_bytes()
    AvroFileSink(path, SCHEMAS).close()
    assert path.read_bytes() == before


def test_readers_see_whole_batches_while_it_grows(path: Path) -> None:
    publish(path, entries(1, 5))
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            read_so_far = [event["sequence"] for event in read_events(path)]
            assert read_so_far == list(range(1, len(read_so_far) + 1))
            seen.append(len(read_so_far))

    reader = threading.Thread(target=read)
    reader.start()
    for first in range(6, 206, 5):
        publish(path, entries(first, first + 4))
    done.set()
    reader.join()
    assert seen == sorted(seen)
    assert all(count % 5 == 0 for count in seen)
    assert len(ids(path)) == 205


def test_reading_names_the_place_of_damage(path: Path) -> None:
    publish(path, entries(1, 1), entries(2, 2), entries(3, 3))
    ends = block_ends(path)
    damage(path, ends[0], ends[1] - SYNC_BYTES)
    read = read_events(path)
    assert next(read)["sequence"] == 1
    with pytest.raises(EventsFileError, match=f"at byte {ends[0]}$"):
        next(read)


def test_reading_refuses_what_holds_no_events(tmp_path: Path) -> None:
    text, numbers, things = (tmp_path / name for name in ("text", "numbers", "things"))
    text.write_text("hello")
    thing = {"type": "record", "name": "Thing", "fields": [{"name": "id", "type": "string"}]}
    with numbers.open("wb") as stream:
        fastavro.writer(stream, {"type": "int"}, [1, 2])
    with things.open("wb") as stream:
        fastavro.writer(stream, [thing], [{"id": "x"}])
    for path in (text, numbers, things):
        with pytest.raises(EventsFileError, match=str(path)):
            list(read_events(path))
