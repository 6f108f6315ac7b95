"""Identity links, consent, what each person did; the original bytes of quarantined events."""

import sqlalchemy as sa
from alembic import op

from service.storage.portable import LONG_TEXT, NAME

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns, and fill in what follows from the log that is there already."""
    op.add_column("event", sa.Column("privacy", NAME, nullable=True))
    for name, kind in (("encoding", NAME), ("canonical", LONG_TEXT), ("context", LONG_TEXT)):
        op.add_column("quarantine", sa.Column(name, kind, nullable=True))
    op.drop_index("quarantine_by_reason", "quarantine")
    op.create_index("quarantine_by_reason", "quarantine", ["tenant", "reason", "received_us", "digest"])
    op.create_index("quarantine_by_time", "quarantine", ["tenant", "received_us", "digest"])
    op.create_table(
        "person_activity",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("event_type", NAME, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "person_id", "event_type"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity_link",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("from_id", NAME, nullable=False),
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("trust", NAME, nullable=False),
        sa.Column("linked_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "from_id", "user_id", "trust"),
        sqlite_with_rowid=False,
    )
    op.create_index("identity_link_by_user", "identity_link", ["user_id", "trust", "tenant"])
    op.create_table(
        "consent",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("consent_id", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("purpose", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("text_version", NAME, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("trust", NAME, nullable=False),
        sa.Column("proof", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "consent_id", "person_id", "purpose"),
    )
    op.create_index("consent_by_person", "consent", ["tenant", "person_id"])
    _fill_in()


def _fill_in() -> None:
    for prefix, column in (("u:", "user_id"), ("a:", "anonymous_id")):
        op.execute(
            "INSERT INTO person_activity (tenant, person_id, event_type, n, first_us, last_us) "  # noqa: S608
            f"SELECT tenant, '{prefix}' || {column}, type, count(*), min(occurred_us), max(occurred_us) "
            f"FROM event WHERE {column} <> '' GROUP BY tenant, {column}, type"
        )
    op.execute(
        "INSERT INTO identity_link (tenant, from_id, user_id, trust, linked_us) "
        "SELECT tenant, 'a:' || anonymous_id, user_id, trust, min(occurred_us) "
        "FROM event WHERE anonymous_id <> '' AND user_id <> '' GROUP BY tenant, anonymous_id, user_id, trust"
    )
