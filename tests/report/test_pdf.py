"""Which browser prints a report, and what is said where none does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.factory import DEMO, fill_store
from trilemma.errors import ReportError
from trilemma.report import find_browser, html_report, pdf_report
from trilemma.report import pdf as printing
from trilemma.store import Store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stand-ins for a browser are shell scripts")


def stand_in(folder: Path, name: str, body: str) -> Path:
    """A program that is called like a browser."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{body}\n")
    program.chmod(0o755)
    return program


def test_the_browser_that_is_named_comes_first_then_the_search_path_then_playwrights(tmp_path: Path) -> None:
    own = stand_in(tmp_path / "own", "mine", "")
    chromium = stand_in(tmp_path / "bin", "chromium", "")
    downloaded = stand_in(tmp_path / ".cache/ms-playwright/chromium-1200/chrome-linux", "chrome", "")
    around = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    assert find_browser({**around, "TRILEMMA_CHROMIUM": str(own)}) == own
    assert find_browser({**around, "TRILEMMA_CHROMIUM": str(tmp_path / "gone")}) == chromium
    assert find_browser({**around, "PATH": str(tmp_path)}) == downloaded
    chromium.chmod(0o644)
    assert find_browser(around) == downloaded, "not one that cannot be run"


def test_without_a_browser_the_user_is_told_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "find_browser", lambda: None)
    with pytest.raises(ReportError) as caught:
        pdf_report(b"<!doctype html>")
    assert "print it from there" in caught.value.hint


def test_the_browser_gets_the_file_a_profile_of_its_own_and_no_network(tmp_path: Path) -> None:
    told = tmp_path / "told"
    browser = stand_in(
        tmp_path, "browser",
        "target = next(a for a in sys.argv if a.startswith('--print-to-pdf=')).partition('=')[2]\n"
        f"Path({str(told)!r}).write_text('\\n'.join(sys.argv[1:]))\n"
        "page = sys.argv[-1].removeprefix('file://').partition('#')[0]\n"
        "Path(target).write_bytes(b'%PDF-' + Path(page).read_bytes())",
    )  # fmt: skip
    assert pdf_report(b"<p>hello</p>", browser) == b"%PDF-<p>hello</p>"
    arguments = told.read_text().splitlines()
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in arguments
    assert any(one.startswith("--headless") for one in arguments)
    profile = next(one.partition("=")[2] for one in arguments if one.startswith("--user-data-dir="))
    assert not Path(profile).parent.exists(), "nothing is left behind"
    assert ("--no-sandbox" in arguments) == (os.geteuid() == 0)


def test_a_browser_that_does_not_print_is_an_error_with_its_words(tmp_path: Path) -> None:
    browser = stand_in(tmp_path, "browser", "print('no display'); sys.exit(1)")
    with pytest.raises(ReportError, match="no display"):
        pdf_report(b"x", browser)


def test_a_browser_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "_TIMEOUT_S", 0.5)
    browser = stand_in(tmp_path, "browser", "import time; time.sleep(600)")
    with pytest.raises(ReportError, match="within"):
        pdf_report(b"x", browser)


@pytest.mark.browser
def test_a_real_browser_prints_the_report(store: Store) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium or Chrome")
    printed = pdf_report(html_report(store, fill_store(store, DEMO[:3], 1, detail=False).id), browser)
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 20_000, "pages with charts, not an error page"
