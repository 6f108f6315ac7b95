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
    Table,
    UniqueConstraint,
)

from service.storage.portable import LONG_TEXT, NAME, OFFSET

metadata = MetaData()


def residual(column: Column[str]) -> ColumnElement[str]:
    """Return `column` in a form that no index serves, for a condition that is to be checked row by row.

    SQLite takes ``tenant = ?`` for a good reason to leave the log's own order, walk the index of
    (tenant, event_id) from end to end and sort: 0.7 s a page at five million rows, against 0.01 s.
    """
    return column.concat("")


event = Table(
    "event",
    metadata,
    Column("seq", OFFSET, primary_key=True, autoincrement=True),
    Column("tenant", NAME, nullable=False),
    Column("event_id", NAME, nullable=False),
    Column("type", NAME, nullable=False),
    Column("person_id", NAME, nullable=False),
    Column("user_id", NAME),
    Column("anonymous_id", NAME),
    Column("occurred_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("source", NAME, nullable=False),
    Column("trust", NAME, nullable=False),
    Column("properties", LONG_TEXT, nullable=False),
    Column("privacy", NAME),
    UniqueConstraint("tenant", "event_id", name="event_id_once"),
    sqlite_autoincrement=True,
)

# Clustered by part, person and time: a part takes the rows of a stretch of the log (see parts.py), in it the
# newest interactions of one person are neighbours on disk.
interaction = Table(
    "interaction",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("person_id", NAME, nullable=False),
    Column("occurred_us", BigInteger, nullable=False),
    Column("event_id", NAME, nullable=False),
    Column("item_id", NAME, nullable=False),
    Column("event_type", NAME, nullable=False),
    Column("quantity", Float, nullable=False),
    PrimaryKeyConstraint("tenant", "part", "person_id", "occurred_us", "event_id", "item_id"),
    sqlite_with_rowid=False,
)

# How often and when a person did what, in each part. Sums, least and greatest: order cannot matter.
person_activity = Table(
    "person_activity",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("person_id", NAME, nullable=False),
    Column("event_type", NAME, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "part", "person_id", "event_type"),
    sqlite_with_rowid=False,
)

# `from_id` (a:<anonymous_id>, or u:<user_id> of an account that was merged) was seen to be `user_id`, first
# at `linked_us`. A client's word and a server's are two rows: the one must not date the other.
identity_link = Table(
    "identity_link",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("from_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("trust", NAME, nullable=False),
    Column("linked_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "from_id", "user_id", "trust"),
    # Not by tenant first: SQLite would walk the table by its key instead, taking a tenant for ten rows.
    Index("identity_link_by_user", "user_id", "trust", "tenant"),
    sqlite_with_rowid=False,
)

# Append-only: what a person agreed to or refused, with the proof of it. The latest decision stands.
consent = Table(
    "consent",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("consent_id", NAME, nullable=False),
    Column("person_id", NAME, nullable=False),
    Column("purpose", NAME, nullable=False),
    Column("status", NAME, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("text_version", NAME, nullable=False),
    Column("source", NAME, nullable=False),
    Column("trust", NAME, nullable=False),
    Column("proof", LONG_TEXT, nullable=False),
    PrimaryKeyConstraint("tenant", "consent_id", "person_id", "purpose"),
    Index("consent_by_person", "tenant", "person_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("digest", NAME, nullable=False),
    Column("event_id", NAME, nullable=False),
    Column("reason", NAME, nullable=False),
    Column("detail", LONG_TEXT, nullable=False),
    Column("body", LONG_TEXT, nullable=False),
    Column("experiment", NAME),
    Column("phase", BigInteger),
    Column("person_id", NAME),
    Column("user_id", NAME),
    Column("anonymous_id", NAME),
    Column("unit_id", NAME),
    Column("received_us", BigInteger, nullable=False),
    Column("source", NAME, nullable=False),
    Column("trust", NAME, nullable=False),
    Column("encoding", NAME),
    Column("canonical", LONG_TEXT),
    Column("context", LONG_TEXT),
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
    Column("tenant", NAME, nullable=False),
    Column("item_id", NAME, nullable=False),
    Column("fields", LONG_TEXT, nullable=False),
    Column("categories", LONG_TEXT, nullable=False),
    Column("active", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "item_id"),
)

slate = Table(
    "slate",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("slate_id", NAME, nullable=False),
    Column("person_id", NAME, nullable=False),
    Column("placement", NAME, nullable=False),
    Column("recommender", NAME, nullable=False),
    Column("model", NAME, nullable=False),
    Column("reason", NAME, nullable=False),
    Column("items", LONG_TEXT, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "slate_id"),
    Index("slate_by_person", "tenant", "person_id"),
    Index("slate_by_time", "tenant", "created_us"),
)

catalog_revision = Table(
    "catalog_revision",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("revision", Integer, nullable=False, autoincrement=False),
    Column("digest", NAME, nullable=False),
    Column("files", LONG_TEXT, nullable=False),
    Column("applied_us", BigInteger, nullable=False),
    Column("applied_by", NAME, nullable=False),
    Column("superseded_us", BigInteger),
    PrimaryKeyConstraint("tenant", "revision"),
)

# One row a tenant. `version` grows with every change of anything that workers serve; `killed` repeats the
# rows of kill_switch that are on, and `steering` those of steering, so that a poll reads a single row.
live_state = Table(
    "live_state",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("model", NAME, nullable=False),
    Column("model_since_us", BigInteger),
    Column("killed", LONG_TEXT, nullable=False),
    Column("steering", LONG_TEXT),
    PrimaryKeyConstraint("tenant"),
)

kill_switch = Table(
    "kill_switch",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("key", NAME, nullable=False),
    Column("killed", Integer, nullable=False),
    Column("changed_by", NAME, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "key"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("sha256", NAME, nullable=False),
    Column("key_class", NAME, nullable=False),
    Column("label", NAME, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
    PrimaryKeyConstraint("tenant", "sha256"),
)

sign_in = Table(
    "sign_in",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("sha256", NAME, nullable=False),
    Column("key_class", NAME, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("used_us", BigInteger),
    PrimaryKeyConstraint("tenant", "sha256"),
)

session = Table(
    "session",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("sha256", NAME, nullable=False),
    Column("key_class", NAME, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "sha256"),
)

verdict_snapshot = Table(
    "verdict_snapshot",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("experiment", NAME, nullable=False),
    Column("phase", Integer, nullable=False, autoincrement=False),
    Column("number", Integer, nullable=False, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("computed_us", BigInteger, nullable=False),
    Column("digest", NAME, nullable=False),
    Column("decision", NAME, nullable=False),
    Column("body", LONG_TEXT, nullable=False),
    Column("inputs", LONG_TEXT),
    Column("final", Integer),
    Column("outline", LONG_TEXT),
    PrimaryKeyConstraint("tenant", "experiment", "phase", "number"),
)

# What rules decided about a phase while it ran: the variant that all of its units get (empty: as assigned),
# how many steps of its ramp are open (null: as many as the time says), and the share of the last gate opened.
# `shipped_us` to `unshipped_us` (null: still) is when a variant was shipped last, whichever it was.
steering = Table(
    "steering",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("experiment", NAME, nullable=False),
    Column("phase", Integer, nullable=False, autoincrement=False),
    Column("shipped", NAME, nullable=False),
    Column("ramp_steps", Integer),
    Column("ramp_share_bp", Integer),
    Column("shipped_us", BigInteger),
    Column("unshipped_us", BigInteger),
    Column("changed_by", NAME, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "experiment", "phase"),
)

# Every change of what is decided about a phase, once: which verdict said so, by what rule, and what was done.
decision = Table(
    "decision",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("experiment", NAME, nullable=False),
    Column("phase", Integer, nullable=False, autoincrement=False),
    Column("number", Integer, nullable=False, autoincrement=False),
    Column("verdict", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("decision", NAME, nullable=False),
    Column("variant", NAME, nullable=False),
    Column("rule", NAME, nullable=False),
    Column("action", NAME, nullable=False),
    Column("reason", LONG_TEXT, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "experiment", "phase", "number"),
)

# Messages for other systems: delivered at least once, each with an id that never changes.
outbox = Table(
    "outbox",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("message_id", NAME, nullable=False),
    Column("endpoint", NAME, nullable=False),
    Column("payload", LONG_TEXT, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger),
    Column("delivered_us", BigInteger),
    Column("problem", LONG_TEXT, nullable=False),
    PrimaryKeyConstraint("tenant", "message_id", "endpoint"),
    Index("outbox_by_due", "tenant", "next_us"),
)

# Who may do a duty that only one process of all may do; `fence` grows each time another one gets it.
lease = Table(
    "lease",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("holder", NAME, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "name"),
)

# The metric of a goal on one UTC day: its sums over the units whose window ended on it.
goal_value = Table(
    "goal_value",
    metadata,
    Column("tenant", NAME, nullable=False),
    Column("goal", NAME, nullable=False),
    Column("day", NAME, nullable=False),
    Column("digest", NAME, nullable=False),
    Column("sums", LONG_TEXT, nullable=False),
    PrimaryKeyConstraint("tenant", "goal", "day"),
)
