"""What is true of every sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.kafka_cog.avro_schemas import load_schemas
from somabrain.outbox.file import AvroFileSink
from somabrain.ports import EventSink, SinkUnavailableError
from tests.events import entries, entry, ids
from tests.factories import ALICE, BOB
from tests.reference.sink import MemorySink


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A sink, the event ids that it holds, and how its outside is broken and mended."""

    sink: EventSink
    ids: Callable[[], list[str]]
    breaks: Callable[[], object]
    mends: Callable[[], object]


def memory_case() -> Case:
    sink = MemorySink()

    def set_down(*, down: bool) -> None:
        sink.down = down

    return Case(
        sink=sink,
        ids=lambda: [taken.event.event_id for taken in sink.taken],
        breaks=lambda: set_down(down=True),
        mends=lambda: set_down(down=False),
    )


def file_case(folder: Path) -> Case:
    home, away = folder / "home", folder / "away"
    home.mkdir()
    path = home / "events.avro"

    return Case(
        sink=AvroFileSink(path, load_schemas()),
        ids=lambda: ids(path),
        breaks=lambda: home.rename(away),
        mends=lambda: away.rename(home),
    )


@pytest.fixture(params=["memory", "file"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made = memory_case() if request.param == "memory" else file_case(tmp_path)
    yield made
    made.sink.close()


def test_it_has_a_name_that_fits_its_column(case: Case) -> None:
    assert 1 <= len(case.sink.name) <= 64


def test_what_was_published_is_there_in_order(case: Case) -> None:
    case.sink.publish(entries(1, 3))
    case.sink.publish(entries(1, 2, BOB))
    assert case.ids() == ["alice-1", "alice-2", "alice-3", "bob-1", "bob-2"]
    case.sink.publish(entries(4, 4))
    assert case.ids()[-1] == "alice-4"


def test_it_works_again_after_it_was_closed(case: Case) -> None:
    case.sink.close()
    case.sink.publish(entries(1, 1))
    case.sink.close()
    case.sink.close()
    case.sink.publish(entries(2, 2))
    assert case.ids() == ["alice-1", "alice-2"]


def test_no_entries_are_nothing(case: Case) -> None:
    case.sink.publish([entry(1, ALICE)])
    case.sink.publish([])
    assert case.ids() == ["alice-1"]


def test_it_says_that_it_is_unavailable_and_then_takes_what_it_is_given_again(case: Case) -> None:
    case.sink.publish(entries(1, 2))
    case.breaks()
    for _ in range(2):
        with pytest.raises(SinkUnavailableError):
            case.sink.publish(entries(3, 4))
    case.mends()
    case.sink.publish(entries(3, 4))
    assert list(dict.fromkeys(case.ids())) == ["alice-1", "alice-2", "alice-3", "alice-4"]
