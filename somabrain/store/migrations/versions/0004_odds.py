"""Counts behind the odds of runs, the odds that were told, and how they did.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _name(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME, _ID = _name(64), _name(128)
_DIGEST, _DOUBLE = sa.LargeBinary(32), sa.Float(53)


def _owned(table: str, *columns: sa.Column[object], key: tuple[str, ...]) -> None:
    op.create_table(
        table,
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("tenant", "namespace", *key),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    """Makes the tables."""
    _owned(
        "agents",
        sa.Column("agent", _DIGEST, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        key=("agent",),
    )
    _owned(
        "odds",
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("agent", _DIGEST, nullable=False),
        sa.Column("episodes", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("steps_left", sa.BigInteger(), nullable=False),
        key=("state", "kind", "place", "agent"),
    )
    _owned(
        "predictions",
        sa.Column("episode_id", _ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("probability", _DOUBLE, nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("told_at_ms", sa.BigInteger(), nullable=False),
        key=("episode_id", "number"),
    )
    op.create_index("predictions_by_age", "predictions", ["told_at_ms"])
    _owned(
        "scores",
        sa.Column("agent", _DIGEST, nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("predicted", _DOUBLE, nullable=False),
        sa.Column("squares", _DOUBLE, nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        key=("agent", "kind", "place"),
    )


def downgrade() -> None:
    """Drops them."""
    for table in ("scores", "predictions", "odds", "agents"):
        op.drop_table(table)
