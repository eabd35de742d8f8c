"""What a step costs an agent whose service is down, slow, or answers garbage: odds, advice and the step, recorded.

    python -m benchmarks.client_outage [--runs 20] [--check]

For each way to misbehave as many runs as asked for, of ten turns each, with a client of its own; a turn asks for odds
and advice and takes one step. The cost of a step is the time of its turn without the agent's own work, of which there
is none here.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import MS_PER_S, Figure, figure, show
from somabrain.client import Brain
from tests.misbehaving import NONSENSE, misbehaving
from tests.servers import free_port

TURNS = 10
STEP_MS_MAX = 60.0


def main(arguments: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 where `--check` finds a bar missed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=20, help="runs for each way to misbehave")
    options.add_argument("--check", action="store_true", help="fail where a bar is missed")
    given = options.parse_args(arguments)
    logging.getLogger("somabrain.client").setLevel(logging.ERROR)  # a line for each run that went on without odds
    figures = []
    for name, manners in NONSENSE.items():
        with misbehaving(manners) as url:
            figures.append(_measured(name, url, given.runs))
    figures.append(_measured("nobody there", f"http://127.0.0.1:{free_port()}", given.runs))
    show(figures)
    return int(given.check and any(one.met is False for one in figures))


def _measured(name: str, url: str, runs: int) -> Figure:
    spent = [ms for _ in range(runs) for ms in _run(url)]
    worst = max(spent)
    return figure(f"{name}, worst {worst:.1f}", spent, bar=f"worst <= {STEP_MS_MAX:g} ms", met=worst <= STEP_MS_MAX)


def _run(url: str) -> list[float]:
    """Milliseconds of each turn."""
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        brain = Brain(url, queue=Path(folder) / "queue")
        with brain.episode(goal={"booked": True}, agent="a", budget=2 * TURNS) as episode:
            for turn in range(TURNS):
                began = time.perf_counter()
                facts = {"page": turn}
                episode.odds(facts)
                episode.advice(facts)
                with episode.step(("open", {"page": turn + 1})) as step:
                    step.result(None, facts={"page": turn + 1})
                spent.append(MS_PER_S * (time.perf_counter() - began))
        brain.close()
    return spent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
