"""A report as PDF: printed by a Chromium or Chrome that is on the machine, from the HTML file and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from trilemma.errors import ReportError

NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge",
)  # fmt: skip
_TIMEOUT_S = 180.0
_INSTEAD = "Open the HTML report in any browser and print it from there, as PDF."
_PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe"),
}
# Playwright's own, where it was downloaded for tests.
_PLAYWRIGHT = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
               "chromium-*/chrome-win*/chrome.exe")  # fmt: skip


def find_browser(environment: Mapping[str, str] = os.environ) -> Path | None:
    """A Chromium, Chrome or Edge: ``TRILEMMA_CHROMIUM``, one on the search path, or one in its usual place."""
    return next((path for path in _candidates(environment) if path.is_file() and os.access(path, os.X_OK)), None)


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if named := environment.get("TRILEMMA_CHROMIUM"):
        yield Path(named)
    for name in NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            yield Path(found)
    for place in _PLACES.get(sys.platform, ()):
        if sys.platform == "win32":
            for root in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"):
                if root in environment:
                    yield Path(environment[root]) / place
        else:
            yield Path(place)
    home = Path(environment.get("HOME") or environment.get("USERPROFILE") or ".")
    for cache in (".cache/ms-playwright", "Library/Caches/ms-playwright", "AppData/Local/ms-playwright"):
        for pattern in _PLAYWRIGHT:
            yield from sorted((home / cache).glob(pattern), reverse=True)


def pdf_report(html: bytes, browser: Path | None = None) -> bytes:
    """Print a report as PDF.

    The browser runs without a window, with a profile that is thrown away, and resolves no name of any host.

    Args:
        html: What :func:`trilemma.report.html_report` returns.
        browser: Which one prints; one that is found if absent.

    Raises:
        ReportError: there is no browser, or it did not print.
    """
    program = browser or find_browser()
    if program is None:
        raise ReportError("No Chromium, Chrome or Edge was found to print a PDF with.", _INSTEAD)
    with tempfile.TemporaryDirectory(prefix="trilemma-pdf-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        source, target = folder / "report.html", folder / "report.pdf"
        source.write_bytes(html)
        said = _run([str(program), *_arguments(folder, target), f"{source.as_uri()}#print"], folder)
        if not target.is_file() or not target.read_bytes().startswith(b"%PDF-"):
            last = said.strip().splitlines()[-1][:200] if said.strip() else "it said nothing"
            raise ReportError(f"{program.name} did not print the report ({last}).", _INSTEAD)
        return target.read_bytes()


def _arguments(folder: Path, target: Path) -> list[str]:
    found = [
        "--headless=new", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--no-first-run",
        "--no-default-browser-check", "--disable-extensions", "--disable-sync", "--disable-background-networking",
        "--disable-component-update", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--run-all-compositor-stages-before-draw", "--virtual-time-budget=20000", "--no-pdf-header-footer",
        f"--print-to-pdf={target}",
    ]  # fmt: skip
    # Chromium refuses its sandbox to root. What it opens is our own file, whose scripts are named by their hashes.
    return [*found, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else found


def _run(command: list[str], folder: Path) -> str:
    """Run the browser to its end; what it said."""
    # Its helpers stay in its session, so that none outlives it.
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ReportError(f"The browser did not print the report within {_TIMEOUT_S:g} s.", _INSTEAD) from None
        finally:
            _end(process)
    return said.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
