"""`somabrain mcp` as MCP clients start it: over stdio with the service in process, over HTTP for one elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from typer.testing import CliRunner

from somabrain.cli import app
from tests.servers import free_port, somabrain

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "somabrain.cli", "mcp"]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MILVUS_URI": "off", "EMBEDDER": "hashed"}
KEY = "a key of the clients of this server"
HALL, KITCHEN = {"at": "hall"}, {"at": "kitchen"}
RUN = {"steps": [{"state": HALL, "action": "walk"}], "final": KITCHEN, "success": True}


async def answer(client: Client, name: str, **given: Any) -> dict[str, Any]:
    found = await client.call_tool(name, given)
    assert not found.is_error, found.content
    assert found.structured_content is not None
    return found.structured_content


async def refusal(client: Client, name: str, **given: Any) -> str:
    found = await client.call_tool(name, given)
    assert found.is_error, found.structured_content
    return str(found.content[0].text)  # type: ignore[union-attr]


async def whole_loop(client: Client) -> None:
    for _ in range(3):
        await answer(client, "report_episode", **RUN)
    assert (await answer(client, "predict", state=HALL))["episodes"] == 3
    assert (await answer(client, "plan", start_state=HALL, target_feature=KITCHEN))["advice"] == "follow"
    assert (await answer(client, "act", state=HALL, target_feature=KITCHEN))["action"] == "walk"
    stored = await answer(client, "remember", content="the key is under the mat")
    assert (await answer(client, "recall", query="where is the key"))["hits"][0]["memory_id"] == stored["memory_id"]


PAGE = ROOT / "docs" / "user-manual" / "mcp.md"


def pages_servers() -> list[dict[str, Any]]:
    """The entries that the manual's page has for the files of clients."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [json.loads(block)["mcpServers"]["somabrain"] for block in blocks]


def test_stdio_with_the_service_in_process_as_the_page_has_it(tmp_path: Path) -> None:
    alone, elsewhere = pages_servers()
    assert alone["command"].endswith("/bin/somabrain")
    assert elsewhere["env"].keys() == {"SOMABRAIN_URL", "SOMABRAIN_KEY"}
    arguments = [part.replace("/path/to/somabrain-data", str(tmp_path / "data")) for part in alone["args"]]
    assert arguments[0] == "mcp"

    async def work() -> None:
        started = StdioServerParameters(
            command=COMMAND[0], args=[*COMMAND[1:-1], *arguments], env=ENVIRONMENT, cwd=tmp_path
        )
        async with Client(started) as client:
            assert len((await client.list_tools()).tools) == 6
            await whole_loop(client)

    asyncio.run(work())
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def line(number: int, method: str, params: Mapping[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def call(number: int, name: str, arguments: str) -> str:
    return line(number, "tools/call", {"name": name, "arguments": "?"}).replace('"?"', arguments)


HELLO = line(
    0,
    "initialize",
    {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}},
)
RAW = {
    1: call(1, "recall", '{"query": "x", "min_score": NaN}'),
    2: call(2, "remember", '{"content": "x", "metadata": {"a": Infinity}}'),
    3: call(3, "remember", '{"content": "x", "metadata": ' + '{"a":' * 150 + "1" + "}" * 151),
    4: call(4, "predict", '{"state": {"at": 1' + "0" * 400 + "}}"),
    5: call(5, "recall", "[]"),
    6: call(6, "recall", '"x"'),
    7: line(7, "tools/call", {}),
    8: line(8, "no/such/method", {}),
}


def test_standard_output_is_the_protocol_whatever_comes_in(tmp_path: Path) -> None:
    command = [*COMMAND, "--data", str(tmp_path / "data"), "--namespace", "raw"]
    with subprocess.Popen(
        command,
        env={**ENVIRONMENT, "SOMABRAIN_LOG_LEVEL": "debug"},
        cwd=tmp_path,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said: dict[int | None, dict[str, Any]] = {}
        notified = '{"jsonrpc": "2.0", "method": "notifications/initialized"}'
        garbage = ["no JSON", "[]", '{"jsonrpc": "1.0"}', "\ufffd", ""]
        process.stdin.write("\n".join([HELLO, notified, *garbage, *RAW.values(), call(9, "recall", '{"query": "x"}')]))
        process.stdin.write("\n")
        process.stdin.flush()
        while 9 not in said or not RAW.keys() <= said.keys():
            message = json.loads(process.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            said[message.get("id")] = message
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(20.0) == 0
    for number in RAW:
        refused = said[number].get("error") or said[number]["result"]["isError"]
        assert refused, said[number]
    assert said[9]["result"]["structuredContent"]["hits"] == []


def test_a_signal_ends_it_while_it_waits(tmp_path: Path) -> None:
    command = [*COMMAND, "--url", f"http://127.0.0.1:{free_port()}"]
    with subprocess.Popen(
        command,
        env={**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)},
        cwd=tmp_path,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(HELLO + "\n")
        process.stdin.flush()
        assert "serverInfo" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10.0) == 128 + signal.SIGINT
        assert process.stderr.read() == ""


@contextmanager
def listening(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """The address that a server over HTTP says it has, and its process."""
    with (
        (folder / "mcp.log").open("wb") as log,
        subprocess.Popen(
            [*COMMAND, "--http", "--port", "0", *arguments], env={**ENVIRONMENT, **environment}, cwd=folder, stderr=log
        ) as process,
    ):
        try:
            until, found = time.monotonic() + 60.0, None
            while found is None:
                assert process.poll() is None, (folder / "mcp.log").read_text()
                assert time.monotonic() < until, "it does not say where it listens"
                time.sleep(0.02)
                found = re.search(r"MCP at (\S+/mcp)\.", (folder / "mcp.log").read_text())
            yield found[1], process
        finally:
            process.terminate()


def knocked(url: str, **headers: str | bytes) -> int:
    """The status of a first message with these headers."""
    kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    for _ in range(100):  # it says where before it answers
        try:
            return httpx.post(url, content=HELLO, headers=httpx.Headers({**kinds, **headers})).status_code
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_http_for_a_service_that_wants_a_key(tmp_path: Path) -> None:
    keys = {"AUTH_MODE": "keys", "SOMABRAIN_KEYS_FILE": str(tmp_path / "keys.json")}
    create = [sys.executable, "-m", "somabrain.cli", "keys", "create", "--tenant", "acme", "--subject", "mcp"]
    environment = {**ENVIRONMENT, **keys}
    made = subprocess.run(
        [*create, "--role", "brain_writer"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    token = re.search(r"sb_\S+", made.stdout)
    assert token is not None

    async def work(url: str) -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            await whole_loop(client)
            found = await asyncio.gather(*(answer(client, "recall", query="key") for _ in range(10)))
            assert {len(one["hits"]) for one in found} == {1}
            service.kill()
            assert (await refusal(client, "recall", query="x")).startswith("unavailable: ")
            assert "run-4" in await refusal(client, "report_episode", **RUN, episode_id="run-4")
            await asyncio.to_thread(service.start)
            for _ in range(2):
                await answer(client, "report_episode", **RUN, episode_id="run-4")
            assert (await answer(client, "predict", state=HALL))["episodes"] == 4

    async def denied(url: str) -> None:
        async with Client(url) as client:
            assert (await refusal(client, "recall", query="x")).startswith("unauthenticated: ")

    with somabrain({**keys, "MILVUS_URI": "off"}, tmp_path) as service:
        asked = {"SOMABRAIN_URL": service.url, "XDG_STATE_HOME": str(tmp_path)}
        with listening([], tmp_path, asked) as (url, _):
            assert knocked(url) == 200
            asyncio.run(denied(url))
            assert knocked(url, Host="evil.example") == 421
            assert knocked(url, Host=f"127.0.0.1.evil.example:{url.split(':')[2]}") == 421
            assert knocked(url, Origin="http://evil.example") == 403
            assert knocked(url, Origin="null") == 403
            assert knocked(url, Origin="http://localhost:3000") == 200
        guarded = {**asked, "SOMABRAIN_KEY": token[0], "SOMABRAIN_MCP_KEY": KEY}
        with listening(["--host", "127.0.0.1"], tmp_path, guarded) as (url, process):
            assert knocked(url) == 401
            assert knocked(url, Authorization=f"Bearer {KEY}x") == 401
            assert knocked(url, Authorization=b"Bearer \xfc") == 401
            assert knocked(url, Authorization=f"Bearer {KEY}", Host="evil.example") == 421
            asyncio.run(work(url))
            process.send_signal(signal.SIGTERM)
            assert process.wait(20.0) in {0, -signal.SIGTERM}
    assert "Traceback" not in (tmp_path / "mcp.log").read_text()


def test_what_it_refuses_to_start_with(tmp_path: Path) -> None:
    away = ["--url", f"http://127.0.0.1:{free_port()}"]
    for arguments, name in (
        (["--namespace", "a b"], "--namespace"),
        (["--url", "localhost:9696"], "address"),
        ([*away, "--http", "--port", "0", "--host", "0.0.0.0"], "SOMABRAIN_MCP_KEY"),
        ([*away, "--http", "--port", "0", "--host", "0.0.0.0", "--http-key", KEY], "--allow-host"),
        ([*away, "--http", "--host", "192.0.2.1"], "--host"),
    ):
        done = CliRunner().invoke(app, ["mcp", *arguments], env={**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)})
        assert (done.exit_code, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith("somabrain: "), done.stderr
        assert name in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_folder_that_is_none_is_told_in_a_line(tmp_path: Path) -> None:
    """In a program of its own: the service in process sets up logging for all of it."""
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "somabrain.cli", "mcp", "--data", str(tmp_path / "file")],
        env={**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("somabrain: "), done.stderr
    assert "file" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['mcp'] = None; sys.argv = ['somabrain', 'mcp']; import somabrain.cli as c; c.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'somabrain[mcp]'" in done.stderr
    assert done.stderr.count("\n") == 1
