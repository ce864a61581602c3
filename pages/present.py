"""Present: what do we tell them? One screen after the other, without controls, for the meeting."""

from __future__ import annotations

import streamlit as st

from pages import shared
from pages.parts import decide_choice, explore_data, present_data, present_plan, present_view
from pages.parts.url_state import UrlState

DEFAULTS: dict[str, str | list[str] | bool | None] = {
    **present_plan.DEFAULTS, **decide_choice.DEFAULTS,
    "model": [], "quantization": [], "engine": [], "engine_version": [], "measured_on": [],
    "x": "", "y": "", "size": "", "screen": "1",
}  # fmt: skip
_CARRIED = {*decide_choice.DEFAULTS, *present_plan.DEFAULTS, *explore_data.PICTURE}


def page() -> None:
    """The screen that the URL names."""
    of = explore_data.version()
    start = present_data.first_study(of)
    if start is None:
        shared.heading("present")
        shared.empty_state(
            ":material/co_present:",
            "Nothing has been measured yet",
            "Here you will show a meeting the question, the picture, the recommendation and the plan, one screen each, "
            "without controls, and hand out the report. Set up a study first.",
            button="Set up a study",
            to="new_study",
        )
        return
    st.html(present_view.STYLE)
    url = UrlState("present", DEFAULTS, carried=_CARRIED)
    chosen = present_data.choose(of, start, url)
    asked = present_plan.choose(of, chosen, url)
    screens = list(present_view.screens(of, chosen, asked))
    now = present_view.number(url, len(screens))
    url.put("screen", str(now))
    url.write()
    with st.container(key="present_screen"):
        shared.sample_note(chosen.study)
        screens[now - 1](of, chosen)
    view: dict[str, str | list[str]] = {
        name: st.query_params.get_all(name) for name in st.query_params if name != "screen"
    }
    present_view.bar(of, chosen, asked, url, len(screens), view)


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()
