"""`python -m benchmarks`: every figure as a table, the machine beside it; status 1 where a bar is missed."""

from __future__ import annotations

import sys

from benchmarks import planning, serving
from benchmarks.figures import show


def main() -> int:
    """Measures and shows."""
    figures = [*planning.measure(), *serving.measure()]
    show(figures)
    return 1 if any(one.met is False for one in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
