"""Present in a real browser: by keyboard, without the navigation, readable, and its report is handed out."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.factory import fill_store
from trilemma.store import open_store

pytestmark = pytest.mark.browser


@pytest.fixture
def filled(server):
    with open_store(f"sqlite:///{server.home / 'trilemma.db'}") as store:
        fill_store(store)
    return server


def screen(page: Page, number: int) -> None:
    expect(page.locator(".st-key-present_bar")).to_contain_text(f"{number} / ", timeout=30_000)


def test_it_is_walked_by_keyboard(filled, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(filled.url + "/present")
    settled(page)
    screen(page, 1)
    assert page.get_by_test_id("stTopNavLink").first.is_hidden()
    for key, number in (("ArrowRight", 2), ("ArrowLeft", 1), ("Space", 2), ("PageUp", 1), ("PageDown", 2), ("Home", 1)):
        page.keyboard.press(key)
        screen(page, number)
        settled(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/present?screen=2")
    page.keyboard.press("ArrowRight")  # before the second screen is there
    screen(page, 3)
    page.keyboard.press("End")
    page.wait_for_url("**/present?screen=*")
    page.keyboard.press("Home")
    screen(page, 1)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".st-key-present_picture .main-svg").first).to_be_visible(timeout=30_000)
    assert page.url.endswith("/present?screen=2")
    size = page.locator("h1").evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    assert size >= 40, "readable from the back of a room"
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stTopNavLink").first).to_be_visible(timeout=30_000)


def test_the_report_is_handed_out(filled, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(filled.url + "/present")
    settled(page)
    page.locator(".st-key-present_bar").get_by_role("button", name="Report").click()
    with page.expect_download(timeout=60_000) as waiting:
        page.locator(".st-key-present_html button").click()
    assert waiting.value.suggested_filename == "trilemma-demo-report.html"
    assert Path(waiting.value.path()).read_bytes().startswith(b"<!doctype html>")


def test_every_chart_is_saved_as_png_svg_and_csv(filled, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(filled.url)
    settled(page)
    row = page.locator(".st-key-saves_explore_2d")
    for kind, begins in (("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("CSV", b"configuration_id")):
        with page.expect_download(timeout=60_000) as waiting:
            row.get_by_role("button", name=kind).click()
        assert waiting.value.suggested_filename.startswith("trilemma-energy-per-token")
        assert waiting.value.suggested_filename.endswith(kind.lower())
        assert Path(waiting.value.path()).read_bytes().startswith(begins)


@pytest.mark.parametrize("number", ["1", "2", "3", "4"])
def test_nothing_scrolls_sideways_on_a_phone(filled, open_page, settled, number: str) -> None:
    page, _ = open_page(width=390, height=844, scheme="dark")
    page.goto(f"{filled.url}/present?screen={number}")
    settled(page)
    page.get_by_role("heading", level=1).wait_for()
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollLeft = 1000")
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollLeft") == 0


@pytest.mark.parametrize("number", ["1", "2", "3", "4"])
def test_the_bar_covers_nothing_at_the_end_of_a_tall_screen(filled, open_page, settled, number: str) -> None:
    page, _ = open_page(width=390, height=600)
    page.goto(f"{filled.url}/present?screen={number}")
    settled(page)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(500)  # charts grow when they are drawn
    below, bar = page.evaluate(
        """() => {
            const main = document.querySelector('[data-testid=stMain]');
            main.scrollTop = main.scrollHeight;
            const edges = (name) => document.querySelector(name).getBoundingClientRect();
            return [edges('.st-key-present_screen').bottom, edges('.st-key-present_bar').top];
        }"""
    )
    assert below <= bar
