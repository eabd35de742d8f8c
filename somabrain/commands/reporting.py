"""`somabrain report`: a page about a namespace's runs, from the database, beside a running server or without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from common.config.settings import Settings
from somabrain.bootstrap import missing_database
from somabrain.commands.local import opened
from somabrain.commands.output import EXIT_CONFIGURATION, fail, out, print_json, progress_bar
from somabrain.commands.remote import pairs_argument
from somabrain.errors import SomabrainError
from somabrain.oak.learning import facts
from somabrain.oak.model import Facts
from somabrain.oak.reporting import actions_of, known_of, states_of
from somabrain.report import Names, findings, labels, page, sentences
from somabrain.tenancy import Namespace, TenantId

MADE_AT = "%Y-%m-%d %H:%M UTC"
"""How the page says when it was made."""


def goal_argument(pairs: Sequence[str]) -> Facts | None:
    """The facts that success is; `None` without any: then it is what the runs' reporters say."""
    if not pairs:
        return None
    named = {name: value for pair in pairs for name, value in pairs_argument(pair).items()}
    try:
        return facts(named)
    except SomabrainError as error:
        fail(f"--goal: {error.detail}", EXIT_CONFIGURATION)


def report(settings: Settings, *, tenant: str, namespace: str, goal: Facts | None, output: Path, as_json: bool) -> None:
    """Writes the page, and tells the most useful of it; ends with status 1 where there is nothing to report on."""
    try:
        owner, world = TenantId(tenant), Namespace(namespace)
    except SomabrainError as error:
        fail(error.detail, EXIT_CONFIGURATION)
    missing = missing_database(settings)
    if missing is not None:
        fail(f"there is no database at {missing}: see SOMABRAIN_DATA_DIR and DATABASE_URL", EXIT_CONFIGURATION)
    with opened(settings) as store, store.read(owner) as tx:
        record = tx.namespace(world)
        if record is None:
            fail(f"tenant {tenant} has no namespace {namespace}")
        if not record.episodes:
            fail(f"namespace {namespace} has no episodes yet: report some, or see `somabrain learn`")
        with progress_bar("reading and scoring runs", 2 * record.episodes) as bar:

            def progress(count: int) -> None:
                bar.advance(bar.task_ids[0], count)

            found = findings(known_of(tx, record, goal=goal, progress=progress), progress)
            bar.update(bar.task_ids[0], completed=2 * record.episodes)
        states, actions = states_of(tx, record, found), actions_of(tx, record, found)
    names = Names(states=labels(states), actions=actions)
    try:
        output.write_text(page(found, names, made_at=datetime.now(UTC).strftime(MADE_AT)), encoding="utf-8")
    except OSError as error:
        fail(f"{output}: {error.strerror}", EXIT_CONFIGURATION)
    said = sentences(found, names)
    if as_json:
        print_json(
            {
                "path": str(output.resolve()),
                "summary": said,
                "findings": asdict(found),
                "states": {str(number): state for number, state in states.items()},
                "actions": {str(number): name for number, name in actions.items()},
            }
        )
        return
    for sentence in said:
        out.print(sentence, markup=False, soft_wrap=True)
    out.print(f"The page: {output.resolve()}", markup=False, soft_wrap=True)
