"""Parts that several sections of the page are made of. Whatever users wrote goes through `escaped`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from somabrain.report.names import Label
from somabrain.report.words import clean, escaped

NAME_LENGTH, VALUE_LENGTH = 48, 40
"""Characters of a fact's name and value."""

WHOLE_LENGTH = 1_200
"""Characters of all of a state."""

BREAKS = "_./"
"""After these a line may break within a name."""

ACTION_LENGTH = 80
"""Characters of an action."""


def state_facts(label: Label) -> str:
    """A state by the facts that matter, with its number."""
    return f'<span class="facts">{told_facts(label)} <span class="id">state {label.number}</span></span>'


def told_facts(label: Label) -> str:
    """The facts that matter, or the text."""
    facts = "".join(
        f'<span class="fact"><i>{escaped(name, NAME_LENGTH)}</i> <bdi>{escaped(value, VALUE_LENGTH)}</bdi></span>'
        for name, value in label.facts
    )
    return facts or f'<span class="fact"><bdi>{escaped(label.whole, WHOLE_LENGTH) or "a vector"}</bdi></span>'


def all_facts(label: Label) -> str:
    """All of a state, to be opened."""
    if not clean(label.whole) or not label.facts:
        return ""
    whole = escaped(label.whole, WHOLE_LENGTH)
    return (
        f'<details><summary>all facts of state {label.number}</summary><p class="all"><bdi>{whole}</bdi></p></details>'
    )


def action(name: str, most: int = ACTION_LENGTH) -> str:
    """An action's name."""
    return f'<b class="act">{action_name(name, most)}</b>'


def action_name(name: str, most: int = ACTION_LENGTH) -> str:
    """The same without a mark; lines may break after what parts its words."""
    shown = escaped(name, most) or "(no name)"
    for mark in BREAKS:
        shown = shown.replace(mark, f"{mark}<wbr>")
    return f"<bdi>{shown}</bdi>"


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[str],
    *,
    wide: bool = False,
    hidden: bool = False,
    classes: str = "",
) -> str:
    """A table in a box of its own, so that only it scrolls. Heads that begin with "#" stand over numbers.

    `wide`: it needs more room than a phone has. `hidden`: the caption is for those who can't see.
    """
    shown = f'<span class="hidden">{caption}</span>' if hidden else f"<span>{caption}</span>"
    head = "".join(
        f'<th scope="col" class="n">{one[1:]}</th>' if one.startswith("#") else f'<th scope="col">{one}</th>'
        for one in heads
    )
    body = "".join(rows)
    named = f"{classes} wide" if wide else classes
    opened = f'<table class="{named}">' if named else "<table>"
    whole = f"{opened}<caption>{shown}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return scrolling(whole, "table") if wide else whole


def scrolling(inside: str, what: str) -> str:
    """A box that scrolls by itself, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{what}, scrolls sideways">{inside}</div>'


def row(head: str, cells: Sequence[str], *, classes: str = "") -> str:
    """A row of a table: cells that begin with "#" are numbers."""
    opened = f'<tr class="{classes}">' if classes else "<tr>"
    return f'{opened}<th scope="row">{head}</th>{"".join(_cell(one) for one in cells)}</tr>'


def left_out(count: int, what: str) -> str:
    """Says how many there are that are not shown."""
    return f'<p class="note">{count:,} more {what} left out.</p>' if count else ""


def _cell(text: str) -> str:
    return f'<td class="n">{text[1:]}</td>' if text.startswith("#") else f"<td>{text}</td>"
