"""Logs of household agents (ALFWorld), as they are: learn from some tasks, and give up runs of others that are lost.

    python examples/household_agent.py LOGS.jsonl.gz [--seeds 5]

Success is told for 1,000 turns: before, of whole runs; after, of runs given up where their odds are below .1.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from somabrain.client import Brain

TRAINING, LOGS, RUNS, BATCH, LOST = 0.8, 1000, 40, 100, 0.1


def main() -> None:
    """Prints success before and after, for each seed and in the mean."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("logs", type=Path, help="ALFWorld runs, one in each line")
    options.add_argument("--seeds", type=int, default=5, help="how many ways to part the tasks")
    given, pairs = options.parse_args(), []
    with gzip.open(given.logs) as lines:
        logs = [log for log in map(json.loads, lines) if log["steps"]]
    for seed in range(given.seeds):
        pairs.append(parted(logs, Random(seed)))
        print(f"seed {seed}: {pairs[-1][0]:.1f} before, {pairs[-1][1]:.1f} after", flush=True)
    before, after = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    print(f"ALFWorld, {given.seeds} seeds: successes in 1,000 turns {before:.1f} before, {after:.1f} after")


def parted(logs: list[dict[str, Any]], random: Random) -> tuple[float, float]:
    """Successes in 1,000 turns of runs after tasks that nothing was learned of, whole and given up where lost."""
    tasks = sorted({log["group"] for log in logs})
    seen = set(random.sample(tasks, round(TRAINING * len(tasks))))
    training = random.sample([log for log in logs if log["group"] in seen], LOGS)
    runs = random.sample([log for log in logs if log["group"] not in seen], RUNS)
    with tempfile.TemporaryDirectory() as folder, Brain(data=folder) as brain:
        for first in range(0, len(training), BATCH):
            brain.learn(training[first : first + BATCH])
        kept = [turns_until_lost(brain, log) for log in runs]
    turns = [log["steps"][-1]["turn"] + 1 for log in runs]
    won = [log["success"] for log in runs]
    lasted = [success and spent == whole for success, spent, whole in zip(won, kept, turns, strict=True)]
    return 1000 * sum(won) / sum(turns), 1000 * sum(lasted) / sum(kept)


def turns_until_lost(brain: Brain, log: dict[str, Any]) -> int:
    """The turns that a run has before its odds are below `LOST`, all where they never are."""
    turn, roles = -1, {"target": log["target"]}
    if log["dest"] and log["dest"] != log["target"]:
        roles["destination"] = log["dest"]
    for step in log["steps"]:
        if step["turn"] != turn:
            turn = step["turn"]
            facts = {name: fact for name, fact in step["state"].items() if name != "turn"}
            odds = brain.predict(facts, agent=log["agent"], steps_taken=turn, roles=roles).success_probability
            if odds < LOST:
                return turn
    return turn + 1


if __name__ == "__main__":
    main()
