"""From an empty data folder to a measured point, with a real model and a real worker: what a new user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import click_into
from trilemma.schema import RunState
from trilemma.store import open_store

pytestmark = [pytest.mark.browser, pytest.mark.llama, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SLOWLY = 300_000
"""Milliseconds that a step may take which measures something, on a busy machine."""


@pytest.fixture
def worker(server) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "TRILEMMA_HOME": str(server.home), "TRILEMMA_IDLE_S": "0.5"}
    with (server.home / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trilemma", "worker"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        yield process
        process.terminate()
        process.wait(60)


def go_to(page: Page, title: str, settled) -> None:
    """By the navigation, as a user would."""
    page.get_by_test_id("stTopNavLink").filter(has_text=title).click()
    settled(page)


def fill_number(page: Page, label: str, value: int) -> None:
    field = page.get_by_role("spinbutton", name=label)
    field.fill(str(value))
    field.press("Enter")


def test_from_nothing_to_a_measured_point(server, worker, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(server.url)
    expect(page.get_by_text("Nothing has been measured yet")).to_be_visible(timeout=60_000)

    # Models: add what the installed package brings.
    go_to(page, "Models", settled)
    offer = page.locator('[class*="st-key-offer_packages"]').filter(has_text="SmolLM2")
    offer.get_by_role("button", name="Add", exact=False).click()
    expect(page.get_by_text(re.compile("It is in the catalog as SmolLM2"))).to_be_visible(timeout=60_000)

    # New study: one configuration, a short workload, a few questions.
    go_to(page, "New study", settled)
    page.get_by_role("button", name="Choose it").click()
    settled(page)
    fill_number(page, "Prompt, tokens", 64)
    fill_number(page, "Answer, tokens", 8)
    fill_number(page, "Requests", 3)
    settled(page)
    fill_number(page, "Repeats of speed and energy", 1)
    page.get_by_label("Perplexity", exact=True).uncheck(force=True)
    settled(page)
    fill_number(page, "Items of HellaSwag", 4)
    settled(page)
    page.get_by_role("button", name="Measure 1 run", exact=True).click()

    # Queue: it is measured before our eyes.
    expect(page.get_by_role("heading", name="What is happening now?")).to_be_visible(timeout=60_000)
    assert "study=" in page.url
    expect(page.get_by_text("0 waiting, 1 done, 0 failed")).to_be_visible(timeout=SLOWLY)

    # Explore: there is one point; a click on it leads to its run.
    go_to(page, "Explore", settled)
    point = page.locator(".scatterlayer path.point").first
    point.wait_for(state="attached", timeout=60_000)
    link = page.get_by_test_id("stPageLink").filter(has_text="Open run")
    click_into(page, point, link)
    link.click(timeout=30_000)

    # Run: the very run that the store holds.
    expect(page.get_by_role("heading", name="Can I trust this point?")).to_be_visible(timeout=60_000)
    settled(page)
    with open_store(f"sqlite:///{server.home / 'trilemma.db'}") as store:
        # On a busy machine the run is marked as disturbed and measured once more: then there are two.
        run = store.run(page.url.rpartition("=")[2])
        assert run.state is RunState.DONE
        assert len(store.answers(run.id, "hellaswag")) == 4
        assert any(m.figure == "decode_tps" and m.value for m in store.measurements(run.id))
    assert page.url == f"{server.url}/run?id={run.id}"
    expect(page.get_by_text("SmolLM2-135M-Instruct").first).to_be_visible()
