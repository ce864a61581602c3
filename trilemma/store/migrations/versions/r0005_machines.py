"""The machines of a cluster, and which of them a run was given to."""

import sqlalchemy as sa
from alembic import op

from trilemma.store.migrations import name

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "machines",
        sa.Column("device", name(64), nullable=False),
        sa.Column("name", name(64), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.Column("alive", sa.Boolean(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("device", "name", name=op.f("pk_machines")),
    )
    op.add_column("runs", sa.Column("needs", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("runs", sa.Column("machine", name(64), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    op.drop_column("runs", "machine")
    op.drop_column("runs", "needs")
    op.drop_table("machines")
