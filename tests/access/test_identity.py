"""Who somebody is, and their role: out of claims and the file of rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.access.identity import User, from_claims
from trilemma.access.roles import NEEDS, OWN_ONLY, Action, Role
from trilemma.access.rules import Limits, Rules, load_rules, login_configured
from trilemma.doctor import Status, diagnose
from trilemma.errors import AccessError, SettingsError, SignInError
from trilemma.settings import Settings

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CLAIMS: dict[str, Any] = {
    "is_logged_in": True,
    "iat": NOW.timestamp() - 60,
    "iss": "https://login.example.org/realm",
    "sub": "42",
    "email": "Ann@Example.org",
    "email_verified": True,
    "name": "Ann",
}
ADMIN = Rules(users={"ann@example.org": Role.ADMIN})


def test_a_person_is_known_by_the_address_that_the_provider_verified() -> None:
    user = from_claims(CLAIMS, ADMIN, NOW)
    assert user == User("ann@example.org", "Ann", Role.ADMIN, NOW - timedelta(seconds=60) + timedelta(hours=12))


@pytest.mark.parametrize("verified", [False, None, "no", 1])
def test_an_address_that_nobody_verified_gives_no_role(verified: object) -> None:
    claims = CLAIMS | {"email_verified": verified}
    with pytest.raises(AccessError, match=r"sub:42@login\.example\.org/realm has no role"):
        from_claims(claims, ADMIN, NOW)
    trusting = ADMIN.model_copy(update={"trust_email": True})
    assert from_claims(claims, trusting, NOW).role is Role.ADMIN


def test_a_subject_is_named_as_the_provider_spells_it() -> None:
    name = "sub:00uA7@login.example.org/realm"
    rules = Rules.model_validate({"users": {name: "analyst"}, "limits_for": {name: {"queued_runs": 3}}})
    user = from_claims(CLAIMS | {"email_verified": False, "sub": "00uA7"}, rules, NOW)
    assert (user.id, user.role) == (name, Role.ANALYST)
    assert rules.limits_of(user.id, user.role).queued_runs == 3


def test_an_address_cannot_pass_for_a_subject_nor_for_the_terminal() -> None:
    for name in ("sub:42@login.example.org/realm", "terminal:root@x"):
        rules = Rules(users={name: Role.ADMIN}, default_role=Role.VIEWER)
        user = from_claims(CLAIMS | {"email": name, "sub": "7"}, rules, NOW)
        assert (user.id, user.role) == ("sub:7@login.example.org/realm", Role.VIEWER)


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff", "analysts"], Role.ANALYST),
        ("analysts", Role.ANALYST),
        (["analysts", "chiefs"], Role.ADMIN),
        ({"analysts": True}, Role.VIEWER),
        ([["chiefs"]], Role.VIEWER),
        (None, Role.VIEWER),
    ],
)
def test_the_highest_role_of_the_claim_counts(groups: object, role: Role) -> None:
    rules = Rules(
        role_claim="realm.roles", default_role=Role.VIEWER, roles={"analysts": Role.ANALYST, "chiefs": Role.ADMIN}
    )
    assert from_claims(CLAIMS | {"realm": {"roles": groups}}, rules, NOW).role is role
    assert from_claims(CLAIMS | {"realm.roles": groups}, rules, NOW).role is role


def test_the_file_goes_before_the_claim() -> None:
    rules = Rules(role_claim="g", roles={"chiefs": Role.ADMIN}, users={"ANN@example.org": Role.VIEWER})
    assert from_claims(CLAIMS | {"g": ["chiefs"]}, rules, NOW).role is Role.VIEWER


@pytest.mark.parametrize(
    "changed",
    [
        {"is_logged_in": False},
        {"is_logged_in": "true"},
        {"iat": (NOW - timedelta(hours=12)).timestamp()},
        {"iat": None},
        {"iat": True},
        {"iat": "1"},
        {"iat": 1e300},
        {"iat": float("nan")},
    ],
)
def test_without_a_log_in_that_holds_nobody_is_anybody(changed: dict[str, Any]) -> None:
    with pytest.raises(SignInError):
        from_claims(CLAIMS | changed, ADMIN, NOW)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["admin", "ann@example.org", "chiefs"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["email", "email_verified", "sub", "iss", "name", "roles", "role"]), VALUES))
def test_claims_of_any_kind_give_no_role_that_the_rules_do_not(claims: dict[str, Any]) -> None:
    rules = Rules(role_claim="groups", roles={"chiefs": Role.ADMIN}, users={"bob@example.org": Role.ADMIN})
    whole = {"is_logged_in": True, "iat": NOW.timestamp()} | claims
    if claims.get("email_verified") in (True, "true") and str(claims.get("email")).strip().lower() == "bob@example.org":
        return
    with pytest.raises(AccessError):
        from_claims(whole, rules, NOW)


def test_a_viewer_may_look_and_nothing_else() -> None:
    assert set(NEEDS) == set(Action)
    viewer = User("v", "v", Role.VIEWER)
    assert [action for action in Action if viewer.may(action)] == [Action.SIGN_IN]
    analyst = User("a", "a", Role.ANALYST)
    for action in OWN_ONLY:
        assert analyst.may(action, "a")
        assert not analyst.may(action, "b")
        assert not analyst.may(action, None)
        assert User("c", "c", Role.ADMIN).may(action, None)


def test_rules_are_read_from_the_file_and_again_when_it_changes(tmp_path: Path) -> None:
    assert load_rules(tmp_path) == Rules()
    (tmp_path / "access.toml").write_text(
        'default_role = "viewer"\n[limits]\nqueued_runs = 3\n[limits_for."Bob@example.org"]\nqueued_runs = 9\n'
    )
    rules = load_rules(tmp_path)
    assert rules.limits_of("bob@example.org", Role.ANALYST) == Limits(queued_runs=9)
    assert rules.limits_of("ann@example.org", Role.ANALYST) == Limits(queued_runs=3)
    assert rules.limits_of("ann@example.org", Role.ADMIN) == Limits()
    (tmp_path / "access.toml").write_text('default_role = "analyst"\n')
    assert load_rules(tmp_path).default_role is Role.ANALYST


@pytest.mark.parametrize("text", ['default_role = "boss"', 'rules = "none"', "[limits]\nqueued_runs = -1", "x = ", ""])
def test_a_file_that_is_wrong_lets_nobody_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "access.toml").write_text(text)
    if text:
        with pytest.raises(SettingsError, match=r"access\.toml"):
            load_rules(tmp_path)
    else:
        assert load_rules(tmp_path).default_role is None


def test_a_log_in_is_configured_or_not_and_never_perhaps(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.toml"
    assert not login_configured(tmp_path)
    secrets.write_text("[other]\nx = 1\n")
    assert not login_configured(tmp_path)
    secrets.write_text('[auth]\nclient_secret = "hush"\n')
    assert login_configured(tmp_path)
    secrets.write_text('[auth]\nclient_secret = "hush')
    with pytest.raises(SettingsError) as caught:
        login_configured(tmp_path)
    assert "hush" not in str(caught.value)


def test_the_doctor_says_who_can_read_the_secrets(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert [finding for finding in diagnose(settings) if "og-in" in finding.name] == []
    (tmp_path / "secrets.toml").write_text('[auth]\nclient_id = "x"\n')
    (tmp_path / "secrets.toml").chmod(0o644)
    (found,) = (finding for finding in diagnose(settings) if finding.name == "Log-in")
    assert "chmod 600" in found.remedy
    (tmp_path / "secrets.toml").chmod(0o600)
    (found,) = (finding for finding in diagnose(settings) if finding.name == "Log-in")
    assert found.status is Status.OK
