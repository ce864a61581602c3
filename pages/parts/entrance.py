"""Who is here, and what they may do: asked at every run of a page, and again at every action."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import streamlit as st

from trilemma.access.guard import Guard
from trilemma.access.identity import LOCAL, User, from_claims
from trilemma.access.roles import NOBODY_ELSE, Action
from trilemma.access.rules import Rules, load_rules, login_configured
from trilemma.errors import AccessError, SettingsError, TrilemmaError
from trilemma.meters.dashboards import announce
from trilemma.records import Outcome
from trilemma.serve import is_loopback
from trilemma.settings import get_settings
from trilemma.store import Store, open_store

Made = TypeVar("Made")
_log_in_seen = threading.Event()
"""Set once people log in at this process; not in Streamlit's cache, which a message from any browser empties."""
_log = logging.getLogger(__name__)
_held: ContextVar[Mapping[str, Any] | None] = ContextVar("held", default=None)
"""The claims of whoever a file is made for."""


@st.cache_resource(show_spinner=False, on_release=Store.close)
def _open(url: str) -> Store:
    get_settings().ensure_home()
    with suppress(
        TrilemmaError
    ):  # a run that is measured meanwhile then takes this for somebody else: no reason to stop
        announce(get_settings().dashboards_dir)
    return open_store(url)


def claims() -> dict[str, Any]:
    """What Streamlit knows of whoever opened this session; empty where no log-in is configured."""
    return dict(st.user.to_dict())


def people() -> bool:
    """Whether people log in at this server. Asked of the server, because a thread of no session has no claims."""
    if st.secrets.load_if_toml_exists() and "auth" in st.secrets:
        _log_in_seen.set()
        return True
    return False


def login_on() -> bool:
    """Whether people log in.

    Raises:
        SettingsError: it is configured, and this server does not know of it, or not any more.
    """
    known = people()
    if _log_in_seen.is_set() and not known:  # everybody would be administrator at the next click
        raise SettingsError(
            "The log-in was taken out of secrets.toml while this server runs.", "Put it back, or start it again."
        )
    if login_configured(get_settings().home) and not known:
        raise SettingsError(
            "A log-in is configured, but this server was started without it.", "Start it with `trilemma serve`."
        )
    return known


def rules() -> Rules:
    """The rules for those who log in.

    Raises:
        SettingsError: there is a mistake in them. What it is names people, so that the server's log has it and no page.
    """
    try:
        return load_rules(get_settings().home)
    except SettingsError as error:
        _note_once(str(error))
        raise SettingsError(
            "Access is not configured correctly, and nobody is let in until it is mended.",
            "Whoever runs this dashboard finds what is wrong in its log, and by `trilemma doctor`.",
        ) from error


@functools.lru_cache(maxsize=8)
def _note_once(text: str) -> None:
    _log.error(text)


def exposed() -> bool:
    """Whether the server listens beyond this machine."""
    return not is_loopback(str(st.get_option("server.address") or ""))


def visitor() -> tuple[User, Rules]:
    """Who is here, and the rules that hold for them.

    Raises:
        SignInError: they must log in.
        AccessError: they have no role, or nobody without a log-in is let in.
        SettingsError: the rules cannot be read.
    """
    if (held := _held.get()) is not None:
        return from_claims(held, known := rules()), known
    if login_on():
        return from_claims(claims(), known := rules()), known
    if exposed() and not get_settings().allow_anyone:
        raise AccessError(
            "This dashboard listens to the network, and has no log-in.",
            "Configure one, or start `trilemma serve` with --allow-anyone to let everybody in as administrator.",
        )
    return LOCAL, Rules()


def guard() -> Guard:
    """What may change something on behalf of whoever is here.

    Raises:
        AccessError: as :func:`visitor`.
        StoreError: the store cannot be opened; tried again at the next request.
    """
    user, rules = visitor()
    return Guard(_open(get_settings().database_url), user, rules, get_settings())


def note_sign_in(user: User, outcome: Outcome, why: str = "") -> None:
    """Keep in the log that somebody came, or was turned away.

    Raises:
        StoreError: it cannot be written.
    """
    store = _open(get_settings().database_url)
    entry = Guard(store, user, Rules(), get_settings()).entry(Action.SIGN_IN, "", outcome, why)
    # Whoever is turned away has no role.
    store.add_audit(entry if outcome is Outcome.DONE else entry.model_copy(update={"role": "none"}))


def may(action: Action, owner: str | None = NOBODY_ELSE) -> bool:
    """Whether a button is worth showing; the action itself is checked by the guard."""
    try:
        user, _ = visitor()
    except TrilemmaError:
        return False
    return user.may(action, owner)


def later(make: Callable[[], Made]) -> Callable[[], Made]:
    """What makes a file in a thread of no session, when it is asked for, on behalf of whoever is here now."""
    mine = claims() if people() else None
    user, _ = visitor()

    def made() -> Made:
        token = _held.set(mine)
        try:
            if visitor()[0].role is not user.role:
                raise AccessError("Your role has changed.", "Load the page again.")
            return make()
        except Exception as error:
            # Streamlit tells the browser what was wrong.
            if not may(Action.SEE_SERVER):
                raise TrilemmaError("The file cannot be made.", "Whoever runs this dashboard finds out why.") from error
            raise
        finally:
            _held.reset(token)

    return made


def fragment(function: Callable[..., None], run_every: float | timedelta | None = None) -> Callable[..., None]:
    """A part of a page that is run by itself, for as long as whoever is here has the role that it was made for."""
    role = visitor()[0].role

    @functools.wraps(function)
    def checked(*args: Any) -> None:
        same = False
        with suppress(TrilemmaError):
            same = visitor()[0].role is role
        if not same:
            st.rerun()
        function(*args)

    return st.fragment(checked, run_every=run_every)
