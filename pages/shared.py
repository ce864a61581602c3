"""What all pages share: the store, headings, links, and how errors and emptiness are shown."""

from __future__ import annotations

import functools
import gc
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NoReturn

import streamlit as st
from streamlit.navigation.page import Page

from pages.parts import entrance
from trilemma.access.roles import Action
from trilemma.errors import DatabaseTooNewError, NotFoundError, StoreError, TrilemmaError
from trilemma.records import SampleFacts
from trilemma.sample import words
from trilemma.schema import Axis
from trilemma.scrub import Scrubber
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.tryout.messages import clean


@dataclass(frozen=True)
class PageInfo:
    """A page as the navigation shows it, and the question it answers."""

    title: str
    icon: str
    question: str


PAGES = {
    "explore": PageInfo("Explore", ":material/scatter_plot:", "Which options are worth having?"),
    "decide": PageInfo("Decide", ":material/balance:", "Which one, given what we care about?"),
    "compare": PageInfo("Compare", ":material/compare_arrows:", "How do they differ, and is it luck?"),
    "plan": PageInfo("Plan", ":material/dns:", "What will it take, and what will it cost?"),
    "present": PageInfo("Present", ":material/co_present:", "What do we tell them?"),
    "new_study": PageInfo("New study", ":material/add_chart:", "What shall we measure?"),
    "queue": PageInfo("Queue", ":material/pending_actions:", "What is happening now?"),
    "run": PageInfo("Run", ":material/query_stats:", "Can I trust this point?"),
    "models": PageInfo("Models", ":material/deployed_code:", "What can we run?"),
    "machines": PageInfo("Machines", ":material/lan:", "Where is it measured?"),
}
AUDIT = "audit"
"""The page of administrators, in the navigation where people log in."""
_INFO = PAGES | {AUDIT: PageInfo("Audit", ":material/policy:", "Who did what?")}
_LEADS = {"new_study": Action.SUBMIT, "models": Action.ADD_WEIGHTS}
"""What a page is gone to for."""

CLUSTER = "machines"
"""The page that says nothing to whoever has one machine: it is in the navigation of a cluster alone."""

HOME = "explore"

AXIS_ICONS = {
    Axis.EFFICIENCY: ":material/eco:",
    Axis.SPEED: ":material/bolt:",
    Axis.PERFORMANCE: ":material/psychology:",
}

# The theme maps Streamlit's named colours to the axes' own (.streamlit/config.toml), light and dark.
AXIS_COLOUR_NAMES = {Axis.EFFICIENCY: "green", Axis.SPEED: "orange", Axis.PERFORMANCE: "blue"}

_COMMAND = re.compile(r"(?<!`)`([A-Za-z][A-Za-z0-9 ._/=-]*)`(?!`)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&])")


def page_object(name: str) -> Page:
    """The page called ``name`` for ``st.navigation``, ``st.page_link`` and ``st.switch_page``."""
    # Pages import this module, so they are imported when asked for and not above.
    function = importlib.import_module(f"pages.{name}").page
    info = _INFO[name]
    if name == HOME:
        return st.Page(function, title=info.title, icon=info.icon, url_path="home", default=True)
    # Still there for who has the address, and then says why it is not for them.
    hidden = (
        (name == "new_study" and not entrance.may(Action.SUBMIT))
        or (name == AUDIT and not (entrance.people() and entrance.may(Action.READ_AUDIT)))
        or (name == CLUSTER and not _clustered())
    )
    return st.Page(
        function, title=info.title, icon=info.icon, url_path=name, visibility="hidden" if hidden else "visible"
    )


def _clustered() -> bool:
    """Whether a cluster is named, or was once."""
    try:
        return bool(get_settings().ray_address or get_store().machines())
    except TrilemmaError:  # the page itself will say so
        return False


def alias() -> Page:
    """The home page by its own name: Streamlit knows the default page as ``/`` only."""
    function = importlib.import_module(f"pages.{HOME}").page
    return st.Page(function, title=PAGES[HOME].title, url_path=HOME, visibility="hidden")


@functools.cache
def keep_imports(page: str) -> None:
    """Take what has been imported when ``page`` is shown for the first time off the garbage collector's round.

    It stays for as long as the server runs, and going over it takes more than a tenth of a second, for which whoever
    waits for an answer would wait too.
    """
    gc.collect()
    gc.freeze()


def go(name: str, params: Mapping[str, str | list[str]] | None = None) -> NoReturn:
    """Leave for the page called ``name``."""
    st.switch_page(page_object(name), query_params=dict(params or {}))


def link(
    name: str, label: str, params: Mapping[str, str | list[str]] | None = None, *, icon: str | None = None
) -> None:
    """A link to the page called ``name``; ``label`` is shown as it is, not as Markdown."""
    # A page of its own without an icon: a link shows its page's icon if it has none itself.
    url_path = "home" if name == HOME else name
    bare = st.Page(importlib.import_module(f"pages.{name}").page, url_path=url_path, default=name == HOME)
    st.page_link(bare, label=plain(label), icon=icon, query_params=dict(params or {}))


def get_store() -> Store:
    """The store, opened once for the whole server, for reading; :func:`entrance.guard` gives one to change.

    Raises:
        AccessError: whoever is here may not look, or not any more.
        StoreError: it cannot be opened; tried again at the next request.
    """
    return entrance.guard().store


def plain(text: str) -> str:
    """``text`` so that Markdown shows it letter for letter: no link, image, formula or colour comes of it.

    U+FFFD stands for what is not seen and could mislead; see :func:`trilemma.tryout.messages.clean`.
    """
    return _escaped(" ".join(text.split()))


def advice(text: str) -> str:
    """As :func:`plain`, but that what stands between backticks and may be a command looks like one."""
    shown = " ".join(text.split())
    if "`" in _COMMAND.sub("", shown):  # else it could be another pair of them that Markdown takes
        return plain(shown)
    parts = _COMMAND.split(shown)
    return "".join(f"`{part}`" if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", clean(text))


def unbroken(text: str) -> str:
    """``text`` in which no line ends between a number and its percent sign; of what :func:`plain` gave back."""
    return text.replace(" %", "\u00a0%")


def heading(name: str, note: str = "") -> None:
    """The page's question, and under it one line that may say what is shown."""
    st.title(_INFO[name].question, anchor=False)
    if note:
        st.caption(note)


@st.cache_resource(max_entries=16, show_spinner=False)
def _origin(of: tuple[str, int], study_id: str) -> SampleFacts | None:
    return get_store().origin(study_id or None)


def sample_note(study_id: str = "", beside: Callable[[SampleFacts], None] | None = None) -> None:
    """Say so where figures that were not measured here are shown: of ``study_id``, or, if it is empty, of all.

    ``beside`` draws what else stands in that line.
    """
    store = get_store()
    facts = _origin((store.url, store.version()), study_id)
    if facts is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="sample_note"):
        icon, kind = (":material/download:", "Imported") if facts.imported else (":material/science:", "Sample")
        st.markdown(f"{icon} **{kind} study**, {plain(words.whence(facts))}", width="content")
        if beside is not None:
            beside(facts)


def axis_badge(axis: Axis) -> str:
    """The axis's icon and name in its colour, as Markdown."""
    return f":{AXIS_COLOUR_NAMES[axis]}[{AXIS_ICONS[axis]} {axis.value.capitalize()}]"


def empty_state(icon: str, title: str, text: str, *, button: str = "", to: str = "") -> None:
    """What this place will show, and the one button that gets there.

    Args:
        icon: A Material symbol, ``:material/name:``.
        title: A short sentence.
        text: What will be here and what makes it so.
        button: The button's label, a verb; none when empty.
        to: The page that the button leads to.
    """
    with st.container(key=f"empty_{to or 'state'}", horizontal_alignment="center", gap="small"):
        st.markdown(f"### {icon} {title}", text_alignment="center")
        st.markdown(text, text_alignment="center", width=520)
        allowed = to not in _LEADS or entrance.may(_LEADS[to])
        if button and allowed and st.button(button, type="primary", key=f"empty_go_{to}"):
            go(to)


def show_error(error: TrilemmaError) -> None:
    """What happened and what to do next; of the database those who may not know more learn that it is away."""
    if isinstance(error, StoreError) and not isinstance(error, NotFoundError) and not entrance.may(Action.SEE_SERVER):
        # A server names itself, its address and its account.
        error = StoreError("The database cannot be used just now.", "Try again later, or tell whoever runs this.")
    icon = ":material/update:" if isinstance(error, DatabaseTooNewError) else ":material/error:"
    text = f"**{plain(told(error.message))}**"
    if error.hint:
        text += f"\n\n{advice(told(error.hint))}"
    st.error(text, icon=icon)


def told(text: str) -> str:
    """A text that may name the server's inside, as whoever is here may read it."""
    if entrance.may(Action.SEE_SERVER):
        return text
    return Scrubber([str(get_settings().home / "x")]).text(text)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show a :class:`TrilemmaError` raised inside instead of letting it through."""
    try:
        yield
    except TrilemmaError as error:
        show_error(error)


def param(name: str, default: str = "") -> str:
    """One query parameter of the URL."""
    return st.query_params.get(name, default)


def params(name: str) -> list[str]:
    """All values of a query parameter that may be repeated."""
    return list(st.query_params.get_all(name))


def bound(key: str) -> Literal["query-params"] | None:
    """How a field of a whole number is bound to the address: not at all where that has no finite number for it, which
    Streamlit would end in an error over."""
    given = " ".join(params(key))
    return None if re.search(r"inf|nan|e\+?\d{3}", given, re.IGNORECASE) else "query-params"


def set_params(name: str, values: str | list[str] | None) -> None:
    """Write a query parameter, or drop it when there is nothing to say; the page is not run again."""
    if values:
        if st.query_params.get_all(name) != ([values] if isinstance(values, str) else values):
            st.query_params[name] = values
    elif name in st.query_params:
        del st.query_params[name]


if __name__ == "__main__":
    import app

    app.main()
