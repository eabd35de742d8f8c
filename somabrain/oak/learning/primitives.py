"""The primitive model: what steps of episodes teach, and its table (DESIGN §5.4). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import Arrivals, PrimitiveRow, PrimitiveTable

ACTION_BITS = 32
"""An action number's share of a pair's key."""


def stepped(
    row: PrimitiveRow | None, start: int, action: int, *, outcome: int, reward: float, ok: bool | None, fresh: bool
) -> PrimitiveRow:
    """The row of (`start`, `action`) after one more step, which led to `outcome`.

    `row` is `None` before the first; only then `fresh` counts: `outcome` was never seen before.
    """
    before = row or PrimitiveRow(
        start=start, action=action, reward=0.0, loss=0.0, refused=0, fresh=fresh, outcomes=(), counts=()
    )
    counts = dict(zip(before.outcomes, before.counts, strict=True))
    counts[outcome] = counts.get(outcome, 0) + 1
    outcomes = tuple(sorted(counts))
    return PrimitiveRow(
        start=start,
        action=action,
        reward=before.reward + reward,
        loss=before.loss + max(0.0, -reward),
        refused=before.refused + (ok is False),
        fresh=before.fresh,
        outcomes=outcomes,
        counts=tuple(counts[y] for y in outcomes),
    )


def rewarded(row: PrimitiveRow, *, before: float, extra: float) -> PrimitiveRow:
    """The row once one of its steps, counted with the reward `before`, turns out to have earned `extra` more."""
    loss = row.loss - max(0.0, -before) + max(0.0, -(before + extra))
    return replace(row, reward=row.reward + extra, loss=max(0.0, loss))


def primitive_table(
    rows: Sequence[PrimitiveRow], arrivals: Sequence[Arrivals], action_ids: Sequence[str], states: int
) -> PrimitiveTable:
    """The table of `rows` in any order. States without arrivals are not terminal.

    `action_ids` by action number; `states` is the number of prototypes.
    """
    ordered = sorted(rows, key=lambda row: (row.start, row.action))
    count = len(ordered)
    lengths = np.fromiter((len(row.outcomes) for row in ordered), dtype=np.int64, count=count)
    offset = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    return PrimitiveTable(
        action_ids=tuple(action_ids),
        states=states,
        start=np.fromiter((row.start for row in ordered), dtype=np.int32, count=count),
        action=np.fromiter((row.action for row in ordered), dtype=np.int32, count=count),
        count=np.fromiter((sum(row.counts) for row in ordered), dtype=np.int64, count=count),
        reward=np.fromiter((row.reward for row in ordered), dtype=np.float64, count=count),
        loss=np.fromiter((row.loss for row in ordered), dtype=np.float64, count=count),
        fresh=np.fromiter((row.fresh for row in ordered), dtype=np.bool_, count=count),
        offset=offset,
        outcome=np.fromiter(chain.from_iterable(row.outcomes for row in ordered), dtype=np.int32),
        outcome_count=np.fromiter(chain.from_iterable(row.counts for row in ordered), dtype=np.int64),
        terminal=_terminal(np.zeros(0, dtype=np.bool_), arrivals, states),
    )


def updated(
    table: PrimitiveTable,
    rows: Sequence[PrimitiveRow],
    arrivals: Sequence[Arrivals],
    action_ids: Sequence[str],
    states: int,
) -> PrimitiveTable:
    """`table` with `rows` and `arrivals` in place of those of the same pairs and prototypes: as if built afresh.

    `action_ids` and `states` have only grown.
    """
    new = primitive_table(rows, arrivals, action_ids, states)
    old_key, new_key = _keys(table), _keys(new)
    place = np.searchsorted(old_key, new_key)
    known = place < old_key.size
    known[known] = old_key[place[known]] == new_key[known]
    kept = np.ones(old_key.size, dtype=np.bool_)
    kept[place[known]] = False
    order = np.argsort(np.concatenate([old_key[kept], new_key]), kind="stable")
    pairs = np.concatenate([np.flatnonzero(kept), old_key.size + np.arange(new_key.size)])[order]
    lengths = np.concatenate([np.diff(table.offset), np.diff(new.offset)])
    first = np.concatenate([table.offset[:-1], table.offset[-1] + new.offset[:-1]])
    taken = lengths[pairs]
    offset = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(taken)])
    outcomes = np.repeat(first[pairs] - offset[:-1], taken) + np.arange(offset[-1])
    return PrimitiveTable(
        action_ids=tuple(action_ids),
        states=states,
        start=np.concatenate([table.start, new.start])[pairs],
        action=np.concatenate([table.action, new.action])[pairs],
        count=np.concatenate([table.count, new.count])[pairs],
        reward=np.concatenate([table.reward, new.reward])[pairs],
        loss=np.concatenate([table.loss, new.loss])[pairs],
        fresh=np.concatenate([table.fresh, new.fresh])[pairs],
        offset=offset,
        outcome=np.concatenate([table.outcome, new.outcome])[outcomes],
        outcome_count=np.concatenate([table.outcome_count, new.outcome_count])[outcomes],
        terminal=_terminal(table.terminal, arrivals, states),
    )


def _keys(table: PrimitiveTable) -> NDArray[np.int64]:
    """One ascending number for each pair."""
    return (table.start.astype(np.int64) << ACTION_BITS) + table.action


def _terminal(before: NDArray[np.bool_], arrivals: Sequence[Arrivals], states: int) -> NDArray[np.bool_]:
    terminal = np.zeros(states, dtype=np.bool_)
    terminal[: before.size] = before
    for one in arrivals:
        terminal[one.number] = one.terminal
    return terminal
