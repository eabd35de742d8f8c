"""Episodes, the primitive model, and the option models made of it.

Revision ID: 0003
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _name(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME, _ID = _name(64), _name(128)
_DIGEST, _DOUBLE = sa.LargeBinary(32), sa.Float(53)

LEARNING_ADDED = {"reward_threshold": 0.5, "novelty_threshold": 0.2, "success_reward": 1.0}
"""What namespaces of earlier revisions learn with: the defaults of OAK_REWARD_THRESHOLD and its kin."""

_COUNTS = {
    "namespaces": (("actions", sa.Integer()), ("episodes", sa.BigInteger())),
    "options": (("build", sa.BigInteger()),),
    "prototypes": (
        ("arrivals", sa.BigInteger()),
        ("endings", sa.BigInteger()),
        ("marks", sa.Integer()),
        ("changed", sa.BigInteger()),
    ),
}


def _owned(table: str, *columns: sa.Column[object], key: tuple[str, ...], rowid: bool = False) -> None:
    op.create_table(
        table,
        sa.Column("tenant", _NAME, nullable=False),
        sa.Column("namespace", _NAME, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("tenant", "namespace", *key),
        sqlite_with_rowid=rowid,
    )


def upgrade() -> None:
    """Makes the tables and the columns."""
    for table, columns in _COUNTS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default="0"))
    op.create_index("prototypes_by_change", "prototypes", ["tenant", "namespace", "changed"])
    _owned(
        "actions",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("option_id", _ID, nullable=False),
        key=("number",),
    )
    _owned(
        "primitive_rows",
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("action", sa.Integer(), nullable=False),
        sa.Column("reward", _DOUBLE, nullable=False),
        sa.Column("loss", _DOUBLE, nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("fresh", sa.Boolean(), nullable=False),
        sa.Column("outcomes", sa.LargeBinary(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        key=("start", "action"),
    )
    op.create_index("primitive_rows_by_change", "primitive_rows", ["tenant", "namespace", "changed"])
    _owned(
        "episodes",
        sa.Column("episode_id", _ID, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("body_sha256", _DIGEST, nullable=False),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("outcome_sequence", sa.BigInteger(), nullable=True),
        key=("episode_id",),
    )
    _owned(
        "option_models",
        sa.Column("option_id", _ID, nullable=False),
        sa.Column("build", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.LargeBinary(), nullable=False),
        key=("option_id", "build"),
        rowid=True,
    )
    _owned(
        "option_uses",
        sa.Column("option_id", _ID, nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False),
        key=("option_id",),
    )
    _owned(
        "consolidations",
        sa.Column("requested", sa.BigInteger(), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.Column("episodes", sa.BigInteger(), nullable=False),
        sa.Column("build", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("terminal", sa.LargeBinary(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        key=(),
    )
    _rewrite_learning({**LEARNING_ADDED}, frozenset())


def downgrade() -> None:
    """Drops them."""
    for table in ("consolidations", "option_uses", "option_models", "episodes", "primitive_rows", "actions"):
        op.drop_table(table)
    op.drop_index("prototypes_by_change", "prototypes")
    for table, columns in _COUNTS.items():
        for name, _ in columns:
            op.drop_column(table, name)
    _rewrite_learning({}, frozenset(LEARNING_ADDED))


def _rewrite_learning(added: dict[str, float], dropped: frozenset[str]) -> None:
    table = sa.table("namespaces", *(sa.column(name) for name in ("tenant", "namespace", "learning")))
    connection = op.get_bind()
    for tenant, namespace, learning in connection.execute(sa.select(table)).all():
        kept = {name: value for name, value in json.loads(learning).items() if name not in dropped}
        connection.execute(
            sa.update(table)
            .where(table.c.tenant == tenant, table.c.namespace == namespace)
            .values(learning=json.dumps({**added, **kept}, separators=(",", ":")))
        )
