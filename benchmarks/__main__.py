"""`python -m benchmarks [SUITE …] [--json FILE]`: the figures as tables, status 1 where a bar is missed.

Without names: planning, serving. `all` takes every suite, some ten minutes. `--json` writes the figures as well, from
which `python -m benchmarks.page FILE` makes docs/benchmarks.md, and where the time of requests goes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import following, loads, planning, routes, serving, spent, tenants
from benchmarks.figures import Figure, machine, show

SUITES: Mapping[str, Callable[[], list[Figure]]] = {
    "planning": planning.measure,
    "routes": routes.measure,
    "following": following.measure,
    "tenants": tenants.measure,
    "serving": serving.measure,
    "loads": loads.measure,
}
DEFAULT = ("planning", "serving")


def main(arguments: Sequence[str]) -> int:
    """Measures and shows."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all: each of them")
    asked.add_argument("--json", type=Path, metavar="FILE", help="writes the figures there as well")
    given = asked.parse_args(arguments)
    names = list(SUITES) if given.suites == ["all"] else given.suites or list(DEFAULT)
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
