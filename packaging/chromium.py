"""Find a Chromium for the browser tests, or get one, and say what was done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed() -> str | None:
    """The path of a Chromium: ``TRILEMMA_CHROMIUM``, one on the search path, or Playwright's own."""
    named = os.environ.get("TRILEMMA_CHROMIUM")
    if named and Path(named).exists():
        return named
    for name in NAMES:
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow, and rarely needed

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def attempt(command: list[str]) -> bool:
    """Run ``command``; whether it worked within ten minutes."""
    print(f"$ {' '.join(command)}", flush=True)
    try:
        return subprocess.run(command, check=False, timeout=600, stdin=subprocess.DEVNULL).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main() -> int:
    """Entry point; 1 where no browser could be had."""
    if installed():
        return 0
    print("No Chromium was found for the browser tests: getting Playwright's own (about 180 MB, once).", flush=True)
    attempt([sys.executable, "-m", "playwright", "install", "chromium"])
    if not installed() and shutil.which("apt-get") and os.geteuid() == 0:
        print("That download was refused: installing the system's chromium package instead.", flush=True)
        attempt(["apt-get", "update", "-q"])
        attempt(["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"])
    if found := installed():
        print(f"The browser tests use {found}.", flush=True)
        return 0
    print(
        "No Chromium could be had. Install Chromium or Google Chrome with your system's package manager, or set "
        "TRILEMMA_CHROMIUM to the path of one.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
