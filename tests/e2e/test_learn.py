"""`somabrain learn` against a real server: what is bad is told with its place, and nothing is counted twice."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import RunningServer, free_port, somabrain

COMMAND = Path(sys.executable).parent / "somabrain"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with somabrain({"MILVUS_URI": "off", "OAK_MAX_ACTIONS": "20"}, tmp_path_factory.mktemp("server")) as running:
        yield running


def learn(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [COMMAND, "learn", *arguments],
        cwd=folder,
        env={**kept, "COLUMNS": "200", "SOMABRAIN_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def counts(done: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    found = json.loads(done.stdout)
    return found["learned"], found["known"], found["refused"]


def talk(number: int, tool: str = "look") -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": tool, "arguments": f'{{"n": {number}}}'}}
    answer = {"role": "tool", "tool_call_id": "1", "content": "fine"}
    return {"messages": [{"role": "assistant", "tool_calls": [call]}, answer], "success": number % 2 == 0}


def runs(server: RunningServer, namespace: str, tool: str = "look") -> int:
    listed = httpx.get(f"{server.url}/oak/options", params={"namespace": namespace}).json()["options"]
    return next((int(one["executions"]) for one in listed if one["name"] == tool), 0)


def test_files_of_every_kind_are_learned_once_and_bad_traces_told(server: RunningServer, tmp_path: Path) -> None:
    many = [json.dumps(talk(number)) for number in range(250)]
    many[7], many[99] = '{"messages": ', json.dumps({"messages": [{"role": "wizard"}]})
    (tmp_path / "many.jsonl").write_text("\n".join(many))
    bad = {"steps": [{"state": {"features": {}}, "action": "go"}], "final": {"features": {"a": 1}}}
    (tmp_path / "list.json.gz").write_bytes(gzip.compress(json.dumps([talk(1000), bad, talk(1001)]).encode()))
    (tmp_path / "table.csv").write_text("a,b")
    files = ["many.jsonl", "list.json.gz", "table.csv", "missing.jsonl"]
    done = learn(server.url, tmp_path, *files, "-n", "kinds", "--json")
    assert (done.returncode, counts(done)) == (1, (250, 0, 5)), done.stderr
    for told in (
        "many.jsonl:8: trace_not_json: ",
        "many.jsonl:100: trace_invalid: messages.0.role: ",
        "list.json.gz:1[1]: invalid_request: steps.0.state.features: ",
        "table.csv: trace_format_unknown: ",
        "missing.jsonl: trace_not_json: ",
    ):
        assert told in done.stderr, (told, done.stderr)
    assert runs(server, "kinds") == 250
    again = learn(server.url, tmp_path, *files, "-n", "kinds", "--json")
    assert (again.returncode, counts(again)) == (1, (0, 250, 5))
    assert runs(server, "kinds") == 250
    clean = learn(server.url, tmp_path, "many.jsonl", "-n", "words")
    assert "248 episodes learned, 0 known already, 2 traces refused." in clean.stdout
    assert "learning" in clean.stderr


def test_two_processes_with_the_same_traces_twice_count_each_once(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(talk(number)) for number in range(300)))
    twice = ["x.jsonl", "x.jsonl", "-n", "twice", "--json"]
    with ThreadPoolExecutor() as threads:
        done = list(threads.map(lambda _: learn(server.url, tmp_path, *twice), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert all(learned + known == 600 for learned, known, _ in map(counts, done))
    assert runs(server, "twice") == 300


def test_a_trace_that_contradicts_one_before_it_is_told_and_the_others_are_learned(
    server: RunningServer, tmp_path: Path
) -> None:
    written = [{**talk(number), "id": f"run-{number}"} for number in range(120)]
    written[50] = {**talk(50), "id": "run-3"}
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, written)))
    done = learn(server.url, tmp_path, "x.jsonl", "-n", "conflict", "--json")
    assert (done.returncode, counts(done)) == (1, (119, 0, 1))
    assert "x.jsonl:51: episode_conflict: another episode was reported as 'run-3'" in done.stderr
    assert runs(server, "conflict") == 119


def test_a_namespace_that_is_full_takes_what_fits(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(talk(0, f"tool {number}")) for number in range(25)))
    done = learn(server.url, tmp_path, "x.jsonl", "-n", "full", "--json")
    assert (done.returncode, counts(done)) == (1, (20, 0, 5))
    assert "x.jsonl:21: action_limit: " in done.stderr


def test_spans_of_one_trace_in_two_lines_are_one_episode(server: RunningServer, tmp_path: Path) -> None:
    def line(number: int) -> str:
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}
        span = {
            "traceId": "abc",
            "spanId": str(number),
            "startTimeUnixNano": str(number),
            "endTimeUnixNano": str(number + 1),
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
        }
        return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})

    (tmp_path / "x.jsonl").write_text("\n".join([line(2), "{", line(1), '{"resourceSpans": [{"scopeSpans": 7}]}']))
    done = learn(server.url, tmp_path, "x.jsonl", "-n", "spans", "--json")
    assert (done.returncode, counts(done)) == (1, (1, 0, 2)), done.stderr
    assert "x.jsonl:2: trace_not_json: " in done.stderr
    assert "x.jsonl:4: trace_invalid: resourceSpans.0.scopeSpans: " in done.stderr
    assert runs(server, "spans") == 2


def test_arguments_and_a_named_format(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(talk(number)) for number in range(3)))
    done = learn(server.url, tmp_path, "x.jsonl", "-n", "arguments", "--arguments", "--format", "openai", "--json")
    assert (done.returncode, counts(done)) == (0, (3, 0, 0)), done.stderr
    assert runs(server, "arguments", '{"arguments":{"n":1},"tool":"look"}') == 1
    wrong = learn(server.url, tmp_path, "x.jsonl", "-n", "arguments", "--format", "otlp", "--json")
    assert (wrong.returncode, counts(wrong)) == (1, (0, 0, 3))
    assert learn(server.url, tmp_path, "x.jsonl", "--format", "xml").returncode == 2
    misnamed = learn(server.url, tmp_path, "x.jsonl", "-n", "no name")
    assert (misnamed.returncode, "0 episodes learned" in misnamed.stderr) == (2, True)
    assert "x.jsonl:" not in misnamed.stderr


def test_no_server_is_status_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(talk(0)))
    done = learn(f"http://127.0.0.1:{free_port()}", tmp_path, "x.jsonl")
    lines = [line for line in done.stderr.splitlines() if line.startswith("somabrain: ")]
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert "somabrain serve" in lines[0]


def test_what_is_too_large_for_a_request_is_sent_in_parts_or_refused(tmp_path: Path) -> None:
    def long(number: int, calls: int) -> str:
        return json.dumps([message for _ in range(calls) for message in talk(number)["messages"]])

    written = [long(number, 20) for number in range(9)]
    written[4] = long(4, 2000)
    (tmp_path / "x.jsonl").write_text("\n".join(written))
    with somabrain({"MILVUS_URI": "off", "BODY_BATCH_MAX_BYTES": "20000"}, tmp_path) as small:
        done = learn(small.url, tmp_path, "x.jsonl", "--json")
        assert (done.returncode, counts(done)) == (1, (8, 0, 1)), done.stderr
        assert "x.jsonl:5: body_too_large: " in done.stderr
        assert runs(small, "default") == 160


def test_without_a_server_the_data_are_the_settings_and_a_server_finds_them(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("\n".join(json.dumps(talk(number)) for number in range(20)), encoding="utf-8")
    nobody = f"http://127.0.0.1:{free_port()}"
    first = learn(nobody, tmp_path, "--local", "--json", "runs.jsonl")
    assert (first.returncode, counts(first)) == (0, (20, 0, 0)), first.stderr
    assert counts(learn(nobody, tmp_path, "--local", "--json", "runs.jsonl")) == (0, 20, 0)
    found = {"SOMABRAIN_DATA_DIR": str(tmp_path / "somabrain-data"), "EMBEDDER": "auto"}
    with somabrain(found, tmp_path) as server:
        assert runs(server, "default") == 20
