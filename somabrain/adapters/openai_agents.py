"""The OpenAI Agents SDK: `add_trace_processor(SomabrainProcessor(brain))` reports every run of every agent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.tracing import FunctionSpanData, Span, Trace, TracingProcessor, TurnSpanData

from somabrain.adapters.tool_runs import ToolRun
from somabrain.client import Brain

TRACES_MAX = 1000
"""Most traces that are followed at the same time; of more the oldest is reported as far as it came."""


@dataclass(slots=True, kw_only=True)
class _Call:
    span_id: str
    name: str
    input: Any = None
    ok: bool | None = None


class _Followed:
    """A trace and what it called in this turn. What runs inside a tool, such as an agent, is that tool's affair."""

    def __init__(self, run: ToolRun) -> None:
        self.run = run
        self.inside: set[str] = set()
        self.calls: list[_Call] = []

    def turn(self) -> None:
        """A model is about to be asked."""
        self.run.episode.observe(self._recorded())

    def end(self) -> None:
        """The trace is over."""
        self.run.end(self._recorded(), success=None)

    def _recorded(self) -> dict[str, Any]:
        """Records the calls in the order in which they began; the facts after them."""
        for call in self.calls:
            step = self.run.step(call.name, call.input)
            self.run.finished(step, call.span_id, call.name, ok=call.ok)
        order = [call.span_id for call in self.calls]
        self.calls = []
        return self.run.facts(order)


class SomabrainProcessor(TracingProcessor):
    """Records each trace as an episode, whose id is the trace's, and each tool call as a step. Thread-safe.

    A tool that raised failed, whatever the model is told of it. Whether a run succeeded no trace says:
    `Brain.outcome(trace_id, success=…)` tells it. Nothing is recorded where tracing is switched off.
    """

    def __init__(
        self,
        brain: Brain,
        *,
        about: Callable[[Trace], Mapping[str, Any]] | None = None,
        arguments: bool = False,
        **episode: Any,
    ) -> None:
        """`episode`: what `Brain.episode` takes, for every run; `about`: the same for one, of its trace. `arguments`:
        an action is a tool with its arguments, not the tool alone.
        """  # noqa: D205  what the arguments are is all there is to say
        self._brain = brain
        self._about, self._arguments, self._episode = about, arguments, episode
        self._lock = threading.Lock()
        self._open: dict[str, _Followed] = {}

    def on_trace_start(self, trace: Trace) -> None:
        """Begins an episode."""
        told = trace.export() or {}
        own = {"episode_id": trace.trace_id, "group": told.get("group_id"), "metadata": {"workflow": trace.name}}
        about = {} if self._about is None else self._about(trace)
        episode = self._brain.episode(**{**own, **self._episode, **about})
        with self._lock:
            self._open[trace.trace_id] = _Followed(ToolRun(episode, arguments=self._arguments))
            if len(self._open) > TRACES_MAX:
                self._open.pop(next(iter(self._open))).end()

    def on_trace_end(self, trace: Trace) -> None:
        """Reports the episode."""
        with self._lock:
            followed = self._open.pop(trace.trace_id, None)
        if followed is not None:
            followed.end()

    def on_span_start(self, span: Span[Any]) -> None:
        """A turn, or a tool that begins."""
        with self._lock:
            followed = self._open.get(span.trace_id)
            if followed is None:
                return
            if span.parent_id in followed.inside:
                followed.inside.add(span.span_id)
            elif isinstance(span.span_data, TurnSpanData):
                followed.turn()
            elif isinstance(span.span_data, FunctionSpanData):
                followed.inside.add(span.span_id)
                followed.calls.append(_Call(span_id=span.span_id, name=span.span_data.name))

    def on_span_end(self, span: Span[Any]) -> None:
        """A tool that ended."""
        if not isinstance(span.span_data, FunctionSpanData):
            return
        with self._lock:
            followed = self._open.get(span.trace_id)
            for call in () if followed is None else followed.calls:
                if call.span_id == span.span_id:
                    call.input, call.ok = _read(span.span_data.input), span.error is None

    def shutdown(self) -> None:
        """Reports what is still open."""
        with self._lock:
            still, self._open = list(self._open.values()), {}
        for followed in still:
            followed.end()

    def force_flush(self) -> None:
        """Sends what is recorded."""
        self._brain.flush()


def _read(given: Any) -> Any:
    """A tool's arguments, which are told as JSON; none where the SDK is told to keep them."""
    if not isinstance(given, str):
        return {} if given is None else given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given
