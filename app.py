"""The Streamlit entry: navigation, theme, nothing else.

streamlit run app.py
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages import shared
from pages.parts import gate

STATIC = Path(__file__).parent / "static"


def main() -> None:
    """Show the page that the URL names, with the navigation around it.

    Streamlit takes the ``pages`` folder for its older way of making several pages and runs, on the very first request
    to a fresh server, the file that the URL names instead of this one. So every file there ends in a call of this
    function, and is shown as it would have been from here.
    """
    # An icon of our own: for a Material symbol in the tab, Streamlit would send the browser to Google.
    st.set_page_config(page_title="Trilemma", page_icon=STATIC / "icon.svg", layout="wide")
    st.html(STATIC / "style.css")
    if not gate.admitted():
        return
    pages = [*map(shared.page_object, [*shared.PAGES, shared.AUDIT]), shared.alias()]
    navigation = st.navigation(pages, position="top")
    st.set_page_config(page_title=f"{navigation.title} · Trilemma")
    st.logo(STATIC / "icon.svg")
    gate.warning()
    with shared.errors_shown():
        navigation.run()
    gate.foot()
    shared.keep_imports(navigation.title)


if __name__ == "__main__":
    main()
