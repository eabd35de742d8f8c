"""Commands that need no server: settings, keys, and the replay of a journal."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sys import maxsize
from typing import Any

import typer
from dotenv import dotenv_values
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from common.config.settings import Settings
from somabrain.bootstrap import new_key, open_store
from somabrain.bootstrap.oak import oak_limits, open_worlds
from somabrain.commands.output import EXIT_CONFIGURATION, err, fail, print_json, print_table, progress_bar
from somabrain.commands.remote import Server
from somabrain.embedded import LOOPBACK, open_service
from somabrain.errors import ConfigurationError, SomabrainError
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.replay import Replay, builds_of, entries_of
from somabrain.oak.transfer import export_model
from somabrain.ports import Store
from somabrain.tenancy import Namespace, TenantId

SECRETS = frozenset({"milvus_token", "embedder_key"})
"""Settings whose values are not shown."""

REPLAY_BATCH = 1000
"""Journal entries of one scratch transaction: bounds memory, changes no result."""


@contextmanager
def server_in_process(settings: Settings, namespace: str) -> Iterator[Server]:
    """The service in this process, with the data of these settings and no port, asked as a server is."""
    try:
        service = open_service(settings.somabrain_data_dir)
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    try:
        yield Server(url=f"http://{LOOPBACK}", key=None, namespace=namespace, transport=service)
    finally:
        service.close()


def show_settings(settings: Settings, *, as_json: bool) -> None:
    """Each setting with its value, where it comes from, and what it may be."""
    in_file = {name.upper() for name in dotenv_values(".env")} if Path(".env").is_file() else set()
    rows = []
    for name, field in Settings.model_fields.items():
        key = name.upper()
        source = "environment" if os.environ.get(key) else ".env" if key in in_file else "default"
        rows.append(
            {
                "name": key,
                "value": _shown(name, getattr(settings, name)),
                "source": source,
                "range": allowed_values(field),
                "description": field.description or "",
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_table(("setting", "value", "source", "range", "what it does"), [tuple(row.values()) for row in rows])


def _shown(name: str, value: Any) -> str:
    if name == "database_url" and value:
        try:
            return make_url(value).render_as_string(hide_password=True)
        except ArgumentError:
            return "(not a URL)"
    if name in SECRETS and value:
        return "(hidden)"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def allowed_values(field: Any) -> str:
    """What a setting may be: its bounds, its choices, or its type."""
    bounds = {type(part).__name__: part for part in field.metadata}
    low = bounds.get("Ge") or bounds.get("Gt")
    high = bounds.get("Le") or bounds.get("Lt")
    if low is None and high is None:
        choices = getattr(field.annotation, "__args__", ())
        plain = [str(choice) for choice in choices if isinstance(choice, str)]
        return " or ".join(plain) or getattr(field.annotation, "__name__", "path")
    left = "" if low is None else f"{low.ge} ≤ " if hasattr(low, "ge") else f"{low.gt} < "
    right = "" if high is None else f" ≤ {high.le}" if hasattr(high, "le") else f" < {high.lt}"
    return f"{left}x{right}"


def make_key(settings: Settings, *, tenant: str, subject: str, roles: Sequence[str], days: int | None) -> None:
    """Makes a key and prints it: it is not stored and can't be shown again."""
    path = settings.somabrain_keys_file
    if path is None:
        fail("SOMABRAIN_KEYS_FILE: say in which file the keys are kept", EXIT_CONFIGURATION)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        key = new_key(path, tenant=TenantId(tenant), subject=subject, roles=roles, expires_at=expires_at)
    except (ConfigurationError, SomabrainError) as error:
        fail(str(error), EXIT_CONFIGURATION)
    err.print(f"A key of tenant {tenant} for {subject} ({', '.join(roles)}), kept as its SHA-256 in {path}:")
    typer.echo(key)


def replay(settings: Settings, *, tenant: str, namespace: str, output: Path | None, as_json: bool) -> None:
    """Makes a namespace's model again from its journal and compares it with the one in the database.

    Ends with status 1 where the two differ.
    """
    owner, world = TenantId(tenant), Namespace(namespace)
    with opened(settings) as store:
        with store.read(owner) as tx:
            record, through = tx.namespace(world), tx.sequence()
            current = export_model(tx, world, settings.memory_dim)
        if record is None:
            fail(f"tenant {tenant} has no namespace {namespace}")
        limits = replace(
            oak_limits(settings),
            learning=record.learning,
            options_max=maxsize,
            prototypes_max=maxsize,
            actions_max=maxsize,
        )
        builds = builds_of(entries_of(store, owner, world, batch=REPLAY_BATCH, through=through))
        entries = entries_of(store, owner, world, batch=REPLAY_BATCH, through=through)
        with tempfile.TemporaryDirectory(prefix="somabrain-replay-") as folder:
            apart = settings.model_copy(update={"database_url": "", "somabrain_data_dir": Path(folder)})
            with opened(apart) as scratch, progress_bar("replaying", None) as bar:
                manager = OptionManager(limits=limits, worlds=open_worlds(apart))
                Replay(scratch, manager, limits, owner, builds=builds).run(
                    entries, batch=REPLAY_BATCH, progress=lambda count: bar.advance(bar.task_ids[0], count)
                )
                with scratch.read(owner) as tx:
                    again = export_model(tx, world, settings.memory_dim)
    if output is not None:
        output.write_bytes(again)
    report = {
        "identical": again == current,
        "bytes": len(again),
        "replayed_sha256": hashlib.sha256(again).hexdigest(),
        "stored_sha256": hashlib.sha256(current).hexdigest(),
        "through_sequence": through,
    }
    if as_json:
        print_json(report)
    else:
        same = "the same" if report["identical"] else "DIFFERENT"
        print_table(("", ""), [(name, str(value)) for name, value in report.items()], f"The replayed model is {same}.")
    if again != current:
        fail("the journal and the database disagree")


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The system of record; ends with status 2 where settings are wrong."""
    try:
        with open_store(settings) as store:
            yield store
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
