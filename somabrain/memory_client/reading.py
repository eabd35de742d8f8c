"""Options as SQL has them, as documents for the vector engine: a page of them in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from somabrain.memory_client.documents import projected_option
from somabrain.oak.model import FAIL, ModelRow, Option
from somabrain.ports import Projected, ReadTransaction
from somabrain.tenancy import Namespace

OPTIONS_MAX = 4
"""Options whose documents are made at once: some milliseconds, in which requests beside wait for the interpreter."""

ROWS_MAX = 10_000
"""Most model rows that are held at once, but for an option that has more."""


def projected_options(
    tx: ReadTransaction,
    namespace: Namespace,
    options: Iterable[Option],
    *,
    dimension: int,
    bytes_max: int,
    rows_max: int = ROWS_MAX,
    breathe: Callable[[], None] = lambda: None,
) -> list[Projected]:
    """The documents of these options, ascending by id; those of few rows are read together, some at a time.

    `breathe` is called after each few.
    """
    sequence = tx.sequence()
    found: list[Projected] = []
    for some, rows in _with_rows(tx, namespace, sorted(options, key=_id), rows_max):
        if found:
            breathe()
        states = tx.states(namespace, sorted(_numbers(rows)))
        own = {option_id: list(each) for option_id, each in groupby(rows, key=_id)}
        found += [
            projected_option(
                namespace,
                option,
                own.get(option.option_id, []),
                states,
                dimension=dimension,
                sequence=sequence,
                bytes_max=bytes_max,
            )
            for option in some
        ]
    return found


def _with_rows(
    tx: ReadTransaction, namespace: Namespace, options: Sequence[Option], rows_max: int
) -> Iterator[tuple[Sequence[Option], list[ModelRow]]]:
    """The options in parts, each with all its rows, which are `rows_max` at most unless it is one option."""
    left = options
    while left:
        some = left[:OPTIONS_MAX]
        rows = tx.rows_of(namespace, map(_id, some), limit=rows_max + 1)
        if len(rows) > rows_max:
            cut = rows[-1]
            some = [each for each in some if each.option_id < cut.option_id]
            if some:
                rows = [row for row in rows if row.option_id < cut.option_id]
            else:
                some, rows = left[:1], rows + tx.rows(namespace, option_id=cut.option_id, after=cut.start)
        yield some, rows
        left = left[len(some) :]


def _numbers(rows: Iterable[ModelRow]) -> set[int]:
    """Prototypes that the rows name."""
    named = {number for row in rows for number in (row.start, *row.outcomes)}
    return named - {FAIL}


def _id(owner: Option | ModelRow) -> str:
    return owner.option_id
