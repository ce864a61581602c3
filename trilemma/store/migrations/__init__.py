"""The history of the schema, one revision a file; see trilemma/store/migrate.py."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine


def name(length: int) -> TypeEngine[Any]:
    """The type of the names in :mod:`trilemma.store.tables`, as the schema has it."""
    return sa.String(length).with_variant(sa.Text(collation="C"), "postgresql")
