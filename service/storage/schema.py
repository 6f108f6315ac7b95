"""Tables of the store: SQLAlchemy Core, portable types, `tenant` in every primary key.

Times are whole microseconds since the epoch, JSON is text. The event log's key is its offset `seq`;
AUTOINCREMENT keeps a deleted offset from ever being used again. Changes need a new migration:
a test compares this module with what the migrations make.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def residual(column: Column[str]) -> ColumnElement[str]:
    """Return `column` in a form that no index serves, for a condition that is to be checked row by row.

    SQLite takes ``tenant = ?`` for a good reason to leave the log's own order, walk the index of
    (tenant, event_id) from end to end and sort: 0.7 s a page at five million rows, against 0.01 s.
    """
    return column.concat("")


# SQLite gives a row its number only for the exact type INTEGER.
_OFFSET = BigInteger().with_variant(Integer(), "sqlite")

event = Table(
    "event",
    metadata,
    Column("seq", _OFFSET, primary_key=True, autoincrement=True),
    Column("tenant", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("type", String, nullable=False),
    Column("person_id", String, nullable=False),
    Column("user_id", String),
    Column("anonymous_id", String),
    Column("occurred_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("source", String, nullable=False),
    Column("trust", String, nullable=False),
    Column("properties", Text, nullable=False),
    Column("privacy", String),
    UniqueConstraint("tenant", "event_id", name="event_id_once"),
    sqlite_autoincrement=True,
)

# Clustered by person and time, so that the newest interactions of one person are neighbours on disk.
interaction = Table(
    "interaction",
    metadata,
    Column("tenant", String, nullable=False),
    Column("person_id", String, nullable=False),
    Column("occurred_us", BigInteger, nullable=False),
    Column("event_id", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("event_type", String, nullable=False),
    Column("quantity", Float, nullable=False),
    PrimaryKeyConstraint("tenant", "person_id", "occurred_us", "event_id", "item_id"),
    sqlite_with_rowid=False,
)

# How often and when a person did what; clustered by person. Sums, least and greatest: order cannot matter.
person_activity = Table(
    "person_activity",
    metadata,
    Column("tenant", String, nullable=False),
    Column("person_id", String, nullable=False),
    Column("event_type", String, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "person_id", "event_type"),
    sqlite_with_rowid=False,
)

# `from_id` (a:<anonymous_id>, or u:<user_id> of an account that was merged) was seen to be `user_id`, first
# at `linked_us`, on the word of a client or of a server.
identity_link = Table(
    "identity_link",
    metadata,
    Column("tenant", String, nullable=False),
    Column("from_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("linked_us", BigInteger, nullable=False),
    Column("trust", String, nullable=False),
    PrimaryKeyConstraint("tenant", "from_id", "user_id"),
    Index("identity_link_by_user", "tenant", "user_id"),
    sqlite_with_rowid=False,
)

# Append-only: what a person agreed to or refused, with the proof of it. The latest decision stands.
consent = Table(
    "consent",
    metadata,
    Column("tenant", String, nullable=False),
    Column("consent_id", String, nullable=False),
    Column("person_id", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("status", String, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("text_version", String, nullable=False),
    Column("source", String, nullable=False),
    Column("trust", String, nullable=False),
    Column("proof", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "consent_id", "person_id", "purpose"),
    Index("consent_by_person", "tenant", "person_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("tenant", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("experiment", String),
    Column("phase", BigInteger),
    Column("person_id", String),
    Column("user_id", String),
    Column("anonymous_id", String),
    Column("unit_id", String),
    Column("received_us", BigInteger, nullable=False),
    Column("source", String, nullable=False),
    Column("trust", String, nullable=False),
    Column("encoding", String),
    Column("canonical", Text),
    Column("context", Text),
    PrimaryKeyConstraint("tenant", "digest"),
    Index("quarantine_by_time", "tenant", "received_us", "digest"),
    Index("quarantine_by_reason", "tenant", "reason", "received_us", "digest"),
    Index("quarantine_by_experiment", "tenant", "experiment", "phase", "reason"),
    Index("quarantine_by_user", "tenant", "user_id"),
    Index("quarantine_by_anonymous", "tenant", "anonymous_id"),
    Index("quarantine_by_unit", "tenant", "unit_id"),
)

item = Table(
    "item",
    metadata,
    Column("tenant", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("fields", Text, nullable=False),
    Column("categories", Text, nullable=False),
    Column("active", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "item_id"),
)

slate = Table(
    "slate",
    metadata,
    Column("tenant", String, nullable=False),
    Column("slate_id", String, nullable=False),
    Column("person_id", String, nullable=False),
    Column("placement", String, nullable=False),
    Column("recommender", String, nullable=False),
    Column("model", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("items", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "slate_id"),
    Index("slate_by_person", "tenant", "person_id"),
    Index("slate_by_time", "tenant", "created_us"),
)

catalog_revision = Table(
    "catalog_revision",
    metadata,
    Column("tenant", String, nullable=False),
    Column("revision", Integer, nullable=False, autoincrement=False),
    Column("digest", String, nullable=False),
    Column("files", Text, nullable=False),
    Column("applied_us", BigInteger, nullable=False),
    Column("applied_by", String, nullable=False),
    Column("superseded_us", BigInteger),
    PrimaryKeyConstraint("tenant", "revision"),
)

# One row a tenant. `version` grows with every change of anything that workers serve; `killed` repeats the
# rows of kill_switch that are on, so that a poll reads a single row.
live_state = Table(
    "live_state",
    metadata,
    Column("tenant", String, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("model", String, nullable=False),
    Column("model_since_us", BigInteger),
    Column("killed", Text, nullable=False),
    PrimaryKeyConstraint("tenant"),
)

kill_switch = Table(
    "kill_switch",
    metadata,
    Column("tenant", String, nullable=False),
    Column("key", String, nullable=False),
    Column("killed", Integer, nullable=False),
    Column("changed_by", String, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "key"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("tenant", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("key_class", String, nullable=False),
    Column("label", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
    PrimaryKeyConstraint("tenant", "sha256"),
)

sign_in = Table(
    "sign_in",
    metadata,
    Column("tenant", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("key_class", String, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("used_us", BigInteger),
    PrimaryKeyConstraint("tenant", "sha256"),
)

session = Table(
    "session",
    metadata,
    Column("tenant", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("key_class", String, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "sha256"),
)

verdict_snapshot = Table(
    "verdict_snapshot",
    metadata,
    Column("tenant", String, nullable=False),
    Column("experiment", String, nullable=False),
    Column("phase", Integer, nullable=False, autoincrement=False),
    Column("number", Integer, nullable=False, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("computed_us", BigInteger, nullable=False),
    Column("digest", String, nullable=False),
    Column("decision", String, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "experiment", "phase", "number"),
)
