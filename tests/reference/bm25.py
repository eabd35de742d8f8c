"""Okapi BM25 as the textbook writes it: every row, every term, no index."""

from __future__ import annotations

import math
from collections.abc import Sequence

from somabrain.memory.terms import terms


def bm25(rows: Sequence[str | None], query: str, *, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Robertson and Zaragoza 2009, §3.5, by its supremum; `None` is a removed row and scores 0."""
    documents = [None if row is None else terms(row) for row in rows]
    living = [document for document in documents if document is not None]
    total = sum(map(len, living))
    asked = list(dict.fromkeys(terms(query)))
    holding = {term: sum(term in document for document in living) for term in asked}
    idf = {term: math.log(1 + (len(living) - df + 0.5) / (df + 0.5)) for term, df in holding.items()}
    supremum = sum(idf[term] * (k1 + 1) for term in asked)
    if total == 0 or supremum == 0:
        return [0.0] * len(documents)
    mean = total / len(living)

    def score(document: Sequence[str] | None) -> float:
        if document is None:
            return 0.0
        counts = {term: document.count(term) for term in asked}
        return (
            sum(
                idf[term] * (k1 + 1) * tf / (tf + k1 * (1 - b + b * len(document) / mean))
                for term, tf in counts.items()
                if tf
            )
            / supremum
        )

    return [score(document) for document in documents]
