"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

EXIT_CONFIGURATION = 2
"""The exit status of a wrong setting or argument; 1 is that of a command that failed."""

err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
out = Console(highlight=False, emoji=False)


def fail(message: str, status: int = 1) -> NoReturn:
    """Ends the program with one line on standard error."""
    err.print(f"somabrain: {message}", markup=False)
    raise typer.Exit(status)


def print_json(document: Any) -> None:
    """A JSON document on standard output, indented."""
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table on standard output."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Progress]:
    """A bar on standard error with one task, of id 0."""
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        progress.add_task(label, total=total)
        yield progress
