"""Files of traces: what is in them comes out with its line, and what is broken does not hide the rest."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

import pytest

from benchmarks.hostile_traces import counted, lines, spoilt, steps
from somabrain.commands import trace_files
from somabrain.commands.trace_files import pieces, split
from somabrain.traces import converted

HOSTILE = 4000


def read(path: Path) -> list[tuple[int, int | None, object]]:
    return [
        (piece.line, piece.item, piece.document if piece.refusal is None else piece.refusal.code)
        for piece in pieces(path)
    ]


def test_lines_have_their_numbers_and_a_bad_one_is_passed_by(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": \n[1, 2]\r\n"\xff"\nNaN\n{"a": 2}'
    for name, written in (("x.jsonl", content), ("X.NDJSON.GZ", gzip.compress(content))):
        (tmp_path / name).write_bytes(written)
        assert read(tmp_path / name) == [
            (1, None, {"a": 1}),
            (4, None, "trace_not_json"),
            (5, None, [1, 2]),
            (6, None, "trace_not_json"),
            (7, None, "trace_not_json"),
            (8, None, {"a": 2}),
        ]


def test_a_line_that_is_too_long_is_refused_and_read_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_files, "LINE_BYTES_MAX", 100)
    monkeypatch.setattr(trace_files, "FILE_BYTES_MAX", 1000)
    (tmp_path / "x.jsonl").write_text(f'"{"x" * 97}"\n"{"x" * 99}"\n7\n{"y" * 10**7}')
    assert read(tmp_path / "x.jsonl") == [
        (1, None, "x" * 97),
        (2, None, "trace_too_large"),
        (3, None, 7),
        (4, None, "trace_too_large"),
    ]
    (tmp_path / "x.json").write_text(f'[1,\n"{"x" * 99}",\n2]')
    assert read(tmp_path / "x.json") == [(1, 0, 1), (2, 1, "trace_too_large"), (3, 2, 2)]
    (tmp_path / "y.json").write_text(f"[{'1,' * 1000}1]")
    assert read(tmp_path / "y.json") == [(0, None, "trace_too_large")]


def test_a_list_is_its_items_and_a_list_of_messages_is_one_trace(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"a": "],\\"[{"},\n {"a": [1, {"b": 2}]},\n\n {"a": nonsense}, {"c": 3}]')
    assert read(tmp_path / "x.json") == [
        (1, 0, {"a": '],"[{'}),
        (2, 1, {"a": [1, {"b": 2}]}),
        (4, 2, "trace_not_json"),
        (4, 3, {"c": 3}),
    ]
    talk = [{"role": "user"}, {"role": "assistant"}]
    (tmp_path / "x.json").write_text(json.dumps(talk))
    assert read(tmp_path / "x.json") == [(1, None, talk)]
    for text, expected in (("[]", []), ('{"a": [1, 2]}', {"a": [1, 2]}), ("7", 7), (" [ ] ", [])):
        (tmp_path / "x.json").write_text(text)
        assert read(tmp_path / "x.json") == [(1, None, expected)]
    for text in ("", "[1", '[1, "a', "[1]]", "[1,]", '{"a": 1'):
        (tmp_path / "x.json").write_text(text)
        assert read(tmp_path / "x.json")[-1][2] == "trace_not_json", text


def test_an_unfinished_text_takes_no_time() -> None:
    assert len(list(split(b"[1," + b'"\\"' * 10**6))) == 2


def test_what_can_not_be_read_is_told_after_what_can(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 100_000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    found = read(tmp_path / "cut.jsonl.gz")
    assert found[0] == (1, None, {"a": 1})
    assert found[-1][2] == "trace_not_json"
    (tmp_path / "none.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("none.jsonl.gz", "missing.jsonl"):
        assert read(tmp_path / name) == [(0, None, "trace_not_json")]
    assert read(tmp_path / "folder.jsonl") == [(0, None, "trace_format_unknown")]
    assert read(tmp_path / "x.csv") == [(0, None, "trace_format_unknown")]


def test_hostile_lines_are_converted_or_refused_and_whole_ones_learned(tmp_path: Path) -> None:
    given = list(lines(HOSTILE, seed=1))
    found = counted(given, tmp_path)
    assert (found.nothing, found.lost) == ([], [])
    assert set(found.refused) >= {
        "trace_format_unknown",
        "trace_invalid",
        "trace_not_json",
        "trace_order",
        "trace_without_steps",
    }
    assert found.converted >= sum(line.whole is not None for line in given)


def test_no_document_of_python_values_makes_a_converter_raise() -> None:
    random = Random(2)
    for number in range(HOSTILE):
        document = steps(random, number)
        for _ in range(3):
            document = spoilt(document, random)
        for one in converted(document):
            assert (one.body is None) != (one.refusal is None)
            assert one.refusal is None or one.refusal.detail
