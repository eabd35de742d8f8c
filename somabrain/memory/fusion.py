"""One relevance out of how near a text's vector is and how far the text has the query's words.

The convex combination that Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval", prefer
to rank fusion, of scores that depend on no other hit: a cosine, and BM25 by its supremum. So a threshold on the
relevance means the same whatever else is found. Measured in docs/adr/0007-hybrid-recall.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def relevance(cosine: NDArray[np.float64], lexical: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """(1 - weight) · cosine + weight · lexical for each candidate, both of shape (candidates,), `weight` in 0..1.

    Not below weight - 1, not above 1; grows with each of the two. Weight 0 is the cosine itself, weight 1 the words
    alone.
    """
    return (1 - weight) * cosine + weight * lexical
