"""Texts as terms for lexical search: Unicode words, parts of identifiers, pairs of characters where nothing divides.

NFKC (Unicode Standard Annex 15) and case folding make equal what differs only in form. A run of letters, digits and
marks is a word. Identifiers give their parts too: `getUserDetails` and `user_id` are found by `user`. Scripts
written without spaces give overlapping pairs of characters, as in Lucene's CJKAnalyzer.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

TERM_CHARS_MAX = 64
"""Characters kept of a term; longer ones are encoded data rather than words, and still match by their beginning."""

RUNS_KEPT = 65_536
"""Words whose terms are kept at hand, some 10 MB: nine in ten words of a text are among the most frequent (Zipf)."""

_UNDIVIDED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
)
"""Scripts that put no space between words (Unicode Standard Annex 14, classes ID and SA)."""

_MARKS = "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
"""Combining marks of Latin, Hebrew and Arabic, which `\\w` leaves out and which are part of the word."""

_INDIC = "\u0900-\u0963\u0966-\u0df3"
"""Indic scripts with their vowel signs, without the danda."""

_RUN = re.compile(rf"[{_UNDIVIDED}]+|(?:(?![{_UNDIVIDED}])[\w{_MARKS}{_INDIC}])+")
_UNDIVIDED_START = re.compile(rf"[{_UNDIVIDED}]")
_PART = re.compile(r"\d+|[^\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_AFTER_SIBILANT = ("ches", "shes", "sses", "xes")
_PLURAL_MIN = 4
"""Characters that a word has at least for its plural ending to come off."""


def terms(text: str) -> list[str]:
    """The terms of `text` in order, with repetition; none is empty, none longer than TERM_CHARS_MAX."""
    found: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text)):
        found += _known_terms(run) if len(run) <= TERM_CHARS_MAX else _terms_of_run(run)
    return found


def _terms_of_run(run: str) -> tuple[str, ...]:
    if run.isascii() and run.isalpha() and (run.islower() or run[1:].islower() or run.isupper()):
        return (singular(run.lower()[:TERM_CHARS_MAX]),)
    if _UNDIVIDED_START.match(run):
        return tuple(run[at : at + 2] for at in range(max(1, len(run) - 1)))
    return _identifier(run)


_known_terms = lru_cache(maxsize=RUNS_KEPT)(_terms_of_run)


def _identifier(run: str) -> tuple[str, ...]:
    """The run as one term, and its parts where it has several."""
    whole = run.casefold().strip("_")
    parts = [part.casefold() for hump in _HUMP.split(run) for part in _PART.findall(hump)]
    named = [whole, *parts] if len(parts) > 1 else [whole]
    return tuple(singular(name[:TERM_CHARS_MAX]) for name in named if name)


def singular(word: str) -> str:
    """An English plural's singular, else the word.

    Harman 1991, "How effective is suffixing?", the S stemmer; and after a sibilant the whole of `-es` comes off, as in
    boxes, branches and classes.
    """
    if len(word) < _PLURAL_MIN or word[-1] != "s" or not word.isascii():
        return word
    if word.endswith(_AFTER_SIBILANT):
        return word.removesuffix("es")
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word.removesuffix("ies") + "y"
    return word if word.endswith(("us", "ss")) else word.removesuffix("s")
