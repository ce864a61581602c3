"""Time on the device that runs had in attempts which are gone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_time",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_time")),
    )
    op.create_index(op.f("ix_device_time_who_finished_at"), "device_time", ["who", "finished_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_device_time_who_finished_at"), table_name="device_time")
    op.drop_table("device_time")
