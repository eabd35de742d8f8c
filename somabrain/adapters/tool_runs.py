"""A run of a tool-calling agent as an episode, with the facts that logs of such runs have (ADR 14)."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from somabrain.client import Episode, StepRecorder

CALLED_MAX = 2
"""A tool's successes are counted up to this, as in logs."""

TOOLS_MAX = 32
"""Most tools whose successes become facts; the service takes 64 facts, the goal's among them."""

_WORKED: Mapping[bool | None, str] = {True: "yes", False: "no", None: "unknown"}


class _Ending:
    """What is known of how the run ends, apart from the run itself: it is told when the run is gone."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self.raised: type[BaseException] | None = None

    def tell(self) -> None:
        """Reports the episode."""
        self._episode.__exit__(self.raised, None, None)


class ToolRun:
    """Records what tools a framework runs. Thread-safe; tools of one turn may run at the same time.

    The episode is reported by `end`, or when nothing refers to the run any more, or at the end of the program: a
    framework says nothing where an exception ends a run.
    """

    def __init__(self, episode: Episode, *, arguments: bool = False) -> None:
        """`arguments`: an action is a tool with its arguments, not the tool alone."""
        self.episode = episode
        self.advice: str | None = None
        self._arguments = arguments
        self._lock = threading.Lock()
        self._finished: dict[str, tuple[str, bool | None]] = {}
        self._succeeded: dict[str, int] = {}
        self._last: tuple[str, bool | None] | None = None
        self._ending = _Ending(episode)
        self._reported = weakref.finalize(self, self._ending.tell)

    def facts(self, order: Sequence[str] = ()) -> dict[str, Any]:
        """The facts now: which tools succeeded, once or more often, and the last call with whether it worked.

        `order`: the ids of the calls that finished since the last time, as the model made them. Parallel calls finish
        in any order, and the facts must not depend on it.
        """
        with self._lock:
            for call_id in [*order, *sorted(set(self._finished) - set(order))]:
                found = self._finished.pop(call_id, None)
                if found is not None:
                    self._count(found[0], ok=found[1])
            facts: dict[str, Any] = {f"called.{name}": count for name, count in self._succeeded.items()}
            if self._last is None:
                return {**facts, "last": ""}
            return {**facts, "last": self._last[0], "last_ok": _WORKED[self._last[1]]}

    def _count(self, name: str, *, ok: bool | None) -> None:
        self._last = (name, ok)
        if ok and (name in self._succeeded or len(self._succeeded) < TOOLS_MAX):
            self._succeeded[name] = min(CALLED_MAX, self._succeeded.get(name, 0) + 1)

    def step(self, name: str, arguments: Any) -> StepRecorder:
        """A tool that is about to run."""
        return self.episode.step((name, arguments) if self._arguments else name)

    def finished(self, step: StepRecorder, call_id: str, name: str, *, ok: bool | None) -> None:
        """A tool that ran: `ok` is False where it failed, None where that is unknown."""
        step.result(None, ok=ok)
        with self._lock:
            self._finished[call_id] = (name, ok)

    def raised(self, error: BaseException | None) -> None:
        """The exception that leaves the run now, if nothing takes place in it any more; None: it went on."""
        self._ending.raised = None if error is None else type(error)

    def end(self, facts: Mapping[str, Any], *, success: bool | None) -> None:
        """Reports the episode, once; `facts` are those at its end."""
        if success is not None:
            facts = {**facts, "outcome": "success" if success else "failure"}
            self.episode.outcome(success=success)
        self.episode.after(facts)
        self._reported()
