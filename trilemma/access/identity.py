"""Who somebody is: out of the claims of an OpenID Connect log-in, or by the account at the terminal."""

from __future__ import annotations

import getpass
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from trilemma.access.roles import NEEDS, NOBODY_ELSE, OWN_ONLY, Action, Role
from trilemma.access.rules import Rules
from trilemma.errors import AccessError, SignInError

LONGEST_ID = 255


@dataclass(frozen=True)
class User:
    """Somebody who uses Trilemma.

    ``id`` is what is kept with what they ask for: an address that the provider has verified, ``sub:<subject>@<issuer>``
    without one, ``terminal:<account>`` or ``local``. ``until`` is when they must log in again; None never.
    """

    id: str
    name: str
    role: Role
    until: datetime | None = None

    def may(self, action: Action, owner: str | None = NOBODY_ELSE) -> bool:
        """Whether their role allows it, to something of ``owner``'s; None where it is not known whose it is."""
        if not self.role.includes(NEEDS[action]):
            return False
        theirs = owner in (NOBODY_ELSE, self.id)
        return theirs or action not in OWN_ONLY or self.role is Role.ADMIN


LOCAL = User("local", "local", Role.ADMIN)
"""Whoever is at a dashboard without log-in."""


def at_terminal() -> User:
    """Whoever runs a command: they may read and write the data folder anyway."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's account may have no name
        account = "unknown"
    return User(f"terminal:{account}"[:LONGEST_ID], account, Role.ADMIN)


def from_claims(claims: Mapping[str, Any], rules: Rules, now: datetime | None = None) -> User:
    """Who the provider says it is, with the role that the rules give.

    Raises:
        SignInError: they are not logged in, or not any more.
        AccessError: they are known to the provider, and have no role here.
    """
    if claims.get("is_logged_in") is not True:
        raise SignInError("Log in to use this dashboard.")
    until = _until(claims, rules)
    if (now or datetime.now(UTC)) >= until:
        raise SignInError("Your log-in is over.", "Log in again.")
    address, subject = _address(claims, rules), _text(claims.get("sub"))
    user_id = address or (f"sub:{subject}@{_issuer(claims)}" if subject else "")
    if not user_id or len(user_id) > LONGEST_ID:
        raise AccessError("The provider does not say who you are.", "Ask for its claims sub and email.")
    role = _role(claims, rules, user_id)
    name = _text(claims.get("name"))[:80] or user_id
    if role is None:
        raise AccessError(f"{user_id} has no role here.", "Ask whoever runs this dashboard for one.")
    return User(user_id, name, role, until)


def claimed_id(claims: Mapping[str, Any], rules: Rules) -> str:
    """What to call somebody who was not let in; empty where the provider does not say."""
    return (_address(claims, rules) or _text(claims.get("sub")))[:LONGEST_ID]


def _until(claims: Mapping[str, Any], rules: Rules) -> datetime:
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        raise SignInError("The provider does not say when you logged in.", "Its ID token must have the claim iat.")
    try:
        return datetime.fromtimestamp(issued, UTC) + timedelta(hours=rules.sign_in_hours)
    except (OverflowError, OSError, ValueError) as error:
        raise SignInError("The provider does not say when you logged in.", "The claim iat is no time.") from error


def _address(claims: Mapping[str, Any], rules: Rules) -> str:
    address = _text(claims.get("email")).lower()
    # Elsewhere anybody could register with somebody else's address.
    stated = claims.get("email_verified")
    verified = stated is True or stated == "true" or rules.trust_email
    return address if verified and "@" in address and not address.startswith(("sub:", "terminal:")) else ""


def _issuer(claims: Mapping[str, Any]) -> str:
    issuer = _text(claims.get("iss"))
    try:
        parts = urlsplit(issuer)
    except ValueError:
        return issuer
    return f"{parts.netloc}{parts.path.rstrip('/')}" or issuer


def _role(claims: Mapping[str, Any], rules: Rules, user_id: str) -> Role | None:
    if user_id in rules.users:
        return rules.users[user_id]
    found = [rules.roles[value] for value in _values(claims, rules.role_claim) if value in rules.roles]
    if found:
        return max(found, key=list(Role).index)
    return rules.default_role


def _values(claims: Mapping[str, Any], name: str) -> list[str]:
    """The values of a claim; a name with dots that is none itself looks inside one."""
    value: Any = claims.get(name) if name else None
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list | tuple) else []


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).strip()
