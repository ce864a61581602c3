"""A form out of a type: values of every kind come back as that kind, and defaults not at all."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from streamlit.testing.v1 import AppTest


class Options(BaseModel):
    facts: Literal[1, 3] = 1
    lengths: tuple[int, ...] = Field(default=(512, 1024), max_length=3)
    names: tuple[str, ...] = ()
    share: float = Field(default=0.5, ge=0, le=1)
    count: int | None = Field(default=None, ge=1)
    word: str | None = Field(default=None, pattern="^[a-z]+$")
    quick: bool = True


def page(options_type) -> None:
    import streamlit as st

    from pages.parts.options_form import options_form

    st.session_state["found"] = options_form(options_type, "o")


def test_defaults_are_left_out_and_values_keep_their_kind() -> None:
    app = AppTest.from_function(page, default_timeout=60, args=(Options,)).run()
    assert not app.exception
    assert app.session_state["found"] == ({}, True)
    app.selectbox(key="o_facts").set_value("3")
    app.text_input(key="o_lengths").input("64, 128")
    app.text_input(key="o_names").input("one,two")
    app.number_input(key="o_count").set_value(4)
    app.checkbox(key="o_quick").uncheck().run()
    expected = {"facts": 3, "lengths": [64, 128], "names": ["one", "two"], "count": 4, "quick": False}
    assert app.session_state["found"] == (expected, True)
    app.text_input(key="o_lengths").input("many")
    app.text_input(key="o_word").input("NO").run()
    found, valid = app.session_state["found"]
    assert not valid
    assert "lengths" not in found
    assert len([one for one in app.caption if ":red[" in one.value]) == 2
