"""Texts of the page: what users wrote made harmless and short, numbers made readable."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping

BLANKS = re.compile(r"[\x09-\x0d ]+")
"""What stands between words, but for a blank that keeps them together."""

ELLIPSIS = "…"

NOTHING = '""'
"""An empty text."""

REPLACED = "\N{REPLACEMENT CHARACTER}"
"""Stands for a character that no page may hold, or that would turn the text around it."""

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode whose characters are not shown: controls, formats such as bidi marks, halves of pairs."""

HUNDRED = 100.0
FEW = 10
"""Below it a count is written as it is, and a percentage gets a decimal."""

THOUSAND = 1000

LEAST = 0.005
"""Half a percent: less than it is told as such."""


def clean(text: str) -> str:
    """The text on one line, without characters that can't be seen."""
    seen = "".join(REPLACED if unicodedata.category(one) in UNSEEN else one for one in BLANKS.sub(" ", text))
    return seen.strip()


def shortened(text: str, most: int) -> str:
    """At most `most` characters, cut in the middle, since ends tell names apart."""
    text = clean(text[: most * FEW] + text[-most:] if len(text) > most * (FEW + 1) else text)
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    tail = most - 1 - head
    return text[:head].rstrip() + ELLIPSIS + (text[-tail:].lstrip() if tail else "")


def escaped(text: str, most: int) -> str:
    """As `shortened`, for the inside of an element or of a quoted attribute."""
    return html.escape(shortened(text, most), quote=True)


def value_text(value: object) -> str:
    """A fact's value as people write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or NOTHING


def facts_text(facts: Mapping[str, object] | str) -> str:
    """All facts, by name, or the text that a state is."""
    if isinstance(facts, str):
        return facts
    return ", ".join(f"{name}={value_text(value)}" for name, value in sorted(facts.items()))


def percent(share: float) -> str:
    """A share as a percentage: whole, with "<1 %" and ">99 %" for what only rounds to none and all."""
    if 0 < share < LEAST:
        return "<1\N{NO-BREAK SPACE}%"
    if 1 - LEAST < share < 1:
        return ">99\N{NO-BREAK SPACE}%"
    return f"{share * HUNDRED:.0f}\N{NO-BREAK SPACE}%"


def fine_percent(share: float) -> str:
    """As `percent`, with a decimal below ten percent."""
    if 0 < share < FEW / HUNDRED:
        return f"{share * HUNDRED:.1f}\N{NO-BREAK SPACE}%"
    return percent(share)


def span(lower: float, upper: float) -> str:
    """An interval of shares."""
    return f"{lower * HUNDRED:.0f}–{upper * HUNDRED:.0f}\N{NO-BREAK SPACE}%"


def number(count: float) -> str:
    """A count, thousands parted by a comma."""
    return f"{count:,.0f}"


def about(value: float) -> str:
    """A value that is no count: a decimal below ten."""
    return f"{value:.1f}" if abs(value) < FEW else number(value)


def many(count: int, one: str, more: str | None = None) -> str:
    """A count with its noun."""
    return f"{number(count)} {one if count == 1 else more or one + 's'}"
