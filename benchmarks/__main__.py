"""`python -m benchmarks [SUITE …] [--json FILE]`: the figures as tables, status 1 where a bar is missed.

Without names: planning, serving. `all` takes every suite but growth and soak, some twenty minutes; these two take ten
minutes each. `--json` writes the figures as well, and where the time of requests goes: of such files
`python -m benchmarks.page FILE …` makes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import commits, following, growth, loads, memories, planning, routes, serving, soak, spent, tenants
from benchmarks.figures import Figure, machine, show

SUITES: Mapping[str, Callable[[], list[Figure]]] = {
    "planning": planning.measure,
    "routes": routes.measure,
    "following": following.measure,
    "tenants": tenants.measure,
    "serving": serving.measure,
    "loads": loads.measure,
    "commits": commits.measure,
    "memories": lambda: list(memories.measure((memories.EXACT_MAX,))),
    "growth": growth.measure,
    "soak": soak.measure,
}
LONG = frozenset({"growth", "soak"})
DEFAULT = ("planning", "serving")


def main(arguments: Sequence[str]) -> int:
    """Measures and shows."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all: each but {' and '.join(sorted(LONG))}"
    )
    asked.add_argument("--json", type=Path, metavar="FILE", help="writes the figures there as well")
    given = asked.parse_args(arguments)
    every = [name for name in SUITES if name not in LONG]
    names = every if given.suites == ["all"] else given.suites or list(DEFAULT)
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        asked.error(f"no suite {', '.join(unknown)} (there are {', '.join(SUITES)})")
    found: dict[str, list[Figure]] = {}
    for name in names:
        found[name] = SUITES[name]()
        show(found[name], title=name)
    if given.json is not None:
        suites = {name: [asdict(one) for one in figures] for name, figures in found.items()}
        parts = [asdict(one) for one in spent.measure()]
        document = {"machine": machine(), "suites": suites, "spent": parts}
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if any(one.met is False for figures in found.values() for one in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
