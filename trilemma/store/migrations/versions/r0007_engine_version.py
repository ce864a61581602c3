"""Which version of its engine measured a run, to be read without its whole specification."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("engine_version", sa.Text(), nullable=False, server_default=sa.text("''")))
    runs = sa.table("runs", sa.column("engine_version", sa.Text()), sa.column("spec", sa.JSON()))
    planned = runs.c.spec["engine_version"].as_string()
    op.execute(runs.update().values(engine_version=sa.func.coalesce(planned, "")))
    op.create_index(op.f("ix_runs_engine_engine_version"), "runs", ["engine", "engine_version"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_engine_engine_version"), table_name="runs")
    op.drop_column("runs", "engine_version")
