"""The tables, as SQLAlchemy Core sees them. The migrations make them; a test compares the two.

Every key starts with the tenant. Texts that callers choose are JSON-encoded (so NUL and the like are escaped) or are
ids of a narrow alphabet, which sort by code point on both engines.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

ID_LENGTH = 128
NAME_LENGTH = 64
DIGEST_LENGTH = 32
CHECKSUM_LENGTH = 64

metadata = MetaData()


def name_type(length: int = NAME_LENGTH) -> String:
    """A string of ids, compared by code point."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _key(name: str, length: int = NAME_LENGTH) -> Column[str]:
    return Column(name, name_type(length), primary_key=True)


meta = Table("meta", metadata, _key("name"), Column("value", Text, nullable=False), sqlite_with_rowid=False)

tenants = Table(
    "tenants", metadata, _key("tenant"), Column("sequence", BigInteger, nullable=False), sqlite_with_rowid=False
)

namespaces = Table(
    "namespaces",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("model_version", BigInteger, nullable=False),
    Column("born", BigInteger, nullable=False),
    Column("learning", Text, nullable=False),
    Column("prototypes", Integer, nullable=False),
    Column("options", Integer, nullable=False),
    Column("active_options", Integer, nullable=False),
    Column("actions", Integer, nullable=False),
    Column("episodes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

options = Table(
    "options",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("option_id", ID_LENGTH),
    Column("status", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("spec", Text, nullable=False),
    Column("kappa", Float(53), nullable=False),
    Column("executions", BigInteger, nullable=False),
    Column("successes", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("censored", BigInteger, nullable=False),
    Column("evidence_runs", BigInteger, nullable=False),
    Column("evidence_feature", Float(53), nullable=False),
    Column("evidence_reward", Float(53), nullable=False),
    Column("build", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

model_rows = Table(
    "model_rows",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("option_id", ID_LENGTH),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("z", Float(53), nullable=False),
    Column("executions", BigInteger, nullable=False),
    Column("duration", Float(53), nullable=False),
    Column("reward", Float(53), nullable=False),
    Column("feature", Float(53), nullable=False),
    Column("outcomes", LargeBinary, nullable=False),
    Index("model_rows_by_start", "tenant", "namespace", "start"),
    sqlite_with_rowid=False,
)

prototypes = Table(
    "prototypes",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("facts", Text, nullable=True),
    Column("vector", LargeBinary, nullable=True),
    Column("text", Text, nullable=True),
    Column("visits", BigInteger, nullable=False),
    Column("arrivals", BigInteger, nullable=False),
    Column("endings", BigInteger, nullable=False),
    Column("marks", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("prototypes_by_change", "tenant", "namespace", "changed"),
)

actions = Table(
    "actions",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("option_id", name_type(ID_LENGTH), nullable=False),
    sqlite_with_rowid=False,
)

primitive_rows = Table(
    "primitive_rows",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("action", Integer, primary_key=True, autoincrement=False),
    Column("reward", Float(53), nullable=False),
    Column("loss", Float(53), nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("fresh", Boolean, nullable=False),
    Column("outcomes", LargeBinary, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("primitive_rows_by_change", "tenant", "namespace", "changed"),
    sqlite_with_rowid=False,
)

episodes = Table(
    "episodes",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("episode_id", ID_LENGTH),
    Column("sequence", BigInteger, nullable=False),
    Column("body_sha256", LargeBinary(DIGEST_LENGTH), nullable=False),
    Column("success", Boolean, nullable=True),
    Column("outcome_sequence", BigInteger, nullable=True),
    sqlite_with_rowid=False,
)

option_models = Table(
    "option_models",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("option_id", ID_LENGTH),
    Column("build", BigInteger, primary_key=True, autoincrement=False),
    Column("model", LargeBinary, nullable=False),
)

option_uses = Table(
    "option_uses",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("option_id", ID_LENGTH),
    Column("used_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

consolidations = Table(
    "consolidations",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("requested", BigInteger, nullable=False),
    Column("through", BigInteger, nullable=False),
    Column("episodes", BigInteger, nullable=False),
    Column("build", BigInteger, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("terminal", LargeBinary, nullable=False),
    Column("started_at_ms", BigInteger, nullable=True),
    Column("finished_at_ms", BigInteger, nullable=True),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("result", Text, nullable=False),
    Column("problem", Text, nullable=True),
    sqlite_with_rowid=False,
)

agents = Table(
    "agents",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("agent", LargeBinary(DIGEST_LENGTH), primary_key=True),
    Column("label", Text, nullable=False),
    sqlite_with_rowid=False,
)

odds = Table(
    "odds",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("state", Integer, primary_key=True, autoincrement=False),
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("agent", LargeBinary(DIGEST_LENGTH), primary_key=True),
    Column("episodes", BigInteger, nullable=False),
    Column("successes", BigInteger, nullable=False),
    Column("steps_left", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

predictions = Table(
    "predictions",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("episode_id", ID_LENGTH),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("probability", Float(53), nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("agent", Text, nullable=True),
    Column("told_at_ms", BigInteger, nullable=False),
    Index("predictions_by_age", "told_at_ms"),
    sqlite_with_rowid=False,
)

scores = Table(
    "scores",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("agent", LargeBinary(DIGEST_LENGTH), primary_key=True),
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("successes", BigInteger, nullable=False),
    Column("predicted", Float(53), nullable=False),
    Column("squares", Float(53), nullable=False),
    Column("steps", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

memory_spaces = Table(
    "memory_spaces",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("version", BigInteger, nullable=False),
    Column("memories", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

memories = Table(
    "memories",
    metadata,
    _key("tenant"),
    _key("namespace"),
    _key("memory_id", ID_LENGTH),
    Column("sequence", BigInteger, nullable=False),
    Column("importance", Float(53), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=True),
    Column("checksum", String(CHECKSUM_LENGTH), nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("content", Text, nullable=False),
    Index("memories_by_sequence", "tenant", "namespace", "sequence"),
    Index("memories_by_expiry", "expires_at_ms"),
    Index("memories_by_creation", "tenant", "namespace", "created_at_ms"),
)

memory_entries = Table(
    "memory_entries",
    metadata,
    _key("tenant"),
    _key("namespace"),
    Column("entry", LargeBinary(DIGEST_LENGTH), primary_key=True),
    _key("memory_id", ID_LENGTH),
    Index("memory_entries_by_memory", "tenant", "namespace", "memory_id"),
    sqlite_with_rowid=False,
)

journal = Table(
    "journal",
    metadata,
    _key("tenant"),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", String(36), nullable=False),
    Column("type", String(64), nullable=False),
    Column("namespace", name_type(), nullable=False),
    Column("option_id", name_type(ID_LENGTH), nullable=True),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("reported_by", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("request", Text, nullable=True),
    Index("journal_by_namespace", "tenant", "namespace", "sequence"),
)

replies = Table(
    "replies",
    metadata,
    _key("tenant"),
    Column("scope", LargeBinary(DIGEST_LENGTH), primary_key=True),
    Column("body_sha256", LargeBinary(DIGEST_LENGTH), nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Index("replies_by_expiry", "expires_at_ms"),
)

relay_positions = Table(
    "relay_positions",
    metadata,
    _key("sink"),
    _key("tenant"),
    Column("sequence", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

OWNED = (
    prototypes,
    options,
    model_rows,
    actions,
    primitive_rows,
    episodes,
    option_models,
    option_uses,
    consolidations,
    agents,
    odds,
    predictions,
    scores,
)
"""What a namespace holds, its record and memories apart."""
