"""``access.toml`` in the data folder: who has which role, for how long a log-in holds, and everybody's limits.

::

    role_claim = "groups"          # a claim of the ID token; "realm_access.roles" looks inside one
    default_role = "viewer"        # of whoever is not named; left out, they are not let in
    sign_in_hours = 12

    [roles]                        # by value of the claim; of several the highest counts
    "llm-analysts" = "analyst"

    [users]                        # by verified address, or sub:SUBJECT@ISSUER; goes before the claim
    "ann@example.org" = "admin"

    [limits]                       # of everybody but administrators
    queued_runs = 100
    disk_gb = 50
    device_hours_a_day = 8

    [limits_for."bob@example.org"] # instead of these, for one person
    queued_runs = 10
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from trilemma.access.roles import Role
from trilemma.errors import SettingsError
from trilemma.schema import Frozen
from trilemma.toml_files import read_toml

FILE, SECRETS = "access.toml", "secrets.toml"
_ADVICE = "Mend it, in the data folder; until then nobody is let in."


class Limits(Frozen, extra="forbid"):
    """What one person may take; None is no limit."""

    queued_runs: int | None = Field(default=None, ge=0, description="Runs that wait or run at the same time.")
    disk_gb: float | None = Field(default=None, ge=0, description="Weights and files that they brought or made, GB.")
    device_hours_a_day: float | None = Field(
        default=None, ge=0, description="Hours that their runs had the device in the last day, and will have."
    )


class Rules(Frozen, extra="forbid"):
    """What the file says; without one, whoever logs in is not let in unless a default role says so."""

    role_claim: str = Field(default="", max_length=200)
    default_role: Role | None = None
    sign_in_hours: float = Field(default=12.0, gt=0, le=24 * 30)
    trust_email: bool = Field(
        default=False, description="Whether an address counts that the provider does not say it has verified."
    )
    roles: dict[str, Role] = Field(default_factory=dict)
    users: dict[str, Role] = Field(default_factory=dict)
    limits: Limits = Limits()
    limits_for: dict[str, Limits] = Field(default_factory=dict)

    @field_validator("users", "limits_for")
    @classmethod
    def _folded(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Addresses are compared whatever their case; a provider's subject (``sub:...``) is as it says it is."""
        return {
            (key.lower() if "@" in key and not key.startswith("sub:") else key): value for key, value in given.items()
        }

    def limits_of(self, user_id: str, role: Role) -> Limits:
        """The limits of one person."""
        if user_id in self.limits_for:
            return self.limits_for[user_id]
        return Limits() if role is Role.ADMIN else self.limits


def load_rules(home: Path) -> Rules:
    """The rules of a data folder; read again when the file has changed.

    Raises:
        SettingsError: the file is wrong.
    """
    path = home / FILE
    try:
        stat = path.stat()
    except FileNotFoundError:
        return Rules()
    except OSError as error:
        raise SettingsError(f"The file {FILE} cannot be read ({error.strerror}).", _ADVICE) from error
    return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _read(path: Path, changed_ns: int, size: int) -> Rules:
    return read_toml(path, _rules, what="file", error=SettingsError, advice=_ADVICE)


def _rules(data: Mapping[str, Any]) -> Rules:
    return Rules.model_validate(data)


def login_configured(home: Path) -> bool:
    """Whether ``secrets.toml`` in the data folder names a provider to log in at. Nothing of it is kept.

    Raises:
        SettingsError: the file is there and cannot be read; taking that for no log-in would let everybody in.
    """
    path = home / SECRETS
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(error.strerror) from error
    return _names_provider(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _names_provider(path: Path, changed_ns: int, size: int) -> bool:
    try:
        return "auth" in tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(error.strerror) from error
    except ValueError as error:
        # The parser's message may quote the file.
        raise _unreadable("it is not valid TOML") from error


def _unreadable(why: str | None) -> SettingsError:
    return SettingsError(f"The file {SECRETS} cannot be read ({why}).", _ADVICE)
