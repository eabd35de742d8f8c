"""From a file of logs to a report, without a server: `somabrain learn --local` and `somabrain report`.

    python -m benchmarks.first_day [--logs ../shared/data/alfworld/episodes.jsonl.gz] [--check]

Seconds by the clock and the peak of resident memory, of each command and of both together.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environments.alfworld import DATA
from benchmarks.figures import machine

SECONDS_MAX, MIB_MAX = 60.0, 500.0
KIB_PER_MIB = 1024


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--logs", type=Path, default=DATA / "episodes.jsonl.gz", help="traces")
    options.add_argument("--check", action="store_true", help="fail where a bar is missed")
    given = options.parse_args(arguments)
    table = Table(title=f"From logs to a report\n{machine()}", title_justify="left")
    for column in ("command", "s", "MiB", "bar"):
        table.add_column(column, justify="left" if column in {"command", "bar"} else "right")
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        learned = _ran(Path(folder), "learn", "--local", str(given.logs.resolve()))
        reported = _ran(Path(folder), "report")
    together = (learned[0] + reported[0], max(learned[1], reported[1]))
    for name, (seconds, mib), bar in (
        ("learn --local", learned, ""),
        ("report", reported, ""),
        ("both", together, f"<= {SECONDS_MAX:g} s, <= {MIB_MAX:g} MiB"),
    ):
        table.add_row(name, f"{seconds:.1f}", f"{mib:.0f}", bar)
    Console(width=120).print(table)
    return int(given.check and (together[0] > SECONDS_MAX or together[1] > MIB_MAX))


def _ran(folder: Path, *arguments: str) -> tuple[float, float]:
    """Seconds and MiB of a command in `folder`; one that could not do its work ends this program."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    began = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "somabrain", *arguments], cwd=folder, env=kept, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1}:  # 1: traces without a step are refused
        raise SystemExit(f"somabrain {arguments[0]} ended with status {process.returncode}")
    return seconds, usage.ru_maxrss / KIB_PER_MIB


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
