"""Who made what, and the log of what was done and refused."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MADE = ("artifacts", "studies", "runs", "votes")


def upgrade() -> None:
    for table in _MADE:
        op.add_column(table, sa.Column("created_by", sa.String(length=255), nullable=True))
    op.create_index(op.f("ix_runs_created_by_state"), "runs", ["created_by", "state"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_who_action"), "audit", ["who", "action"], unique=False)


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_index(op.f("ix_runs_created_by_state"), "runs")
    for table in _MADE:
        op.drop_column(table, "created_by")
