"""Consolidation: which states deserve an option, and the options worked out from the primitive model (DESIGN §5.5).

Pure functions of arrays. `targets` and `distinct` choose the targets, `consolidate` works out one option after
another so that its caller can save and stop in between, `to_bytes` and `of_bytes` are an option's stored form.
"""

from __future__ import annotations

from somabrain.oak.consolidation.blob import of_bytes, to_bytes
from somabrain.oak.consolidation.building import Published, Work, affected, consolidate
from somabrain.oak.consolidation.salience import betweenness, distinct, targets

__all__ = [
    "Published",
    "Work",
    "affected",
    "betweenness",
    "consolidate",
    "distinct",
    "of_bytes",
    "targets",
    "to_bytes",
]
