"""The command line as its users meet it: real processes, real messages, exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.servers import RunningServer, free_port, somabrain

COMMAND = Path(sys.executable).parent / "somabrain"
GOAL = {"features": {"at": "goal"}}


def command(
    *arguments: str, folder: Path, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env={**kept, "COLUMNS": "200", **(settings or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    with somabrain({}, folder) as running, httpx.Client(base_url=running.url) as client:
        client.post("/oak/option/create", json={"option_id": "go", "name": "walk home", "target": GOAL})
        run = {"start": {"features": {"at": "road", "lit": True}}, "final": GOAL, "rewards": [-1, -1]}
        client.post("/oak/option/go/execution", json=run)
        yield running


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"OAK_ALPHA": "7"}, ["OAK_ALPHA"]),
        ({"OAK_ALPHA": "x"}, ["OAK_ALPHA"]),
        ({"OAK_ALPHA": "nan"}, ["OAK_ALPHA"]),
        ({"MEMORY_DIM": "1"}, ["MEMORY_DIM"]),
        ({"SOMABRAIN_PORT": "70000"}, ["SOMABRAIN_PORT"]),
        ({"OAK_TAU_MIN": "10", "OAK_TAU_MAX": "5"}, ["OAK_TAU_MAX", "OAK_TAU_MIN"]),
        ({"AUTH_MODE": "magic"}, ["AUTH_MODE"]),
        ({"SOMABRAIN_HOST": "0.0.0.0"}, ["AUTH_MODE", "SOMABRAIN_HOST"]),
        ({"SOMABRAIN_HOST": "::"}, ["AUTH_MODE", "SOMABRAIN_HOST"]),
        ({"AUTH_MODE": "keys"}, ["SOMABRAIN_KEYS_FILE"]),
        ({"AUTH_MODE": "keys", "SOMABRAIN_KEYS_FILE": "none.json"}, ["SOMABRAIN_KEYS_FILE"]),
        ({"AUTH_MODE": "oidc"}, ["OIDC_ISSUER"]),
        ({"DATABASE_URL": "mysql://x/y"}, ["DATABASE_URL"]),
        ({"POLICY_PATH": "none.rego"}, ["POLICY_PATH"]),
        ({"EVENTS_FILE": "none/events.avro"}, ["EVENTS_FILE"]),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_status_2(
    tmp_path: Path, settings: dict[str, str], named: list[str]
) -> None:
    done = command("serve", folder=tmp_path, settings={"SOMABRAIN_PORT": str(free_port()), **settings})
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("somabrain: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert all(name in lines[0] for name in named)


def test_a_port_that_is_taken_is_one_line(server: RunningServer, tmp_path: Path) -> None:
    done = command("serve", folder=tmp_path, settings={"SOMABRAIN_PORT": str(server.port)})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(server.port) in done.stderr
    assert not (tmp_path / "somabrain-data").exists()


def test_settings_say_value_source_and_range(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OAK_GAMMA=0.5\n")
    done = command(
        "settings",
        "--json",
        folder=tmp_path,
        settings={"OAK_ALPHA": "0.1", "DATABASE_URL": "postgresql://u:secret@h/d"},
    )
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert next(iter(rows)) == "ENABLE_OAK"
    alpha = rows["OAK_ALPHA"]
    assert (alpha["value"], alpha["source"], alpha["range"]) == ("0.1", "environment", "0 < x ≤ 1")
    assert (rows["OAK_GAMMA"]["value"], rows["OAK_GAMMA"]["source"]) == ("0.5", ".env")
    assert rows["MEMORY_DIM"]["source"] == "default"
    assert "secret" not in done.stdout
    assert "OAK_ALPHA" in command("settings", folder=tmp_path).stdout


def test_plan_options_and_events(server: RunningServer, tmp_path: Path) -> None:
    url = {"SOMABRAIN_URL": server.url}
    found = command("plan", "at=road,lit=true", "at=goal", folder=tmp_path, settings=url)
    assert found.returncode == 0, found.stderr
    assert "walk home" in found.stdout
    assert "Advice: follow" in found.stdout
    as_json = command("plan", '{"at": "road", "lit": true}', "at=goal", "--json", folder=tmp_path, settings=url)
    assert json.loads(as_json.stdout)["options"] == ["go"]
    none = command("plan", "at=road", "at=goal", folder=tmp_path, settings=url)
    assert (none.returncode, "unknown_start" in none.stdout, "differs in lit" in none.stdout) == (1, True, True)
    listed = json.loads(command("option", "list", "--json", folder=tmp_path, settings=url).stdout)
    assert [option["option_id"] for option in listed] == ["go"]
    assert "walk home" in command("option", "show", "go", folder=tmp_path, settings=url).stdout
    missing = command("option", "show", "none", folder=tmp_path, settings=url)
    assert (missing.returncode, "option_not_found" in missing.stderr) == (1, True)
    lines = command("events", "--json", folder=tmp_path, settings=url).stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines][:2] == ["OptionCreated", "ExecutionRecorded"]
    assert len(command("events", "--limit", "1", folder=tmp_path, settings=url).stdout.splitlines()) == 1
    wrong = command("plan", "nonsense", "at=goal", folder=tmp_path, settings=url)
    assert (wrong.returncode, "name=value" in wrong.stderr) == (2, True)


def test_export_import_and_replay(server: RunningServer, tmp_path: Path) -> None:
    url = {"SOMABRAIN_URL": server.url}
    file = tmp_path / "model.json"
    assert command("export", str(file), folder=tmp_path, settings=url).returncode == 0
    assert command("import", str(file), "-n", "copy", folder=tmp_path, settings=url).returncode == 0
    again = command("import", str(file), "-n", "copy", folder=tmp_path, settings=url)
    assert (again.returncode, "namespace_not_empty" in again.stderr) == (1, True)
    assert command("import", str(file), "-n", "copy", "--replace", folder=tmp_path, settings=url).returncode == 0
    second = tmp_path / "second.json"
    command("export", str(second), "-n", "copy", folder=tmp_path, settings=url)
    assert second.read_bytes() == file.read_bytes()
    data = {"SOMABRAIN_DATA_DIR": str(server.folder / "data")}
    for namespace in ("default", "copy"):
        output = tmp_path / "replayed.json"
        done = command("replay", "-n", namespace, "--output", str(output), "--json", folder=tmp_path, settings=data)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["identical"] is True
        assert output.read_bytes() == file.read_bytes()
    unknown = command("replay", "-n", "none", folder=tmp_path, settings=data)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)


def test_memories_from_the_command_line(server: RunningServer, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return command(*arguments, "--namespace", "cli", folder=tmp_path, settings={"SOMABRAIN_URL": server.url})

    given = ["--metadata", '{"n": 1, "deep": {"a": [1]}}', "--importance", "1", "--ttl", "3600", "--id", "mine"]
    stored = json.loads(run("remember", "a red kettle", *given, "--json").stdout)
    assert (stored["memory_id"], stored["metadata"], stored["importance"]) == ("mine", {"n": 1, "deep": {"a": [1]}}, 1)
    assert stored["expires_at"] > stored["created_at"]
    found = json.loads(run("recall", "kettle", "--where", "n=1", "--min-score", "0.2", "--json").stdout)
    assert [hit["memory_id"] for hit in found["hits"]] == ["mine"]
    assert json.loads(run("recall", "kettle", "--where", "n=2", "--json").stdout)["hits"] == []
    assert "a red kettle" in run("recall", "kettle").stdout
    assert run("forget", "mine").returncode == 0
    again = run("forget", "mine")
    assert (again.returncode, again.stdout) == (1, "")
    assert "memory_not_found" in again.stderr


def test_an_import_stores_each_line_once_and_a_bad_line_stores_nothing(server: RunningServer, tmp_path: Path) -> None:
    def run(name: str) -> subprocess.CompletedProcess[str]:
        arguments = ["import-memories", name, "--namespace", "lines"]
        return command(*arguments, folder=tmp_path, settings={"SOMABRAIN_URL": server.url})

    def count() -> int:
        found = httpx.post(
            f"{server.url}/memory/recall", json={"query": {"text": "x"}, "namespace": "lines", "top_k": 100}
        )
        return len(found.json()["hits"])

    lines = [json.dumps({"content": f"line {number}", "metadata": {"n": number}}) for number in range(40)]
    for bad, said in (("{", "not JSON"), ("[]", "want an object"), ('{"text": "x"}', "want an object")):
        (tmp_path / "bad.jsonl").write_text("\n".join([*lines, bad]))
        done = run("bad.jsonl")
        assert (done.returncode, count()) == (2, 0), done.stderr
        assert "bad.jsonl:41" in done.stderr
        assert said in done.stderr
    (tmp_path / "refused.jsonl").write_text("\n".join([*lines, '{"content": "x", "importance": 2}']))
    done = run("refused.jsonl")
    assert (done.returncode, count()) == (1, 0)
    assert "memories.40.importance" in done.stderr
    (tmp_path / "good.jsonl").write_text("\n\n".join(lines) + "\n")
    for _ in range(2):
        assert run("good.jsonl").returncode == 0
        assert count() == 40
    assert run("missing.jsonl").returncode == 2


def test_no_server_is_one_line(tmp_path: Path) -> None:
    done = command("option", "list", "--url", f"http://127.0.0.1:{free_port()}", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "somabrain serve" in done.stderr


def test_a_key_opens_the_server_it_was_made_for(tmp_path: Path) -> None:
    settings = {"AUTH_MODE": "keys", "SOMABRAIN_KEYS_FILE": str(tmp_path / "keys.json")}
    made = command(
        "keys",
        "create",
        "--tenant",
        "acme",
        "--subject",
        "me",
        "--role",
        "brain_reader",
        folder=tmp_path,
        settings=settings,
    )
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key not in (tmp_path / "keys.json").read_text()
    with somabrain(settings, tmp_path) as server:
        url = {"SOMABRAIN_URL": server.url}
        denied = command("option", "list", folder=tmp_path, settings=url)
        assert (denied.returncode, "401 unauthenticated" in denied.stderr) == (1, True)
        assert command("option", "list", folder=tmp_path, settings={**url, "SOMABRAIN_KEY": key}).returncode == 0
        forbidden = command("events", folder=tmp_path, settings={**url, "SOMABRAIN_KEY": key})
        assert (forbidden.returncode, "403 forbidden" in forbidden.stderr) == (1, True)


def test_off_loopback_metrics_have_a_port_of_their_own(tmp_path: Path) -> None:
    made = command(
        "keys", "create", "--tenant", "t", "--subject", "s", "--role", "brain_admin", folder=tmp_path,
        settings={"SOMABRAIN_KEYS_FILE": "keys.json"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    port = free_port()
    settings = {
        "AUTH_MODE": "keys", "SOMABRAIN_KEYS_FILE": "keys.json", "SOMABRAIN_HOST": "0.0.0.0", "METRICS_PORT": str(port)
    }  # fmt: skip
    with somabrain(settings, tmp_path) as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 404
        assert "http_request_duration_seconds" in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_a_worker_serves_no_requests(tmp_path: Path) -> None:
    with somabrain({"SOMABRAIN_ROLE": "worker"}, tmp_path) as server:
        assert httpx.get(f"{server.url}/oak/options").status_code == 404
        assert httpx.get(f"{server.url}/readyz").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    with somabrain({}, tmp_path) as server:
        assert server.process is not None
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log


def test_help_is_for_newcomers(tmp_path: Path) -> None:
    text = command("--help", folder=tmp_path).stdout
    for name in ("serve", "demo", "option", "plan", "export", "import", "replay", "events", "keys", "settings"):
        assert name in text
        assert command(name, "--help", folder=tmp_path).returncode == 0
