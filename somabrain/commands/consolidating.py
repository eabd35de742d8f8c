"""Commands about what episodes taught: work out options now, say what makes a world hard to learn."""

from __future__ import annotations

import time
from typing import Any

from somabrain.commands.output import fail, out, print_json, print_table, progress_bar
from somabrain.commands.remote import Server

LOOK_S = 0.1
"""Pause between looks at how far it has come."""


def consolidate(server: Server, *, as_json: bool) -> None:
    """Asks for options to be worked out, shows how far that is, and tells what came of it."""
    answer = server.ask("POST", "/oak/consolidate", json={"namespace": server.namespace}).json()
    wanted = answer["requested"]
    with progress_bar("working out options", None) as bar:
        while answer["through_sequence"] < wanted:
            if answer["state"] == "failed":
                fail(f"it failed: {answer['problem']}")
            bar.update(bar.task_ids[0], completed=answer["done"], total=answer["total"] or None)
            time.sleep(LOOK_S)
            answer = server.ask("GET", "/oak/consolidation", params={"namespace": server.namespace}).json()
        bar.update(bar.task_ids[0], completed=answer["done"], total=answer["total"])
    if as_json:
        print_json(answer)
    elif answer["result"] is None:
        out.print(f"Nothing to work out: no episode was reported in namespace {server.namespace}.")
    else:
        rows = [(name.replace("_", " "), str(value)) for name, value in answer["result"].items()]
        print_table(("", ""), rows, "What was worked out")


def diagnose(server: Server, *, as_json: bool) -> None:
    """Tells what makes the namespace's world hard to learn."""
    answer: dict[str, Any] = server.ask("GET", "/oak/diagnosis", params={"namespace": server.namespace}).json()
    if as_json:
        print_json(answer)
        return
    counts = ("episodes", "steps", "prototypes", "actions")
    out.print(", ".join(f"{answer[name]} {name}" for name in counts))
    rates = " ".join(f"{rate:.3f}" for rate in answer["new_states_per_step"])
    out.print(f"New states a step, from first to last: {rates or '-'}")
    if not answer["findings"]:
        out.print("Nothing stands out.")
    for finding in answer["findings"]:
        out.print(f"{finding['code']} ({finding['value']:.3g}): {finding['advice']}")
