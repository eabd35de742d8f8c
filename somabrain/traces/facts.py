"""The states of a trace, without a model: which tools succeeded, and what the last one did (ADR 14).

Nothing here counts turns or steps, and no argument or result becomes a fact: each made nearly every state one of its
own, of which nothing is known when it is met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from somabrain.errors import TraceTooLargeError
from somabrain.traces.model import TOOLS_MAX, Call, Scalar

CALLED_MAX = 2
"""A tool's successes are counted up to this: none, once, more than once."""

CALLED, GOAL = "called.", "goal."
"""What the names of facts about a tool, and about the goal, begin with."""

LAST, LAST_OK, OUTCOME = "last", "last_ok", "outcome"
"""Facts: the last call's tool (empty at the start), whether it worked, and how the run ended."""

_WORKED: Mapping[bool | None, str] = {True: "yes", False: "no", None: "unknown"}


def states(
    calls: Sequence[Call], goal: Mapping[str, Scalar], *, called_max: int = CALLED_MAX
) -> list[dict[str, Scalar]]:
    """The facts before each call, and after the last: one more than there are calls.

    Calls of one message follow each other as they stand in it. Raises `TraceTooLargeError` for more than `TOOLS_MAX`
    tools that succeeded.
    """
    told = {GOAL + name: value for name, value in goal.items()}
    succeeded: Counter[str] = Counter()
    found: list[dict[str, Scalar]] = [{**told, LAST: ""}]
    for call in calls:
        if call.ok:
            succeeded[call.name] = min(called_max, succeeded[call.name] + 1)
        if len(succeeded) > TOOLS_MAX:
            raise TraceTooLargeError(f"more than {TOOLS_MAX} tools succeeded in one trace")
        counts = {CALLED + name: count for name, count in succeeded.items()}
        found.append({**told, **counts, LAST: call.name, LAST_OK: _WORKED[call.ok]})
    return found
