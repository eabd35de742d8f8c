"""What became of episodes, counted by where they were (ADR 0012)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from somabrain.oak.model import EVERYONE, EVERYWHERE, Tallied, Tally, bucket, place_of

_Key = tuple[int, Tallied, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """An episode of known outcome as its tallies see it: prototypes of its states, and of its steps turn and action.

    One state more than steps. `turns` ascend; the steps of one turn were decided on together, before the first.
    `ended`: the world ended in the last state, which is counted only then.
    """

    states: Sequence[int]
    turns: Sequence[int]
    actions: Sequence[int]
    agent: str | None
    success: bool
    ended: bool


class Tallies:
    """Tallies of several episodes, summed."""

    def __init__(self) -> None:
        """None yet."""
        self._sums: dict[_Key, list[int]] = {}

    def add(self, lived: Lived) -> None:
        """Counts an episode, once in each tally that it belongs to."""
        end = lived.turns[-1] + 1
        firsts = [0, *(k for k in range(1, len(lived.turns)) if lived.turns[k] != lived.turns[k - 1])]
        visits = [(lived.states[k], lived.turns[k]) for k in firsts]
        if lived.ended:
            visits.append((lived.states[-1], end))
        seen: dict[tuple[int, Tallied, int, str], int] = {}
        agent = lived.agent
        if agent is not None:
            seen[EVERYWHERE, Tallied.RUN, 0, agent] = end - visits[0][1]
        for state, turn in visits:
            left, steps = end - turn, bucket(turn)
            for at in (EVERYWHERE, state):
                seen.setdefault((at, Tallied.RUN, 0, EVERYONE), left)
                seen.setdefault((at, Tallied.STEPS, steps, EVERYONE), left)
                if lived.success:
                    seen.setdefault((at, Tallied.LEFT, place_of(turn, left), EVERYONE), left)
            if agent is not None:
                seen.setdefault((state, Tallied.STEPS, steps, agent), left)
        for state, turn, action in zip(lived.states, lived.turns, lived.actions, strict=False):
            seen.setdefault((state, Tallied.ACTION, action, EVERYONE), end - turn)
        for key, left in seen.items():
            sums = self._sums.setdefault(key, [0, 0, 0])
            sums[0] += 1
            if lived.success:
                sums[1] += 1
                sums[2] += left

    def about(self, *, state: int, steps: int | None, agent: str | None) -> list[Tally]:
        """What the odds of a run of `agent` in `state` after `steps` steps rest on, but for what a budget asks for."""
        kinds = [(Tallied.RUN, 0)] if steps is None else [(Tallied.RUN, 0), (Tallied.STEPS, bucket(steps))]
        names = (EVERYONE,) if agent is None else (EVERYONE, agent)
        keys = ((at, kind, place, name) for at in (EVERYWHERE, state) for kind, place in kinds for name in names)
        return [_tally(key, sums) for key in keys if (sums := self._sums.get(key)) is not None]

    def summed(self) -> list[Tally]:
        """All of them, ascending by what they count."""
        return [_tally(key, sums) for key, sums in sorted(self._sums.items())]


def less(tallies: Iterable[Tally], part: Iterable[Tally]) -> list[Tally]:
    """The tallies without the episodes that those of `part`, some of these, count."""
    taken = {(one.state, one.kind, one.place, one.agent): one for one in part}
    found = []
    for one in tallies:
        out = taken.get((one.state, one.kind, one.place, one.agent))
        found.append(
            one
            if out is None
            else one._replace(
                episodes=one.episodes - out.episodes,
                successes=one.successes - out.successes,
                left=one.left - out.left,
            )
        )
    return found


def _tally(key: _Key, sums: Sequence[int]) -> Tally:
    return Tally(*key, *sums)
