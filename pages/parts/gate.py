"""What is before every page: whoever has no business here is not shown any."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec

import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.access.identity import User, claimed_id
from trilemma.access.roles import Role
from trilemma.errors import AccessError, SignInError, StoreError, TrilemmaError
from trilemma.records import Outcome

_MOST_SEEN = 10_000


@st.cache_resource(show_spinner=False)
def _seen() -> dict[tuple[str, datetime | None], None]:
    """The log-ins that are in the log, the oldest first."""
    return {}


def admitted() -> bool:
    """Whether a page may be shown; if not, what to do about it is."""
    try:
        user, _ = entrance.visitor()
    except SignInError as error:
        _ask(error)
    except AccessError as error:
        _turn_away(error)
    except TrilemmaError as error:
        shared.show_error(error)
    else:
        # Each load of a page is a session of Streamlit's; a log-in ends at a time of its own.
        if entrance.people() and (user.id, user.until) not in (seen := _seen()):
            _note(user, Outcome.DONE)
            seen[user.id, user.until] = None
            while len(seen) > _MOST_SEEN:
                seen.pop(next(iter(seen)), None)
        return True
    return False


def warning() -> None:
    """Say so where everybody on the network is administrator."""
    if entrance.exposed() and not entrance.people():
        st.warning(
            "**Whoever reaches this address can start measurements and delete weights.** There is no log-in, and the "
            "dashboard listens beyond this machine.",
            icon=":material/lock_open:",
        )


def foot() -> None:
    """Who is logged in, and the way out."""
    if not entrance.people():
        return
    try:
        user, _ = entrance.visitor()
    except TrilemmaError:  # it ended while the page was made; the next click says so
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", key="account"):
        st.caption(f"{shared.plain(user.name)}, {user.role}", width="content")
        _log_out()


def _ask(error: SignInError) -> None:
    with st.container(key="log_in", horizontal_alignment="center", gap="small"):
        st.title("Trilemma", anchor=False, width="content")
        st.markdown(f"{shared.plain(error.message)} {shared.advice(error.hint)}", text_alignment="center")
        if find_spec("authlib") is None:
            st.error("The package for logging in is missing: `pip install 'trilemma[auth]'`.", icon=":material/error:")
            return
        providers = _providers()
        for name in providers:
            label = "Log in" if len(providers) == 1 else f"Log in with {shared.plain(name)}"
            if st.button(label, type="primary", key=f"log_in_{name}"):
                st.login(None if name == "default" else name)


def _providers() -> list[str]:
    """The names of the providers in Streamlit's secrets; the unnamed one is called default."""
    section = st.secrets.get("auth", {})
    named = [name for name, value in section.items() if isinstance(value, Mapping) and "client_id" in value]
    return [*(["default"] if "client_id" in section else []), *(name for name in named if name != "default")]


def _turn_away(error: AccessError) -> None:
    shared.show_error(error)
    if not entrance.people():
        return
    with suppress(TrilemmaError):
        known = claimed_id(entrance.claims(), entrance.rules())
        _note(User(known or "unknown", "", Role.VIEWER), Outcome.REFUSED, str(error))
    _log_out()


def _log_out() -> None:
    if st.button("Log out", type="tertiary", icon=":material/logout:", key="log_out"):
        st.logout()


def _note(user: User, outcome: Outcome, why: str = "") -> None:
    with suppress(StoreError):  # the page says what is wrong with the store
        entrance.note_sign_in(user, outcome, why)
