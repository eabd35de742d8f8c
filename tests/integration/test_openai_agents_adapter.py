"""The tracing processor in the OpenAI Agents SDK, with scripted models, a real service and no network."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    MaxTurnsExceeded,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    Usage,
    function_tool,
    trace,
)
from agents.tracing import set_trace_provider
from agents.tracing.provider import DefaultTraceProvider
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from somabrain.adapters.openai_agents import SomabrainProcessor
from somabrain.client import Brain, EpisodeReported
from tests.servers import RunningServer, free_port


class Scripted(Model):
    """A model that answers from a list."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = list(answers)

    async def get_response(self, *_args: Any, **_kwargs: Any) -> ModelResponse:
        return ModelResponse(output=self.answers.pop(0), usage=Usage(), response_id=None)

    def stream_response(self, *_args: Any, **_kwargs: Any) -> AsyncIterator[Any]:
        raise AssertionError("nothing is streamed")


@function_tool
def search(city: str) -> str:
    """Finds a flight."""
    time.sleep(0.05)
    return f"a flight to {city}"


@function_tool
def book(city: str) -> str:
    """Books a flight."""
    return f"booked {city}"


@function_tool
def breaks(city: str) -> str:
    """Raises; the model is told."""
    raise LookupError(city)


@function_tool(failure_error_function=None)
def ends(city: str) -> str:
    """Raises, which ends the run."""
    raise LookupError(city)


def calls(*names: str) -> list[Any]:
    return [
        ResponseFunctionToolCall(
            arguments='{"city": "Rome"}', call_id=f"{name}-{time.monotonic_ns()}", name=name, type="function_call"
        )
        for name in names
    ]


def says(text: str) -> list[Any]:
    content = [ResponseOutputText(text=text, type="output_text", annotations=[])]
    return [ResponseOutputMessage(id="m", content=content, role="assistant", status="completed", type="message")]


def agent(*answers: list[Any], tools: tuple[Any, ...] = ()) -> Agent[None]:
    return Agent(name="booker", model=Scripted(*answers), tools=[search, book, breaks, ends, *tools])


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> DefaultTraceProvider:
    """Without the exporter that the SDK has by default: it sends traces to its maker."""
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "false")
    made = DefaultTraceProvider()
    made.set_disabled(disabled=False)
    set_trace_provider(made)
    return made


@pytest.fixture
def brain(own_brain: Brain, provider: DefaultTraceProvider) -> Iterator[Brain]:
    yield own_brain
    provider.set_processors([])


def run(made: Agent[None], trace_id: str, **given: Any) -> Any:
    config = RunConfig(trace_id=trace_id, workflow_name="booking", group_id="trips")
    return asyncio.run(Runner.run(made, "Book me a flight.", run_config=config, **given)).final_output


def reported(brain: Brain, episode_id: str) -> EpisodeReported:
    assert brain.flush()
    return brain.reported_episode(episode_id)


def steps(episode: EpisodeReported) -> list[tuple[Any, dict[str, Any], int, bool | None]]:
    return [(step.action, dict(step.state["features"]), step.turn, step.ok) for step in episode.steps]


SEARCHED = {"called.search": 1, "last": "search", "last_ok": "yes"}


def test_a_run_is_an_episode(brain: Brain, provider: DefaultTraceProvider) -> None:
    provider.register_processor(SomabrainProcessor(brain, agent="scripted"))
    made = agent(calls("search"), calls("search", "book"), calls("breaks"), says("done"))
    assert run(made, "trace_1") == "done"
    episode = reported(brain, "trace_1")
    booked = {"called.search": 2, "called.book": 1, "last": "book", "last_ok": "yes"}
    assert steps(episode) == [
        ("search", {"last": ""}, 0, True),
        ("search", SEARCHED, 1, True),
        ("book", SEARCHED, 1, True),
        ("breaks", booked, 2, False),
    ]
    assert episode.final == {"features": {**booked, "last": "breaks", "last_ok": "no"}}
    assert (episode.success, episode.agent, episode.group) == (None, "scripted", "trips")
    assert episode.metadata == {"workflow": "booking"}
    brain.outcome("trace_1", success=True)
    assert brain.flush()
    assert brain.predict({"last": ""}, steps_taken=0).episodes == 1


def test_what_a_run_is_about(brain: Brain, provider: DefaultTraceProvider) -> None:
    about = {"roles": {"city": "Rome"}, "goal": {"booked": True}}
    provider.register_processor(SomabrainProcessor(brain, about=lambda _: about, arguments=True))
    assert run(agent(calls("search"), says("done")), "trace_1") == "done"
    episode = reported(brain, "trace_1")
    assert episode.steps[0].action == {"name": "search", "arguments": {"city": "Rome"}}
    assert (episode.steps[0].state["features"], episode.roles) == (
        {"last": "", "goal.booked": True},
        {"city": "Rome"},
    )


def test_exceptions_end_a_run_as_they_do_without(brain: Brain, provider: DefaultTraceProvider) -> None:
    provider.register_processor(SomabrainProcessor(brain))
    with pytest.raises(Exception, match="Rome") as raised:
        run(agent(calls("ends")), "trace_1")
    provider.set_processors([])
    with pytest.raises(type(raised.value), match="Rome"):
        run(agent(calls("ends")), "trace_2")
    provider.set_processors([SomabrainProcessor(brain)])
    with pytest.raises(MaxTurnsExceeded):
        run(agent(calls("search"), calls("search")), "trace_3", max_turns=1)
    assert [(step.action, step.ok) for step in reported(brain, "trace_1").steps] == [("ends", False)]
    assert [(step.action, step.ok) for step in reported(brain, "trace_3").steps] == [("search", True)]


def test_an_agent_inside_a_tool_is_that_tools_affair(brain: Brain, provider: DefaultTraceProvider) -> None:
    provider.register_processor(SomabrainProcessor(brain))
    helper = agent(calls("search"), calls("book"), says("helped"))
    tool = helper.as_tool("helper", "Helps.")
    asked = calls("search")[0].model_copy(update={"name": "helper", "arguments": '{"input": "x"}'})
    assert run(agent([asked], says("done"), tools=(tool,)), "trace_1") == "done"
    assert [(step.action, step.ok) for step in reported(brain, "trace_1").steps] == [("helper", True)]


def test_runs_of_one_trace_are_one_episode(brain: Brain, provider: DefaultTraceProvider) -> None:
    provider.register_processor(SomabrainProcessor(brain))

    async def both() -> None:
        with trace("booking", trace_id="trace_1"):
            for name in ("search", "book"):
                await Runner.run(agent(calls(name), says("done")), "go")

    asyncio.run(both())
    assert [step.action for step in reported(brain, "trace_1").steps] == ["search", "book"]


def test_runs_at_the_same_time_are_apart(brain: Brain, provider: DefaultTraceProvider) -> None:
    provider.register_processor(SomabrainProcessor(brain))

    async def one(number: int) -> None:
        config = RunConfig(trace_id=f"trace_{number}")
        await Runner.run(agent(calls("search"), calls("book"), says("done")), "go", run_config=config)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(4)))

    asyncio.run(all_of_them())
    for number in range(4):
        assert [step.action for step in reported(brain, f"trace_{number}").steps] == ["search", "book"]


def test_the_pages_lines(
    shared_server: RunningServer, provider: DefaultTraceProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    page = (Path(__file__).parents[2] / "docs" / "user-manual" / "adapters.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "openai_agents" in text]
    exec(compile(block.replace("http://localhost:9696", shared_server.url), "adapters.md", "exec"), program := {})
    assert run(agent(calls("search"), says("done")), "trace_1") == "done"
    assert [step.action for step in reported(program["brain"], "trace_1").steps] == ["search"]
    provider.set_processors([])
    program["brain"].close()


def test_a_service_that_is_away_changes_nothing(provider: DefaultTraceProvider, tmp_path: Path) -> None:
    with Brain(f"http://127.0.0.1:{free_port()}", queue=tmp_path / "queue") as brain:
        provider.register_processor(SomabrainProcessor(brain))
        begun = time.monotonic()
        assert run(agent(calls("search", "book"), calls("breaks"), says("done")), "trace_1") == "done"
        assert time.monotonic() - begun < 2.0
        provider.set_processors([])
    assert len(list((tmp_path / "queue").glob("*.json"))) == 1
