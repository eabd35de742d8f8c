"""How long an option is kept (DESIGN §5.6)."""

from __future__ import annotations


def retention_s(utility: float, least_s: float, greatest_s: float) -> float:
    """τ = clamp(least · (1 + max(0, U)), least, greatest), seconds."""
    return min(greatest_s, max(least_s, least_s * (1.0 + max(0.0, utility))))
