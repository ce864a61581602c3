"""The analyst's ten minutes, from ``trilemma serve`` on an empty folder to a report that opens with the network off."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pages.shared import PAGES
from tests.browser.conftest import ROOT, Watch, click_into
from tests.waiting import free_port

pytestmark = pytest.mark.browser
Open = Callable[..., tuple[Page, Watch]]
Settled = Callable[[Page], None]
SLOWLY = 60_000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """What a newcomer has: ``trilemma serve``, and nothing measured; the address."""
    port = free_port()
    command = [sys.executable, "-m", "trilemma", "serve", "--no-browser", "--no-worker", "--port", str(port)]
    environment = {**os.environ, "TRILEMMA_HOME": str(tmp_path / "home"), "TRILEMMA_SAMPLE": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert any("The dashboard is at" in line for line in process.stdout)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def go_to(page: Page, name: str, settled: Settled) -> None:
    """By the navigation, as a user would."""
    page.get_by_role("link", name=PAGES[name].title, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES[name].question, timeout=SLOWLY)
    settled(page)


def marked(page: Page) -> None:
    """The page says that its figures are not this machine's."""
    note = page.get_by_text(re.compile(r"measured on .+, on \d+ \w+ \d{4}, not on yours"))
    expect(note.first).to_be_visible(timeout=SLOWLY)


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).click()
    page.get_by_role("option", name=option).click()


def explore(page: Page, settled: Settled) -> None:
    """The picture, a point of it, and what is known of that point."""
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES["explore"].question, timeout=SLOWLY)
    marked(page)
    settled(page)
    points = page.locator(".scatterlayer path.point")
    points.first.wait_for(state="attached", timeout=SLOWLY)
    assert points.count() >= 9
    card = page.get_by_role("link", name="Open run")
    click_into(page, points.nth(8), card)
    settled(page)


def decide(page: Page, settled: Settled) -> str:
    """A preset, a limit, a place on the decision map; what is picked."""
    go_to(page, "decide", settled)
    marked(page)
    choose(page, "^Use case", "Real-time assistant")
    expect(page).to_have_url(re.compile("preset=real-time-assistant"), timeout=SLOWLY)
    settled(page)
    limits = page.get_by_role("combobox", name=re.compile("Limits"))
    limits.fill("peak_memory_bytes <= 320 MiB")
    limits.press("Enter")
    settled(page)
    expect(page.get_by_text(re.compile(r"Peak memory ≤ 320 MiB: [1-8] of 9 keep it"))).to_be_visible(timeout=SLOWLY)
    limits.press("Escape")
    triangle = page.locator(".st-key-decide_ternary .js-plotly-plot")
    expect(triangle).to_be_visible(timeout=SLOWLY)
    words = page.get_by_test_id("stMarkdownContainer")
    before = words.filter(has_text=re.compile(r"efficiency \d+ %, speed \d+ %, performance \d+ %")).first.inner_text()
    plot = triangle.locator(".ternary .plotbg path, .ternarylayer .plotbg path").first
    shares = words.filter(has_text=re.compile(r"efficiency (7|8)\d(\.\d)? %")).first
    click_into(page, plot, shares, down=0.2)  # close to the top corner: efficiency above all
    verdict = shares.inner_text()
    assert verdict != before
    expect(page).to_have_url(re.compile("weights="), timeout=SLOWLY)
    settled(page)
    found = re.search(r"(SmolLM2-135M-Instruct|Gemma-3-270M) \w+", verdict)
    assert found is not None, verdict
    return found[0]


def compare(page: Page, settled: Settled) -> None:
    """The pick against the runner-up, reached from the recommendation."""
    page.get_by_role("link", name="Compare with the runner-up").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES["compare"].question, timeout=SLOWLY)
    expect(page).to_have_url(re.compile(r"[?&]c=[^&]+&(.*&)?c="), timeout=SLOWLY)
    marked(page)
    settled(page)
    assert page.get_by_test_id("stDataFrame").count() + page.locator(".js-plotly-plot").count() > 0
    page.get_by_role("radio", name="Answers").click()
    expect(page).to_have_url(re.compile("tab=answers"), timeout=SLOWLY)
    marked(page)
    settled(page)


def plan(page: Page, settled: Settled) -> None:
    """What it takes at scale."""
    go_to(page, "plan", settled)
    marked(page)
    expect(page.get_by_text(re.compile("the measured speed of one replica"))).to_be_visible(timeout=SLOWLY)


def present(page: Page, settled: Settled) -> int:
    """Every screen by keyboard; how many there are."""
    page.get_by_role("link", name="Present", exact=True).last.click()
    bar = page.locator(".st-key-present_bar")
    expect(bar).to_contain_text(re.compile(r"1 / \d"), timeout=SLOWLY)
    found = re.search(r"1 / (\d)", bar.inner_text())
    assert found is not None
    count, told = int(found[1]), []
    for number in range(1, count + 1):
        expect(bar).to_contain_text(f"{number} / {count}", timeout=SLOWLY)
        settled(page)
        marked(page)
        told.append(page.get_by_role("heading", level=1).first.inner_text())
        page.keyboard.press("ArrowRight")
    assert len(set(told)) == count, told
    return count


def report(page: Page, folder: Path) -> Path:
    """The file that is handed out."""
    page.get_by_role("button", name="Report").click()
    with page.expect_download(timeout=2 * SLOWLY) as waiting:
        page.get_by_role("button", name="HTML").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_from_nothing_to_a_report_that_needs_no_network(
    served: str, open_page: Open, settled: Settled, browser: Browser, tmp_path: Path
) -> None:
    page, _ = open_page()
    page.goto(served)
    explore(page, settled)
    pick = decide(page, settled)
    chosen = page.url
    compare(page, settled)
    if "plan" in PAGES:
        plan(page, settled)
    page.goto(chosen)  # the link of the decision shows the same
    expect(page.get_by_text(re.compile(re.escape(pick))).first).to_be_visible(timeout=SLOWLY)
    settled(page)
    assert present(page, settled) >= 2
    path = report(page, tmp_path)

    context = browser.new_context(offline=True)
    asked: list[str] = []
    wrong: list[str] = []
    reader = context.new_page()
    reader.on("request", lambda request: asked.append(request.url))
    reader.on("pageerror", lambda error: wrong.append(str(error)))
    reader.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    reader.goto(path.as_uri())
    reader.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=SLOWLY)
    expect(reader.get_by_text(re.compile("not on yours")).first).to_be_visible()
    assert reader.get_by_text("SmolLM2-135M-Instruct").count() > 0
    assert [url for url in asked if url.startswith("http")] == []
    assert wrong == []
    context.close()
