"""Votes between two answers, kept with their study."""

import sqlalchemy as sa
from alembic import op

from trilemma.store.migrations import name

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "votes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("source", name(128), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("a_id", sa.String(length=32), nullable=False),
        sa.Column("b_id", sa.String(length=32), nullable=False),
        sa.Column("a_answer", sa.Text(), nullable=False),
        sa.Column("b_answer", sa.Text(), nullable=False),
        sa.Column("choice", sa.String(length=8), nullable=False),
        sa.Column("voter", sa.Text(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_votes_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_votes")),
    )
    op.create_index(op.f("ix_votes_study_id"), "votes", ["study_id"], unique=False)


def downgrade() -> None:
    op.drop_table("votes")
