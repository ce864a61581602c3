"""An axe scan of every page, light and dark, wide and narrow: nothing serious, nothing critical."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from pages.shared import PAGES
from tests.browser.conftest import Server, Watch, start_server
from trilemma.sample.loading import add_sample
from trilemma.store import open_store

pytestmark = pytest.mark.browser
Open = Callable[..., tuple[Page, Watch]]
Settled = Callable[[Page], None]

TOO_BAD = ("serious", "critical")
SHOWN = {
    **{name: f"/{name}" for name in PAGES if name != "run"},
    "explore, 3D": "/explore?view=3D",
    **{f"compare, {tab}": f"/compare?tab={tab}" for tab in ("answers", "waiting", "traces", "tryout", "vote")},
    "decide, use case": "/decide?preset=real-time-assistant&limit=peak_memory_bytes+%3C%3D+320+MiB",
    "present, picture": "/present?screen=2",
    "runs": "/run",
    "run": "/run?id=sample-01",
}
"""Pages by a name, with the sample study to show."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A dashboard with the sample study."""
    home = tmp_path_factory.mktemp("scanned") / "home"
    home.mkdir()
    with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
        add_sample(store)
    server = start_server(home)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A dashboard that has nothing to show."""
    server = start_server(Path(tmp_path_factory.mktemp("empty")) / "home")
    yield server
    server.stop()


def problems(page: Page) -> list[str]:
    """What axe finds serious or critical, one text an element; Streamlit's own are no exception."""
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]}\n{node.get('failureSummary', '')}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in TOO_BAD
        for node in violation["nodes"]
    ]


def scan(page: Page, url: str, settled: Settled) -> list[str]:
    page.goto(url)
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
    settled(page)
    page.wait_for_timeout(1000)  # figures are drawn after the script has ended
    if problems(page):
        page.wait_for_timeout(2000)  # colours fade from one to the other, on a busy machine slowly
    return problems(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", SHOWN.values(), ids=SHOWN)
def test_a_page_with_its_data(path: str, scheme: str, filled: Server, open_page: Open, settled: Settled) -> None:
    page, _ = open_page(scheme=scheme)
    assert scan(page, filled.url + path, settled) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_a_phone(name: str, filled: Server, open_page: Open, settled: Settled) -> None:
    page, _ = open_page(width=390, height=844)
    assert scan(page, f"{filled.url}/{name}", settled) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_data(name: str, empty: Server, open_page: Open, settled: Settled) -> None:
    page, _ = open_page(scheme="dark")
    assert scan(page, f"{empty.url}/{name}", settled) == []


def test_every_tab_of_a_run(filled: Server, open_page: Open, settled: Settled) -> None:
    page, _ = open_page()
    page.goto(f"{filled.url}/run?id=sample-01")
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    settled(page)
    tabs = page.get_by_role("tab").all()
    assert len(tabs) >= 7
    for tab in tabs:
        tab.click()
        page.wait_for_timeout(700)
        assert problems(page) == [], tab.inner_text()


def test_the_scan_finds_what_is_wrong(filled: Server, open_page: Open, settled: Settled) -> None:
    """So that a scan which looks at nothing does not pass."""
    page, _ = open_page()
    page.goto(f"{filled.url}/models")
    settled(page)
    page.evaluate("""() => {
        const image = document.createElement('img');
        image.src = '/app/static/nothing.svg';
        const faint = Object.assign(document.createElement('p'), {innerText: 'Hard to read'});
        faint.style.color = '#ddd';
        faint.style.background = '#fff';
        document.querySelector('[data-testid=stMain]').append(image, faint);
    }""")
    rules = {line.split()[0] for line in problems(page)}
    assert {"image-alt", "color-contrast"} <= rules
