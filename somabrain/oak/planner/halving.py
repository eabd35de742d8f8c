"""Two halves of the states such that moves lead from one into the other, as far as there are such halves.

Where what is iterated reads the newest values, a sweep of one half and then of the other is worth two sweeps of all
at once, and still no sum within a half waits for another (red-black ordering; Young 1971, ch. 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import PLACES, kernel

Ints = NDArray[np.int64]

NEITHER = -1


@kernel(f"void({PLACES}, {PLACES}, int64[::1])")
def halve(leads_at: Ints, leads: Ints, half: Ints) -> None:
    """Fills `half`, which is NEITHER everywhere, with 0 and 1: a state's neighbours get the other of its own.

    Place i leads to the places `leads[leads_at[i]]` … `leads[leads_at[i + 1]]`. Where a cycle of odd length stands
    against that, who is found first decides.
    """
    found = np.empty(half.size, np.int64)
    for root in range(half.size):
        if half[root] != NEITHER:
            continue
        half[root] = 0
        for entry in range(leads_at[root], leads_at[root + 1]):
            if leads[entry] != root and half[leads[entry]] != NEITHER:
                half[root] = 1 - half[leads[entry]]
                break
        found[0] = root
        first, last = 0, 1
        while first < last:
            place = found[first]
            first += 1
            for entry in range(leads_at[place], leads_at[place + 1]):
                if half[leads[entry]] == NEITHER:
                    half[leads[entry]] = 1 - half[place]
                    found[last] = leads[entry]
                    last += 1
