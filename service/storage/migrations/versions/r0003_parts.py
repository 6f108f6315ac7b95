"""The rows that events leave behind for their persons lie in parts; what is there is the first one."""

import sqlalchemy as sa
from alembic import op

from service.storage.portable import NAME

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables anew, in the order of their keys: as densely packed as they can be."""
    op.rename_table("interaction", "old_interaction")
    op.rename_table("person_activity", "old_person_activity")
    if op.get_bind().dialect.name == "postgresql":
        # The index would keep its name, which the new one has to have.
        op.drop_constraint("interaction_pkey", "old_interaction")
        op.drop_constraint("person_activity_pkey", "old_person_activity")
    op.create_table(
        "interaction",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("item_id", NAME, nullable=False),
        sa.Column("event_type", NAME, nullable=False),
        sa.Column("quantity", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "part", "person_id", "occurred_us", "event_id", "item_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "person_activity",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("event_type", NAME, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "part", "person_id", "event_type"),
        sqlite_with_rowid=False,
    )
    for table, key, rest in (
        ("interaction", "person_id, occurred_us, event_id, item_id", "event_type, quantity"),
        ("person_activity", "person_id, event_type", "n, first_us, last_us"),
    ):
        op.execute(
            f"INSERT INTO {table} (tenant, part, {key}, {rest}) "  # noqa: S608
            f"SELECT tenant, 0, {key}, {rest} FROM old_{table} ORDER BY tenant, {key}"
        )
        op.drop_table(f"old_{table}")
