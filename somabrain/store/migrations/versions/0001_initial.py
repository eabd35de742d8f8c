"""The first tables.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _name(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME, _ID = _name(64), _name(128)
_WORD, _UUID, _TYPE = sa.String(16), sa.String(36), sa.String(64)
_DOUBLE = sa.Float(53)
_DIGEST = sa.LargeBinary(32)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "meta",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tenants",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "namespaces",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("model_version", sa.BigInteger(), nullable=False),
        sa.Column("born", sa.BigInteger(), nullable=False),
        sa.Column("learning", sa.Text(), nullable=False),
        sa.Column("prototypes", sa.Integer(), nullable=False),
        sa.Column("options", sa.Integer(), nullable=False),
        sa.Column("active_options", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "options",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("option_id", _ID, nullable=False),
        sa.Column("status", _WORD, nullable=False),
        sa.Column("source", _WORD, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("kappa", _DOUBLE, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("censored", sa.BigInteger(), nullable=False),
        sa.Column("evidence_runs", sa.BigInteger(), nullable=False),
        sa.Column("evidence_feature", _DOUBLE, nullable=False),
        sa.Column("evidence_reward", _DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace", "option_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_rows",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("option_id", _ID, nullable=False),
        sa.Column("start", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("z", _DOUBLE, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("duration", _DOUBLE, nullable=False),
        sa.Column("reward", _DOUBLE, nullable=False),
        sa.Column("feature", _DOUBLE, nullable=False),
        sa.Column("outcomes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace", "option_id", "start"),
        sqlite_with_rowid=False,
    )
    op.create_index("model_rows_by_start", "model_rows", ["tenant", "namespace", "start"])
    op.create_table(
        "prototypes",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.Column("visits", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace", "number"),
    )
    op.create_table(
        "journal",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("type", _TYPE, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        sa.Column("option_id", _ID, nullable=True),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sequence"),
    )
    op.create_index("journal_by_namespace", "journal", ["tenant", "namespace", "sequence"])
    op.create_table(
        "replies",
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("scope", _DIGEST, nullable=False),
        sa.Column("body_sha256", _DIGEST, nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "scope"),
    )
    op.create_index("replies_by_expiry", "replies", ["expires_at_ms"])
    op.create_table(
        "relay_positions",
        sa.Column("sink", _NAME, nullable=False),
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sink", "tenant"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drops the tables."""
    op.drop_table("relay_positions")
    op.drop_table("replies")
    op.drop_table("journal")
    op.drop_table("prototypes")
    op.drop_table("model_rows")
    op.drop_table("options")
    op.drop_table("namespaces")
    op.drop_table("tenants")
    op.drop_table("meta")
