"""The report in a real browser: opened from disk with the network off, drawn, light and dark, saved as files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.factory import fill_store
from tests.report.made import hostile_study
from trilemma.report import html_report
from trilemma.store import Store, open_store

pytestmark = pytest.mark.browser


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'trilemma.db'}")


def written(store: Store, study_id: str, folder: Path) -> str:
    path = folder / "report.html"
    path.write_bytes(html_report(store, study_id))
    return path.as_uri()


def opened(browser: Browser, address: str, *, width: int = 1440, scheme: str = "light") -> tuple[Page, list[str]]:
    """The report without any network, and all that went wrong or was asked for besides the file itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, accept_downloads=True
    )
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.on("requestfailed", lambda request: wrong.append(f"refused: {request.url}"))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective))"
    )
    page.goto(address)
    page.wait_for_selector("html[data-drawn]", timeout=60_000, state="attached")
    return page, wrong


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_it_opens_from_disk_without_a_network(
    browser: Browser, kept: Store, tmp_path: Path, width: int, scheme: str
) -> None:
    page, wrong = opened(browser, written(kept, fill_store(kept).id, tmp_path), width=width, scheme=scheme)
    assert page.locator(".chart .main-svg").count() >= 2
    assert page.locator(".chart .scatterlayer path.point").count() >= 18
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert wrong == []
    page.context.close()


def test_what_is_saved_is_what_is_shown(browser: Browser, kept: Store, tmp_path: Path) -> None:
    study = fill_store(kept)
    page, wrong = opened(browser, written(kept, study.id, tmp_path))
    files = {}
    for name in ("chart-0:png", "chart-0:svg", "chart-0:csv", "measurements", "configurations", "json"):
        chart, _, kind = name.partition(":")
        button = f'[data-save="{kind}"][data-chart="0"]' if kind else f'[data-save="{chart}"]'
        with page.expect_download(timeout=60_000) as waiting:
            page.locator(button).click()
        files[name] = (waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes())
    assert files["chart-0:png"][0] == "trilemma-demo-front.png"
    assert files["chart-0:png"][1].startswith(b"\x89PNG")
    assert files["chart-0:svg"][1].startswith(b"<svg")
    rows = list(csv.DictReader(io.StringIO(files["measurements"][1].decode())))
    stored = [m for run in kept.runs(study.id) for m in kept.measurements(run.id)]
    assert len(rows) == len(stored)
    assert sum(float(row["value"]) for row in rows if row["value"]) == pytest.approx(
        sum(m.value for m in stored if m.value is not None)
    )
    assert len(list(csv.DictReader(io.StringIO(files["configurations"][1].decode())))) == 9
    assert json.loads(files["json"][1])["format"] == "trilemma-report"
    assert wrong == []
    page.context.close()


def test_hostile_names_run_nothing_and_are_read_as_they_are(browser: Browser, kept: Store, tmp_path: Path) -> None:
    page, wrong = opened(browser, written(kept, hostile_study(kept).id, tmp_path))
    assert page.locator("img").count() == 0
    assert page.get_by_text("</script><img src=x onerror=alert(1)>").count() >= 3
    with page.expect_download() as waiting:
        page.locator('[data-save="measurements"]').click()
    assert "</script>" in Path(waiting.value.path()).read_text()
    assert wrong == []
    page.context.close()


def test_on_paper_it_is_light_and_as_wide_as_the_sheet(browser: Browser, kept: Store, tmp_path: Path) -> None:
    page, wrong = opened(browser, written(kept, fill_store(kept).id, tmp_path), scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    drawing = page.locator("#chart-0 .main-svg").first
    expect(drawing).to_have_attribute("width", "680")
    assert page.evaluate("document.querySelector('#chart-0 .main-svg').style.background") == "rgb(255, 255, 255)"
    assert page.locator(".save").first.is_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(drawing).not_to_have_attribute("width", "680")
    assert wrong == []
    page.context.close()
