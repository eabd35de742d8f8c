"""The middleware in LangChain's own agents, with scripted models and a real service, and with none."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain.messages import AIMessage, SystemMessage, ToolMessage
from langchain.tools import tool
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from somabrain.adapters.langchain import SomabrainMiddleware
from somabrain.client import Brain, EpisodeReported
from tests.misbehaving import misbehaving, sleeps
from tests.servers import RunningServer


class Scripted(BaseChatModel):
    """A model that answers from a list, by the number of its answers so far in the conversation."""

    answers: list[AIMessage]
    seen: list[list[BaseMessage]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        self.seen.append(messages)
        place = sum(isinstance(message, AIMessage) for message in messages)
        return ChatResult(generations=[ChatGeneration(message=self.answers[place])])


@tool
def search(city: str) -> str:
    """Finds a flight."""
    time.sleep(0.05)
    return f"a flight to {city}"


@tool
def book(city: str) -> str:
    """Books a flight."""
    return f"booked {city}"


@tool
def breaks(city: str) -> str:
    """Raises."""
    raise LookupError(city)


@tool
def pauses(city: str) -> str:
    """Asks a person."""
    return str(interrupt(city))


TOOLS = [search, book, breaks, pauses]


def calls(*names: str) -> AIMessage:
    made = [{"name": name, "args": {"city": "Rome"}, "id": f"{name}-{n}"} for n, name in enumerate(names)]
    return AIMessage(content="", tool_calls=made)


def agent(
    answers: list[AIMessage], middleware: list[Any], system_prompt: str | None = "You book flights.", **given: Any
) -> tuple[Any, Scripted]:
    model = Scripted(answers=answers, seen=[])
    return create_agent(model, TOOLS, middleware=middleware, system_prompt=system_prompt, **given), model


def said(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message.type, message.text) for message in result["messages"]]


ASKED = {"messages": [{"role": "user", "content": "Book me a flight to Rome."}]}
DONE = [calls("search"), calls("search", "book"), AIMessage(content="done")]
TOLD = [
    ("human", "Book me a flight to Rome."),
    ("ai", ""),
    ("tool", "a flight to Rome"),
    ("ai", ""),
    ("tool", "a flight to Rome"),
    ("tool", "booked Rome"),
    ("ai", "done"),
]


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


def reported(own_brain: Brain, episode_id: str) -> EpisodeReported:
    gc.collect()
    assert own_brain.flush()
    return own_brain.reported_episode(episode_id)


def steps(episode: EpisodeReported) -> list[tuple[Any, dict[str, Any], int, bool | None]]:
    return [(step.action, dict(step.state["features"]), step.turn, step.ok) for step in episode.steps]


def booked(state: Any) -> bool:
    return any(isinstance(message, ToolMessage) and message.text.startswith("booked") for message in state["messages"])


SEARCHED = {"called.search": 1, "last": "search", "last_ok": "yes"}
RECORDED = [
    ("search", {"last": ""}, 0, True),
    ("search", SEARCHED, 1, True),
    ("book", SEARCHED, 1, True),
]


@pytest.mark.parametrize("awaited", [False, True])
def test_a_run_is_an_episode(own_brain: Brain, *, awaited: bool) -> None:
    middleware = SomabrainMiddleware(own_brain, success=booked, agent="scripted", episode_id="run-1", group="trips")
    made, _ = agent(DONE, [middleware])
    result = asyncio.run(made.ainvoke(ASKED)) if awaited else made.invoke(ASKED)
    assert (said(result), set(result)) == (TOLD, {"messages"})
    episode = reported(own_brain, "run-1")
    assert sorted(steps(episode), key=lambda step: (step[2], step[0] == "book")) == RECORDED
    final = {"called.search": 2, "called.book": 1, "last": "book", "last_ok": "yes", "outcome": "success"}
    assert episode.final == {"features": final}
    assert (episode.success, episode.agent, episode.group) == (True, "scripted", "trips")


def test_what_a_run_is_about(own_brain: Brain) -> None:
    def about(state: Any, _runtime: Any) -> dict[str, Any]:
        return {"episode_id": "run-1", "roles": {"city": "Rome"}, "metadata": {"messages": len(state["messages"])}}

    middleware = SomabrainMiddleware(
        own_brain, about=about, facts=lambda state: {"n": len(state["messages"])}, goal={"booked": True}, arguments=True
    )
    agent(DONE, [middleware])[0].invoke(ASKED)
    episode = reported(own_brain, "run-1")
    assert episode.steps[0].action == {"name": "search", "arguments": {"city": "Rome"}}
    assert episode.steps[0].state == {"features": {"n": 1, "goal.booked": True}}
    assert (episode.success, episode.roles, episode.metadata) == (None, {"city": "Rome"}, {"messages": 1})


@pytest.mark.parametrize("awaited", [False, True])
def test_an_exception_is_recorded_and_raised_as_it_is(own_brain: Brain, *, awaited: bool) -> None:
    made, _ = agent([calls("search"), calls("breaks")], [SomabrainMiddleware(own_brain, episode_id="run-1")])
    with pytest.raises(LookupError, match="Rome") as raised:
        asyncio.run(made.ainvoke(ASKED)) if awaited else made.invoke(ASKED)
    assert raised.type is LookupError
    del raised
    episode = reported(own_brain, "run-1")
    assert steps(episode) == [("search", {"last": ""}, 0, True), ("breaks", SEARCHED, 1, False)]
    assert (episode.success, episode.metadata) == (None, {"raised": "LookupError"})


def test_an_exception_of_the_model_is_raised_as_it_is(own_brain: Brain) -> None:
    made, _ = agent([calls("search")], [SomabrainMiddleware(own_brain, episode_id="run-1")])
    with pytest.raises(IndexError) as raised:
        made.invoke(ASKED)
    del raised
    assert reported(own_brain, "run-1").metadata == {"raised": "IndexError"}


def test_a_tool_that_is_tried_again(own_brain: Brain) -> None:
    retries = ToolRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    made, _ = agent(
        [calls("breaks"), AIMessage(content="sorry")], [retries, SomabrainMiddleware(own_brain, episode_id="r")]
    )
    assert said(made.invoke(ASKED))[-1] == ("ai", "sorry")
    episode = reported(own_brain, "r")
    assert [(step.action, step.ok) for step in episode.steps] == [("breaks", False)] * 2
    assert episode.metadata == {}


def test_a_pause_is_no_failure(own_brain: Brain) -> None:
    made, _ = agent(
        [calls("pauses"), AIMessage(content="done")],
        [SomabrainMiddleware(own_brain, episode_id="run-1")],
        checkpointer=InMemorySaver(),
    )
    thread = {"configurable": {"thread_id": "1"}}
    assert made.invoke(ASKED, thread)["__interrupt__"]
    episode = reported(own_brain, "run-1")
    assert [(step.action, step.ok) for step in episode.steps] == [("pauses", None)]
    assert episode.metadata == {}
    assert said(made.invoke(Command(resume="yes"), thread))[-2:] == [("tool", "yes"), ("ai", "done")]


def learned(own_brain: Brain, *, success: bool) -> None:
    for _ in range(6):
        agent(DONE, [SomabrainMiddleware(own_brain, success=lambda _: success)])[0].invoke(ASKED)
    assert own_brain.flush()


def test_advice_is_in_the_system_message_and_nowhere_else(own_brain: Brain) -> None:
    learned(own_brain, success=True)
    for prompt in ("You book flights.", None):
        made, model = agent(DONE, [SomabrainMiddleware(own_brain, advice=True)], system_prompt=prompt)
        assert said(made.invoke(ASKED)) == TOLD
        systems = [messages[0] for messages in model.seen]
        assert all(isinstance(message, SystemMessage) for message in systems)
        assert all(message.text.startswith(prompt or "From experience: ") for message in systems)
        assert "search succeeded in" in systems[0].text
        assert systems[0].text.count("From experience") == 1


def test_a_run_without_odds_is_stopped_where_that_is_asked_for(own_brain: Brain) -> None:
    learned(own_brain, success=False)
    made, model = agent(DONE, [SomabrainMiddleware(own_brain, stop_below=0.3, episode_id="stopped")])
    assert said(made.invoke(ASKED))[-1][1].startswith("Stopped: the odds")
    assert model.seen == []
    made, model = agent(DONE, [SomabrainMiddleware(own_brain, stop_below=0.01, advice=True)])
    assert said(made.invoke(ASKED)) == TOLD


def test_runs_at_the_same_time_are_apart(own_brain: Brain) -> None:
    ids = iter(f"run-{number}" for number in range(4))
    made, _ = agent(DONE, [SomabrainMiddleware(own_brain, about=lambda _s, _r: {"episode_id": next(ids)})])

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(made.ainvoke(ASKED) for _ in range(4)))

    assert all(said(result) == TOLD for result in asyncio.run(all_of_them()))
    for number in range(4):
        assert len(reported(own_brain, f"run-{number}").steps) == 3


def test_a_service_that_does_not_answer_changes_nothing(tmp_path: Path) -> None:
    with misbehaving(sleeps) as url, Brain(url, queue=tmp_path / "queue") as brain:
        made, _ = agent(DONE, [SomabrainMiddleware(brain, advice=True, stop_below=0.9)])
        begun = time.monotonic()
        assert said(made.invoke(ASKED)) == TOLD
        with pytest.raises(LookupError):
            agent([calls("breaks")], [SomabrainMiddleware(brain, stop_below=0.9)])[0].invoke(ASKED)
        assert time.monotonic() - begun < 3.0
        gc.collect()
        assert len(list((tmp_path / "queue").glob("*.json"))) == 2


PAGE = Path(__file__).parents[2] / "docs" / "user-manual" / "adapters.md"


def test_the_pages_lines(shared_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    program: dict[str, Any] = {"model": Scripted(answers=DONE, seen=[]), "tools": TOOLS, "booked": booked}
    for block in blocks:
        if "langchain" in block or "langgraph" in block:
            exec(compile(block.replace("http://localhost:9696", shared_server.url), "adapters.md", "exec"), program)
    assert said(program["agent"].invoke(ASKED)) == TOLD
    assert said(program["advised"].invoke(ASKED)) == TOLD
    gc.collect()
    assert program["brain"].flush()
    assert program["brain"].predict({"last": ""}, steps_taken=0).episodes == 1
    assert [item.key for item in program["found"]] == ["seat"]
    program["brain"].close()
