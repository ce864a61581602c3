"""What a configuration is emulated on and adapted with, and how finely a request's tokens were timed."""

import sqlalchemy as sa
from alembic import op

from trilemma.store.migrations import name

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("adapter_id", sa.String(length=64), nullable=True))
    op.add_column("runs", sa.Column("profile", name(64), nullable=True))
    op.add_column("requests", sa.Column("token_timing", sa.String(length=8), nullable=False, server_default="token"))
