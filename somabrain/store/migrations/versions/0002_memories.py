"""Memories, and the text that a prototype's vector was made from.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _name(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME, _ID = _name(64), _name(128)
_CHECKSUM = sa.String(64)
_DOUBLE, _DIGEST = sa.Float(53), sa.LargeBinary(32)


def upgrade() -> None:
    """Makes the tables and the column."""
    op.add_column("prototypes", sa.Column("text", sa.Text(), nullable=True))
    op.create_table(
        "memory_spaces",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("memories", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "memories",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("memory_id", _ID, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("importance", _DOUBLE, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("checksum", _CHECKSUM, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace", "memory_id"),
    )
    op.create_index("memories_by_sequence", "memories", ["tenant", "namespace", "sequence"])
    op.create_index("memories_by_expiry", "memories", ["expires_at_ms"])
    op.create_index("memories_by_creation", "memories", ["tenant", "namespace", "created_at_ms"])
    op.create_table(
        "memory_entries",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("entry", _DIGEST, nullable=False),
        sa.Column("memory_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace", "entry", "memory_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("memory_entries_by_memory", "memory_entries", ["tenant", "namespace", "memory_id"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("memory_entries")
    op.drop_table("memories")
    op.drop_table("memory_spaces")
    op.drop_column("prototypes", "text")
