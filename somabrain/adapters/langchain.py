"""LangChain: `create_agent(model, tools, middleware=[SomabrainMiddleware(brain)])` reports every run of the agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Annotated, Any, NotRequired, Self, TypeVar

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    ToolCallRequest,
    hook_config,
)
from langchain.agents.middleware.types import PrivateStateAttr
from langchain.messages import AIMessage, SystemMessage, ToolMessage
from langgraph.channels import UntrackedValue
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from langgraph.types import Command

from somabrain.adapters.tool_runs import ToolRun
from somabrain.client import Brain

Facts = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Success = Callable[[Mapping[str, Any]], bool | None]
About = Callable[[Mapping[str, Any], Any], Mapping[str, Any]]

Answer = TypeVar("Answer")

RUN = "somabrain_run"


class RunState(AgentState[Any]):
    """The run that is recorded: not in the agent's input or output, nor in a checkpoint."""

    somabrain_run: NotRequired[Annotated[ToolRun, UntrackedValue, PrivateStateAttr]]


class SomabrainMiddleware(AgentMiddleware[RunState, Any, Any]):
    """Records each run of an agent as an episode, each tool call as a step. List it first, so that it sees the rest.

    What the agent answers is what it answers without, unless `advice` or `stop_below` are asked for; what the service
    does not answer within the brain's deadline is gone on without. An exception is recorded and goes on as it is.
    """

    state_schema = RunState

    def __init__(
        self,
        brain: Brain,
        *,
        advice: bool = False,
        stop_below: float | None = None,
        facts: Facts | None = None,
        success: Success | None = None,
        about: About | None = None,
        arguments: bool = False,
        **episode: Any,
    ) -> None:
        """`advice`: tells the model, in its system message, what earlier runs teach here. `stop_below`: the odds below
        which a run is ended before its next model call, in 0 to 1.

        `facts`: the state before a model call, of the agent's state; by default which tools succeeded, and the last
        one. `success`: whether it succeeded, of the agent's state at the end; by default unknown, and `Brain.outcome`
        can tell it later. `arguments`: an action is a tool with its arguments, not the tool alone.
        `episode`: what `Brain.episode` takes, for every run; `about`: the same for one run, of the agent's state and
        the runtime.
        """  # noqa: D205  what the arguments are is all there is to say
        super().__init__()
        self._brain = brain
        self._advice, self._stop_below = advice, stop_below
        self._facts, self._success, self._about = facts, success, about
        self._arguments, self._episode = arguments, episode

    def before_agent(self, state: RunState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Begins an episode."""
        about = {} if self._about is None else self._about(state, runtime)
        episode = self._brain.episode(**{**self._episode, **about})
        return {RUN: ToolRun(episode, arguments=self._arguments)}

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: RunState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """A turn: tells the state, and asks for odds and advice where they are wanted."""
        run = _run_of(state)
        if run is None:
            return None
        run.raised(None)
        facts = self._told(state, run)
        if self._advice:
            messages = run.episode.advice(facts)
            run.advice = messages[0]["content"] if messages else None
        if self._stop_below is None:
            if not self._advice:
                run.episode.observe(facts)
            return None
        odds = run.episode.odds(facts)
        if odds >= self._stop_below:
            return None
        said = f"Stopped: the odds that this run succeeds are {odds:.2f}, below {self._stop_below:g}."
        return {"messages": [AIMessage(content=said)], "jump_to": "end"}

    def after_agent(self, state: RunState, runtime: Runtime[Any]) -> None:  # noqa: ARG002
        """Reports the episode."""
        run = _run_of(state)
        if run is not None:
            run.end(self._told(state, run), success=None if self._success is None else self._success(state))

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]:
        """Adds the advice."""
        with _Watched(request.state):
            return handler(_advised(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]:
        """Adds the advice."""
        with _Watched(request.state):
            return await handler(_advised(request))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Records the call."""
        with _Watched(request.state), _Called(request) as call:
            return call.answered(handler(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Records the call."""
        with _Watched(request.state), _Called(request) as call:
            return call.answered(await handler(request))

    def _told(self, state: RunState, run: ToolRun) -> Mapping[str, Any]:
        if self._facts is not None:
            return self._facts(state)
        calls = (message.tool_calls for message in reversed(state["messages"]) if isinstance(message, AIMessage))
        return run.facts([str(call["id"]) for call in next(calls, [])])


def _run_of(state: Any) -> ToolRun | None:
    found = state.get(RUN) if isinstance(state, Mapping) else None
    return found if isinstance(found, ToolRun) else None


def _advised(request: ModelRequest[Any]) -> ModelRequest[Any]:
    run = _run_of(request.state)
    if run is None or run.advice is None:
        return request
    said = request.system_message
    if said is None:
        return request.override(system_message=SystemMessage(content=run.advice))
    if isinstance(said.content, str):
        return request.override(system_message=SystemMessage(content=f"{said.content}\n\n{run.advice}"))
    blocks = [*said.content, {"type": "text", "text": run.advice}]
    return request.override(system_message=SystemMessage(content=blocks))


class _Watched:
    """What the agent does itself: the exception that leaves it is noted and goes on."""

    def __init__(self, state: Any) -> None:
        self._run = _run_of(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Swallows nothing."""
        if self._run is not None and _is_failure(error):
            self._run.raised(error)


class _Called:
    """A tool call, recorded as a step; one that is paused or cancelled is neither a success nor a failure."""

    def __init__(self, request: ToolCallRequest) -> None:
        self._call = request.tool_call
        self._run = _run_of(request.state)
        self._step = None if self._run is None else self._run.step(self._call["name"], self._call["args"])
        self._ok: bool | None = None

    def __enter__(self) -> Self:
        return self

    def answered(self, result: Answer) -> Answer:
        """The tool's answer, as it is."""
        self._ok = not (isinstance(result, ToolMessage) and result.status == "error")
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Records whether it worked, and swallows nothing."""
        if self._run is not None and self._step is not None:
            ok = False if _is_failure(error) else self._ok
            self._run.finished(self._step, str(self._call["id"]), self._call["name"], ok=ok)


def _is_failure(error: BaseException | None) -> bool:
    """What LangGraph raises to pause a run is none, nor is a cancellation."""
    return isinstance(error, Exception) and not isinstance(error, GraphBubbleUp)
