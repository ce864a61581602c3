"""State that lives in the URL: a link shows the same view, and the view writes its own link."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import streamlit as st

Value = str | list[str] | bool | None
_CARRIED, _CARRIED_BY = "carried", "carried:by"
"""In the session: what pages ask in common, as the URL would have it, and the page that said it last."""


class UrlState:
    """The state of one page's widgets, by the names of their query parameters.

    Streamlit's own binding puts the labels of options into the URL; labels may change, so keys are written here.
    A URL that somebody followed goes before what the session remembers; what equals its default is not written.

    Args:
        page: The page's name.
        defaults: What is not in the URL.
        carried: Names that mean the same on other pages: who opens this page by its name alone finds them as the
            page before left them.
    """

    def __init__(self, page: str, defaults: Mapping[str, Value], carried: Collection[str] = ()) -> None:
        self._page = page
        self._defaults = dict(defaults)
        self._carried = frozenset(carried)
        self._written, self._kept, self._said = f"{page}:url", f"{page}:kept", f"{page}:said"
        self._read()

    def key(self, name: str) -> str:
        """The key of the widget of ``name``."""
        return f"{self._page}:{name}"

    def get(self, name: str) -> Value:
        """The present value of ``name``."""
        value: Value = st.session_state.get(self.key(name), self._defaults[name])
        return value

    def text(self, name: str) -> str:
        """The present value of a single choice; empty when nothing is chosen."""
        value = self.get(name)
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """The present value of a list."""
        value = self.get(name)
        return value if isinstance(value, list) else []

    def put(self, name: str, value: Value) -> None:
        """Set ``name``; before its widget is made, or in a callback."""
        st.session_state[self.key(name)] = value

    def defaults(self, **values: Value) -> None:
        """Defaults that are known only once the data is: they take the place of an unset value."""
        for name, value in values.items():
            if self.get(name) == self._defaults[name]:
                self.put(name, value)
            self._defaults[name] = value

    def keep_to(self, name: str, options: Collection[str]) -> None:
        """Drop what is not among ``options``: a link may be older than the data, or made up."""
        value = self.get(name)
        if isinstance(value, list):
            self.put(name, [one for one in value if one in options])
        elif value not in options:
            self.put(name, self._defaults[name])

    def reset(self) -> None:
        """Back to the defaults."""
        for name, default in self._defaults.items():
            self.put(name, default)

    def _read(self) -> None:
        found = {name: st.query_params.get_all(name) for name in self._defaults if name in st.query_params}
        followed = bool(found) and found != st.session_state.get(self._written) and not self._handled()
        # Streamlit forgets what was chosen in a page's widgets as soon as another page is open.
        kept = found or st.session_state.get(self._kept, {})
        taken = {} if found else self._handed_on()
        for name, default in self._defaults.items():
            if name in taken:
                self.put(name, _parse(taken[name], default))
            elif followed or self.key(name) not in st.session_state:
                self.put(name, _parse(kept.get(name), default))
            else:
                # Said again, so that the value outlives a run in which its widget is not made.
                self.put(name, self.get(name))

    def _handled(self) -> bool:
        """Whether somebody used a widget of the page: of two quick ones the second comes with the URL of before both.

        Without this the URL would be taken for a link that was followed, and undo both.
        """
        said: Mapping[str, Value] = st.session_state.get(self._said, {})
        return any(st.session_state.get(self.key(name), value) != value for name, value in said.items())

    def _handed_on(self) -> dict[str, list[str] | None]:
        """What another page said last of the names that are carried; None where it is at its default."""
        if st.session_state.get(_CARRIED_BY, self._page) == self._page:
            return {}
        said: Mapping[str, list[str] | None] = st.session_state[_CARRIED]
        return {name: said[name] for name in self._carried & said.keys()}

    def write(self, among: Collection[str] | None = None) -> None:
        """Write the URL, or of it only the names ``among``: the others stay in the session. The page is not run again.

        Args:
            among: What the present view has to do with; all by default.
        """
        names = self._defaults if among is None else among
        # Nothing chosen where something is by default is a choice too, and is written as an empty parameter.
        changed = {name: self.get(name) for name in self._defaults if self.get(name) != self._defaults[name]}
        kept = {name: _spell(value) or [""] for name, value in changed.items()}
        texts = {name: text for name, text in kept.items() if name in names}
        for name in self._defaults:
            now = st.query_params.get_all(name)
            if name in texts and now != texts[name]:
                st.query_params[name] = texts[name]
            elif name not in texts and now:
                del st.query_params[name]
        st.session_state[self._written], st.session_state[self._kept] = texts, kept
        st.session_state[self._said] = {name: self.get(name) for name in self._defaults}
        if self._carried:
            said = {name: texts.get(name) for name in self._carried}
            st.session_state[_CARRIED] = {**st.session_state.get(_CARRIED, {}), **said}
            st.session_state[_CARRIED_BY] = self._page


class Snapshot(UrlState):
    """A copy of some of a page's state: what is put right in it stays in it, and the URL says what it said.

    For a page that shows what another page's part of a link means, without controls for it.
    """

    def __init__(self, of: UrlState, defaults: Mapping[str, Value]) -> None:
        self._defaults = dict(defaults)
        self._values: dict[str, Value] = {name: of.get(name) for name in defaults}

    def get(self, name: str) -> Value:
        """The present value of ``name`` in the copy."""
        return self._values[name]

    def put(self, name: str, value: Value) -> None:
        """Set ``name`` in the copy."""
        self._values[name] = value


def _parse(texts: list[str] | None, default: Value) -> Value:
    if texts is None:
        return list(default) if isinstance(default, list) else default
    if isinstance(default, list):
        return texts
    return texts[-1] == "1" if isinstance(default, bool) else texts[-1]


def _spell(value: Value) -> list[str]:
    if isinstance(value, list):
        return value
    if isinstance(value, bool):
        return ["1" if value else "0"]
    return [value] if value else []
