"""Decisions, messages to other systems, leases, goals, and what a verdict was computed from."""

import sqlalchemy as sa
from alembic import op

from service.storage.portable import LONG_TEXT, NAME

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns; nothing that is there changes."""
    op.add_column("live_state", sa.Column("steering", LONG_TEXT))
    op.add_column("verdict_snapshot", sa.Column("inputs", LONG_TEXT))
    op.add_column("verdict_snapshot", sa.Column("final", sa.Integer()))
    op.add_column("verdict_snapshot", sa.Column("outline", LONG_TEXT))
    op.create_table(
        "steering",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("shipped", NAME, nullable=False),
        sa.Column("ramp_steps", sa.Integer()),
        sa.Column("ramp_share_bp", sa.Integer()),
        sa.Column("shipped_us", sa.BigInteger()),
        sa.Column("unshipped_us", sa.BigInteger()),
        sa.Column("changed_by", NAME, nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "experiment", "phase"),
    )
    op.create_table(
        "decision",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("experiment", NAME, nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("verdict", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("decision", NAME, nullable=False),
        sa.Column("variant", NAME, nullable=False),
        sa.Column("rule", NAME, nullable=False),
        sa.Column("action", NAME, nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=False),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "experiment", "phase", "number"),
    )
    op.create_table(
        "outbox",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("message_id", NAME, nullable=False),
        sa.Column("endpoint", NAME, nullable=False),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_us", sa.BigInteger()),
        sa.Column("delivered_us", sa.BigInteger()),
        sa.Column("problem", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "message_id", "endpoint"),
    )
    op.create_index("outbox_by_due", "outbox", ["tenant", "next_us"])
    op.create_table(
        "lease",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "goal_value",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("goal", NAME, nullable=False),
        sa.Column("day", NAME, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("sums", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "goal", "day"),
    )
