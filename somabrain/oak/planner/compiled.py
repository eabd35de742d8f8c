"""Which version of a search runs: a plain loop over arrays is slower than what else Python has."""

from __future__ import annotations

from typing import Any

from somabrain.oak.kernels import Kernel


def compiled(one: Kernel[..., Any]) -> bool:
    """Whether calls of `one` run compiled by now."""
    return one._compiled  # noqa: SLF001 - the kernel itself does not say
