"""The first schema: log, people, items, control, verdicts."""

import sqlalchemy as sa
from alembic import op

from service.storage.portable import LONG_TEXT, NAME, OFFSET

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "api_key",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("key_class", NAME, nullable=False),
        sa.Column("label", NAME, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sha256"),
    )
    op.create_table(
        "catalog_revision",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("files", LONG_TEXT, nullable=False),
        sa.Column("applied_us", sa.BigInteger(), nullable=False),
        sa.Column("applied_by", NAME, nullable=False),
        sa.Column("superseded_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "revision"),
    )
    op.create_table(
        "event",
        sa.Column("seq", OFFSET, autoincrement=True, nullable=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("user_id", NAME, nullable=True),
        sa.Column("anonymous_id", NAME, nullable=True),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("trust", NAME, nullable=False),
        sa.Column("properties", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("tenant", "event_id", name="event_id_once"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "interaction",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("item_id", NAME, nullable=False),
        sa.Column("event_type", NAME, nullable=False),
        sa.Column("quantity", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "person_id", "occurred_us", "event_id", "item_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "item",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("item_id", NAME, nullable=False),
        sa.Column("fields", LONG_TEXT, nullable=False),
        sa.Column("categories", LONG_TEXT, nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "item_id"),
    )
    op.create_table(
        "kill_switch",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("killed", sa.Integer(), nullable=False),
        sa.Column("changed_by", NAME, nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
    )
    op.create_table(
        "live_state",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("model_since_us", sa.BigInteger(), nullable=True),
        sa.Column("killed", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "quarantine",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("reason", NAME, nullable=False),
        sa.Column("detail", LONG_TEXT, nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.Column("experiment", NAME, nullable=True),
        sa.Column("phase", sa.BigInteger(), nullable=True),
        sa.Column("person_id", NAME, nullable=True),
        sa.Column("user_id", NAME, nullable=True),
        sa.Column("anonymous_id", NAME, nullable=True),
        sa.Column("unit_id", NAME, nullable=True),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("trust", NAME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest"),
    )
    op.create_index(
        "quarantine_by_experiment", "quarantine", ["tenant", "experiment", "phase", "reason"], unique=False
    )
    op.create_index("quarantine_by_anonymous", "quarantine", ["tenant", "anonymous_id"], unique=False)
    op.create_index("quarantine_by_reason", "quarantine", ["tenant", "reason"], unique=False)
    op.create_index("quarantine_by_unit", "quarantine", ["tenant", "unit_id"], unique=False)
    op.create_index("quarantine_by_user", "quarantine", ["tenant", "user_id"], unique=False)
    op.create_table(
        "session",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("key_class", NAME, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sha256"),
    )
    op.create_table(
        "sign_in",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("key_class", NAME, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("used_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sha256"),
    )
    op.create_table(
        "slate",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("slate_id", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("placement", NAME, nullable=False),
        sa.Column("recommender", NAME, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("reason", NAME, nullable=False),
        sa.Column("items", LONG_TEXT, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "slate_id"),
    )
    op.create_index("slate_by_person", "slate", ["tenant", "person_id"], unique=False)
    op.create_index("slate_by_time", "slate", ["tenant", "created_us"], unique=False)
    op.create_table(
        "verdict_snapshot",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("computed_us", sa.BigInteger(), nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("decision", NAME, nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "experiment", "phase", "number"),
    )
