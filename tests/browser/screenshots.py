"""Shoot every page, light and dark, at 1440 and 390 pixels, over a given data folder.

python tests/browser/screenshots.py FOLDER [--home HOME] [--path /queue ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from conftest import CHROMIUM_ARGS, Watch, find_chromium, start_server, wait_settled, watched

PATHS = ["/", "/decide", "/compare", "/present", "/new_study", "/queue", "/run", "/models"]
WIDTHS = {1440: 900, 390: 844}


def shoot(folder: Path, home: Path, paths: list[str]) -> list[Watch]:
    """One picture a page, scheme and width, of the whole length of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    watches = []
    server = start_server(home)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=CHROMIUM_ARGS)
            for path in paths:
                for scheme in ("light", "dark"):
                    for width, height in WIDTHS.items():
                        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                        page, watch = watched(context)
                        page.goto(server.url + path)
                        wait_settled(page)
                        page.wait_for_timeout(1200)
                        tall = page.evaluate("Math.ceil(document.querySelector('[data-testid=stMain]').scrollHeight)")
                        page.set_viewport_size({"width": width, "height": min(max(height, tall), 6000)})
                        page.wait_for_timeout(400)
                        name = path.partition("?")[0].strip("/") or "explore"
                        page.screenshot(path=folder / f"{name}-{scheme}-{width}.png")
                        watches.append(watch)
                        context.close()
            browser.close()
    finally:
        server.stop()
    return watches


def main() -> None:
    """Read the command line, shoot, and say what went wrong on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--home", type=Path, help="a data folder; an empty one if not given")
    parser.add_argument("--path", nargs="*", default=PATHS, help="paths to shoot, with or without a query")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        watches = shoot(arguments.folder, arguments.home or Path(empty), arguments.path)
    for watch in watches:
        for line in (*watch.foreign, *watch.complaints):
            print(line)
    print(f"{len(watches)} pictures in {arguments.folder}")


if __name__ == "__main__":
    main()
