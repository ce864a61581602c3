"""The entry: all pages are there, and what cannot be used is said on every one of them."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages import shared

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh_store(home: Path) -> None:
    st.cache_resource.clear()


def test_the_entry_opens_explore_on_an_empty_store() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert [title.value for title in app.title] == [shared.PAGES["explore"].question]


@pytest.mark.parametrize("name", shared.PAGES)
def test_every_page_ends_in_the_call_that_a_cold_server_needs(name: str) -> None:
    source = (ROOT / "pages" / f"{name}.py").read_text()
    assert re.search(r'\nif __name__ == "__main__":.*\n    import app\n\n    app\.main\(\)\n$', source)


@pytest.mark.parametrize("name", shared.PAGES)
def test_every_page_says_that_the_database_is_too_new(name: str, database_file: Path) -> None:
    shared.get_store().close()
    st.cache_resource.clear()
    with sqlite3.connect(database_file) as database:
        database.execute("update alembic_version set version_num = '9999_from_the_future'")
    app = page_test(name).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "newer" in app.error[0].value


def page_test(name: str) -> AppTest:
    def script(name: str) -> None:
        import importlib

        from pages import shared

        with shared.errors_shown():
            importlib.import_module(f"pages.{name}").page()

    return AppTest.from_function(script, args=(name,), default_timeout=60)


@pytest.mark.parametrize(
    "text",
    ["![](http://evil.example/x.png)", "[a](javascript:alert(1))", "<img src=x>", "$x$ `y` **z**", ":red[x] #1 a_b~c"],
)
def test_plain_text_escapes_everything_that_markdown_means(text: str) -> None:
    escaped = shared.plain(text)
    assert escaped.replace("\\", "") == text.replace("\\", "")
    for position, letter in enumerate(escaped):
        if letter in "`*_[]()<>$:#!":
            assert escaped[position - 1] == "\\"


def test_plain_text_is_one_line() -> None:
    assert shared.plain("one\n# two\n\n    three") == "one \\# two three"
