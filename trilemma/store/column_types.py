"""Types of columns that keep the same in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Float, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: stored without a zone (SQLite has none), read back with one."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC, zone dropped."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """With its zone again."""
        return None if value is None else value.replace(tzinfo=UTC)


class _Storable(TypeDecorator[str]):
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored by U+FFFD."""
        if value is None:
            return None
        return whole(value) if dialect.name == "sqlite" else whole(value).replace("\0", "\ufffd")


def whole_json(value: Any) -> Any:
    """A JSON value with :func:`whole` texts, in keys too."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole(str(key)): whole_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [whole_json(one) for one in value]
    return value


def whole(value: str) -> str:
    """``value`` with U+FFFD for halves of surrogate pairs, which UTF-8 does not have."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


class AnyText(_Storable):
    """Text from models and logs, which may hold what a database refuses: lone surrogates, or NUL in PostgreSQL."""

    impl = Text
    cache_ok = True


class AnyJson(TypeDecorator[Any]):
    """JSON with such texts: it could be stored, but not be shown when it is read again.

    NUL stays what it is, also in PostgreSQL, which takes it in JSON: specifications are compared with what was hashed.
    """

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Replace halves of surrogate pairs by U+FFFD."""
        return whole_json(value)


class _Short(_Storable):
    impl = String
    cache_ok = True


def short_name(length: int) -> TypeEngine[str]:
    """A short text, such as a model's name: as long as it is, and in the order of its bytes, in both databases.

    The length is what SQLite's schema says, which holds nobody to it. PostgreSQL would, and sorts by its own locale.
    """
    return _Short(length).with_variant(AnyText(collation="C"), "postgresql")


class Real(TypeDecorator[float]):
    """A figure; one that is not a number is unknown in both databases, as SQLite has it."""

    impl = Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """NaN as NULL."""
        return None if value is None or value != value else value  # noqa: PLR0124
