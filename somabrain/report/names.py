"""What the page calls states: by the facts that tell them from one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from somabrain.report.runs import Stated
from somabrain.report.words import facts_text, value_text

FACTS_MIN = 3
"""Facts of a label, if there are as many that not most of the states share."""

FACTS_MAX = 4
"""Facts of a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A state's name: its number, the facts that matter, and all of it as one text. `facts` of a text: none."""

    number: int
    facts: tuple[tuple[str, str], ...]
    whole: str

    @property
    def text(self) -> str:
        """The facts that matter on one line; the text of a state that is one; else its number."""
        return ", ".join(f"{name}={value}" for name, value in self.facts) or self.whole or f"state {self.number}"


def labels(states: Mapping[int, Stated]) -> dict[int, Label]:
    """Of each state those facts that the fewest others share, as few as tell it from all the others."""
    facts = {number: _entries(state) for number, state in states.items()}
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, entries in facts.items():
        for entry in entries:
            found[entry].add(number)
    holders = {entry: frozenset(numbers) for entry, numbers in found.items()}
    return {
        number: Label(
            number=number,
            facts=tuple(sorted(_telling(facts[number], holders, len(states)))),
            whole=facts_text(state),
        )
        for number, state in states.items()
    }


def _telling(
    entries: Iterable[tuple[str, str]], holders: Mapping[tuple[str, str], frozenset[int]], states: int
) -> list[tuple[str, str]]:
    """Entries, the rarest first: those that tell it from further states, and a few more that not most states share."""
    chosen: list[tuple[str, str]] = []
    alike: frozenset[int] | None = None
    for entry in sorted(entries, key=lambda one: (len(holders[one]), one)):
        narrows = alike is None or not alike <= holders[entry]
        rare = 2 * len(holders[entry]) <= states
        new = all(holders[entry] != holders[one] for one in chosen)
        if narrows or (rare and new and len(chosen) < FACTS_MIN):
            chosen.append(entry)
            alike = holders[entry] if alike is None else alike & holders[entry]
        if len(chosen) == FACTS_MAX:
            break
    return chosen


def _entries(state: Stated) -> list[tuple[str, str]]:
    return [] if isinstance(state, str) else [(name, value_text(value)) for name, value in state.items()]
