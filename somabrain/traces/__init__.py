"""Agents' logs as episodes: pure converters, one module for each format.

`formats.converted` is the way in: a parsed document becomes bodies of `POST /oak/episode`, each trace for itself.
"""

from __future__ import annotations

from somabrain.traces.formats import Converted, Format, converted, converted_spans, detected, has_spans, parts_of
from somabrain.traces.spans import without_contents

__all__ = [
    "Converted",
    "Format",
    "converted",
    "converted_spans",
    "detected",
    "has_spans",
    "parts_of",
    "without_contents",
]
