"""The first request to a freshly started server shows the page that its URL names, with the whole navigation."""

from __future__ import annotations

import pytest

from pages.shared import CLUSTER, PAGES

pytestmark = pytest.mark.browser
BEFORE_HEADING = """() => {
    const heading = document.querySelector('h1');
    return [...document.querySelectorAll('[data-testid=stMarkdown]')]
        .filter(one => one.compareDocumentPosition(heading) === Node.DOCUMENT_POSITION_FOLLOWING)
        .map(one => one.innerText).filter(Boolean);
}"""
URLS = {
    "/": "explore",
    "/explore?x=energy_per_token_j": "explore",
    "/compare": "compare",
    "/new_study": "new_study",
    "/queue": "queue",
    "/run?id=0123456789abcdef": "run",
    "/present?screen=2": "present",
    "/models": "models",
}


@pytest.mark.parametrize(("url", "name"), URLS.items())
def test_first_request_shows_the_page(url: str, name: str, server, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(server.url + url)
    heading = page.get_by_role("heading", level=1)
    heading.wait_for(timeout=60_000)
    settled(page)
    assert heading.all_inner_texts() == [PAGES[name].question]
    assert page.evaluate(BEFORE_HEADING) == []
    links = page.get_by_test_id("stTopNavLink")
    assert [link.inner_text().splitlines()[-1] for link in links.all()] == [
        info.title for name, info in PAGES.items() if name != CLUSTER
    ]
    assert page.title() == f"{PAGES[name].title} · Trilemma"
    assert page.get_by_role("dialog").count() == 0
    assert page.get_by_test_id("stSidebarNav").count() == 0
    assert page.get_by_test_id("stException").count() == 0
    if "?" in url:
        assert page.url.endswith(url.partition("?")[2])
