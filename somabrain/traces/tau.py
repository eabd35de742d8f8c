"""Runs of tau-bench (Yao et al. 2024): chat messages as `traj`, with the reward that their task's checker gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from somabrain.traces.chat import calls_of
from somabrain.traces.episode import episode_id
from somabrain.traces.model import Json, Trace
from somabrain.traces.shapes import label_at, list_at, refused

STOP = "###STOP###"
"""What the simulated user says at the end."""
ENDING_TOOLS = frozenset({"transfer_to_human_agents"})
"""Tools that end the talk."""
REWARD = 1.0
"""Of a task that was done."""


def trace_of(document: Mapping[str, Json]) -> Trace:
    """The trace; its group is the task. A talk that neither the user nor a tool ended was cut off.

    A task's and a trial's number name no run (another agent has the same), so the id is that of the whole document.
    Raises `TraceInvalidError`, `TraceOrderError`.
    """
    messages = list_at(document.get("traj"), "traj")
    calls = calls_of(messages, "traj")
    reward = document.get("reward")
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float)):
        raise refused("want a number", "reward")
    return Trace(
        episode_id=episode_id(label_at(document, "id"), document),
        calls=calls,
        success=None if reward is None else reward >= REWARD,
        cut_off=not _ended(messages),
        agent=label_at(document, "agent", "model"),
        group=label_at(document, "task_id"),
    )


def _ended(messages: Sequence[Mapping[str, Json]]) -> bool:
    """Whether the talk came to its end."""
    if not messages:
        return False
    last = messages[-1]
    if last["role"] == "tool":
        return last.get("name") in ENDING_TOOLS
    return last["role"] == "user" and STOP in str(last.get("content"))
