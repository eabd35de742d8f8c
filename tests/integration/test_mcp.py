"""The tools with the SDK's own client, on a real service: the whole loop, hostile arguments, a service that is away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client, MCPError

from somabrain.client import AsyncBrain
from somabrain.mcp.server import make_server
from tests.misbehaving import answers, misbehaving, sleeps
from tests.servers import RunningServer, free_port

T = TypeVar("T")
HALL, KITCHEN = {"at": "hall"}, {"at": "kitchen"}
WALK = {"name": "walk", "arguments": {"to": "kitchen"}}
RUN = {"steps": [{"state": HALL, "action": WALK, "ok": True}], "final": KITCHEN, "success": True}


def served(
    url: str, queue: Path, work: Callable[[Client], Awaitable[T]], namespace: str = "default", timeout_s: float = 10.0
) -> T:
    """What `work` comes to with a client of a server whose tools ask `url`."""

    async def run() -> T:
        async with (
            AsyncBrain(url, namespace=namespace, queue=queue, timeout_s=timeout_s) as brain,
            Client(make_server(brain)) as client,
        ):
            return await work(client)

    return asyncio.run(run())


async def answer(client: Client, name: str, **given: Any) -> dict[str, Any]:
    """The structured answer, which is also the text, and which the client holds to the tool's output schema."""
    found = await client.call_tool(name, given)
    assert not found.is_error, found.content
    assert found.structured_content is not None
    assert json.loads(found.content[0].text) == found.structured_content  # type: ignore[union-attr]
    return found.structured_content


async def refusal(client: Client, name: str, **given: Any) -> str:
    found = await client.call_tool(name, given)
    assert found.is_error, found.structured_content
    text: str = found.content[0].text  # type: ignore[union-attr]
    assert "Traceback" not in text
    return text


def test_what_is_listed(shared_server: RunningServer, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["remember", "recall", "predict", "plan", "act", "report_episode"]
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert [name for name, hint in hints.items() if hint and hint.read_only_hint] == [
            "recall",
            "predict",
            "plan",
            "act",
        ]
        assert [name for name, hint in hints.items() if hint and hint.destructive_hint] == ["remember"]
        assert "report_episode" in (client.instructions or "")

    served(shared_server.url, tmp_path, work)


def test_the_whole_loop(shared_server: RunningServer, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        nothing = await answer(client, "act", state=HALL, target_feature=KITCHEN)
        assert (nothing["action"], nothing["reason"]) == (None, "unknown_start")
        for number in range(3):
            assert (await answer(client, "report_episode", **RUN))["prototypes_created"] == (0 if number else 2)
        odds = await answer(client, "predict", state=HALL, target_feature=KITCHEN, steps_taken=0)
        assert (odds["episodes"], odds["candidates"][0]["action"]) == (3, WALK)
        plan = await answer(client, "plan", start_state=HALL, target_feature=KITCHEN, alternatives=1)
        assert (plan["reached"], plan["steps"][0]["from"]["facts"]) == (True, HALL)
        act = await answer(client, "act", state=HALL, target_feature=KITCHEN, top_k=2)
        assert (act["action"], act["executions"]) == (WALK, 3)
        arrived = await answer(client, "act", state=KITCHEN, target_feature=KITCHEN, option_id=act["option_id"])
        assert (arrived["done"], arrived["reason"]) == (True, "already_at_target")

        stored = await answer(client, "remember", content="the key is under the mat", metadata={"room": "hall"})
        corrected = {"content": "the key is in the drawer", "memory_id": stored["memory_id"]}
        assert (await answer(client, "remember", **corrected, metadata={"room": "hall"}))["content"] == corrected[
            "content"
        ]
        await answer(client, "remember", content="the cat is called Tom")
        hits = (await answer(client, "recall", query="where is the key", filter={"room": "hall"}))["hits"]
        assert [hit["content"] for hit in hits] == [corrected["content"]]

    served(shared_server.url, tmp_path, work, namespace="mcp.loop")


def test_an_episode_of_one_id_is_counted_once(shared_server: RunningServer, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        first = await answer(client, "report_episode", **RUN, episode_id="run-1")
        again = await answer(client, "report_episode", **RUN, episode_id="run-1")
        assert again["model_version"] == first["model_version"]
        assert (await answer(client, "predict", state=HALL))["episodes"] == 1
        text = await refusal(client, "report_episode", **{**RUN, "success": False}, episode_id="run-1")
        assert text.startswith("episode_conflict: ")

    served(shared_server.url, tmp_path, work, namespace="mcp.once")


def test_namespaces_are_apart(shared_server: RunningServer, tmp_path: Path) -> None:
    async def learn(client: Client) -> None:
        await answer(client, "report_episode", **RUN)
        await answer(client, "remember", content="a secret")

    async def ask(client: Client) -> None:
        assert (await answer(client, "predict", state=HALL))["episodes"] == 0
        assert (await answer(client, "recall", query="a secret"))["hits"] == []
        assert (await refusal(client, "recall", query="a secret", namespace="mcp.one")).startswith("invalid_request: ")

    served(shared_server.url, tmp_path, learn, namespace="mcp.one")
    served(shared_server.url, tmp_path, ask, namespace="mcp.other")


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("recall", {}, "invalid_request"),
    ("recall", {"query": "x" * 70_000}, "invalid_request"),
    ("recall", {"query": "x", "top_k": 10**30}, "invalid_request"),
    ("recall", {"query": "x", "min_score": 1e300}, "invalid_request"),
    ("recall", {"query": {f"f{number}": number for number in range(65)}}, "invalid_request"),
    ("remember", {"content": ""}, "invalid_request"),
    ("remember", {"content": "x" * 2_000_000}, "invalid_request"),
    ("remember", {"content": "x", "metadata": {"a": "x" * 9000}}, "invalid_request"),
    ("remember", {"content": "x", "memory_id": "../../x"}, "invalid_request"),
    ("remember", {"content": ["x"]}, "invalid_request"),
    ("predict", {"state": {"at": 10**400}}, "invalid_json"),
    ("predict", {"state": {"at": 1e300}}, "number_out_of_range"),
    ("predict", {"state": {"x" * 300: 1}}, "invalid_request"),
    ("predict", {"state": HALL, "roles": {"a": "same", "b": "same"}}, "invalid_request"),
    ("predict", {"state": HALL, "roles": {"no name": 1}}, "invalid_request"),
    ("plan", {"start_state": HALL, "target_feature": KITCHEN, "mode": "reckless"}, "invalid_request"),
    ("act", {"state": HALL, "target_feature": KITCHEN, "option_id": "x y"}, "invalid_request"),
    ("report_episode", {**RUN, "steps": []}, "invalid_request"),
    ("report_episode", {**RUN, "steps": [{"state": HALL, "action": WALK, "reward": 1e300}]}, "invalid_request"),
    ("report_episode", {**RUN, "steps": [{"state": HALL, "action": {"a": "x" * 9000}}]}, "invalid_request"),
    (
        "report_episode",
        {**RUN, "steps": [{"state": HALL, "action": "a", "turn": n} for n in (1, 0)]},
        "invalid_request",
    ),
    ("report_episode", {**RUN, "success": "yes"}, "invalid_request"),
    ("report_episode", {**RUN, "tenant": "acme"}, "invalid_request"),
]


def test_hostile_arguments(shared_server: RunningServer, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        for name, given, code in HOSTILE:
            text = await refusal(client, name, **given)
            assert text.startswith(f"{code}: "), (name, text)
            assert len(text) < 2000, text
        with pytest.raises(MCPError, match="there is no tool"):
            await client.call_tool("forget_everything", {})
        assert (await answer(client, "recall", query="x"))["hits"] == []

    served(shared_server.url, tmp_path, work, namespace="mcp.hostile")


def test_calls_at_the_same_time(shared_server: RunningServer, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        await asyncio.gather(*(answer(client, "remember", content=f"number {n}") for n in range(40)))
        found = await asyncio.gather(*(answer(client, "recall", query="number", top_k=100) for _ in range(10)))
        assert {len(one["hits"]) for one in found} == {40}

    served(shared_server.url, tmp_path, work, namespace="mcp.many")


def test_a_service_that_is_away_or_is_none(tmp_path: Path) -> None:
    async def gone(client: Client) -> None:
        assert (await refusal(client, "recall", query="x")).startswith("unavailable: ")
        text = await refusal(client, "report_episode", **RUN)
        assert "may have been stored" in text
        assert "episode_id " in text

    async def garbled(client: Client) -> None:
        assert (await refusal(client, "recall", query="x")).startswith("garbled: ")

    served(f"http://127.0.0.1:{free_port()}", tmp_path, gone)
    with misbehaving(answers(b"<html>hello</html>")) as url:
        served(url, tmp_path, garbled)


def test_a_call_can_be_cancelled_while_others_go_on(tmp_path: Path) -> None:
    async def work(client: Client) -> float:
        hanging = asyncio.create_task(client.call_tool("recall", {"query": "x"}))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        assert len((await client.list_tools()).tools) == 6
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        took_s = time.monotonic() - begun
        assert (await refusal(client, "recall", query="x")).startswith("unavailable: ")
        return took_s

    with misbehaving(sleeps) as url:
        assert served(url, tmp_path, work, timeout_s=1.0) < 0.7
