"""An agent that calls flaky tools for a customer who wants a refund, within ten calls: at first with no idea which.

    python examples/support_agent.py [--seeds 5]

Chance stands where a language model would choose; "after" it takes what `brain.act` says runs before it taught.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import suppress
from random import Random

from somabrain.client import Brain

BUDGET, RUNS = 10, 100
FAILS = {"find_order": 0.3, "search_archive": 0.1, "verify": 0.1, "check_policy": 0.05, "pay": 0.5, "pay_by_bank": 0.1}
NEEDS = {"verify": "order", "check_policy": "order", "pay": "policy", "pay_by_bank": "policy"}
GIVES = {"find_order": "order", "search_archive": "order", "verify": "verified", "check_policy": "policy"}


class Desk:
    """The tools. An archive search ends the talk in one of five cases, since customers do not like to wait for it."""

    def __init__(self, random: Random) -> None:
        self.random, self.over, self.refunded = random, False, False
        self.done = {"order": False, "verified": False, "policy": False}

    def facts(self) -> dict[str, bool]:
        """What the agent knows."""
        return {**self.done, "refunded": self.refunded, "over": self.over}

    def call(self, tool: str) -> None:
        """Calls a tool. Raises `RuntimeError` where it fails."""
        if tool == "search_archive" and self.random.random() < 0.2:
            self.over = True
        if not self.done.get(NEEDS.get(tool, ""), True) or self.random.random() < FAILS[tool]:
            raise RuntimeError(f"{tool} failed")
        if tool in GIVES:
            self.done[GIVES[tool]] = True
        else:
            self.over, self.refunded = True, self.done["verified"]


def run(brain: Brain, random: Random, *, follow: bool) -> bool:
    """One talk with a customer, recorded; whether they got their money."""
    desk = Desk(random)
    with brain.episode(agent="support", budget=BUDGET) as episode:
        while not desk.over and episode.turns < BUDGET:
            episode.observe(desk.facts())
            learned = brain.act(desk.facts(), {"refunded": True}).action if follow else None
            tool = random.choice(list(FAILS)) if learned is None else str(learned)
            with suppress(RuntimeError), episode.step(tool):
                desk.call(tool)
            episode.after(desk.facts())
        episode.outcome(success=desk.refunded)
    return desk.refunded


def main() -> None:
    """Prints success before and after, for each seed and in the mean."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=5, help="how many agents learn, each from nothing")
    seeds, pairs = options.parse_args().seeds, []
    for seed in range(seeds):
        random = Random(seed)
        with tempfile.TemporaryDirectory() as folder, Brain(data=folder) as brain:
            before = sum(run(brain, random, follow=False) for _ in range(RUNS)) / RUNS
            brain.flush()
            after = sum(run(brain, random, follow=True) for _ in range(RUNS)) / RUNS
        pairs.append((before, after))
        print(f"seed {seed}: {before:.3f} before, {after:.3f} after", flush=True)
    before, after = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    print(f"refunds, {seeds} seeds: success {before:.3f} before, {after:.3f} after")


if __name__ == "__main__":
    main()
