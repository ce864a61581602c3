"""On a phone nothing but tables scrolls sideways, and the pages look the same with their data in them."""

from __future__ import annotations

import random

import pytest
from playwright.sync_api import expect

from pages.shared import PAGES
from tests.factory import HOST, MEASURED, SMOL, artifact, figures, modelled
from trilemma.schema import Artifact, Configuration, Measurement, RunSpec, RunState, StudySpec
from trilemma.store import Store, open_store

pytestmark = pytest.mark.browser


def overflow(page) -> list[str]:
    """Elements that reach beyond the right edge and are not inside something that scrolls by itself."""
    found: list[str] = page.evaluate(
        """() => {
            const wide = document.documentElement.clientWidth;
            const scrolls = (node) => {
                for (let up = node.parentElement; up; up = up.parentElement) {
                    if (up.dataset.testid === 'stMain') return false;
                    if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(up).overflowX)) return true;
                }
                return false;
            };
            return [...document.querySelectorAll('[data-testid="stMain"] *')]
                .filter((node) => node.getBoundingClientRect().right > wide + 1 && !scrolls(node))
                .map((node) => `${node.tagName} ${node.dataset.testid || node.className}`);
        }"""
    )
    return found


def test_nothing_scrolls_sideways_at_390_pixels(server, open_page, settled) -> None:
    page, _ = open_page(width=390, height=844)
    page.goto(server.url + "/models")
    settled(page)
    with open_store(f"sqlite:///{server.home / 'trilemma.db'}") as store:
        for number, quantization in enumerate(("F16", "Q8_0", "Q4_K_M")):
            store.add_artifact(
                Artifact(
                    id=f"{number}abcdef0" * 8,
                    path="/models/a-rather-long-path-of-a-file-that-is-not-there.gguf",
                    model="A-Model-With-A-Rather-Long-Name-135M-Instruct-v0.3",
                    quantization=quantization,
                    size_bytes=10**8,
                    bits_per_weight=16 / (number + 1),
                    source="folder",
                )
            )
    for name in PAGES:
        page.goto(f"{server.url}/{name}")
        page.get_by_role("heading", level=1).wait_for(timeout=60_000)
        settled(page)
        assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollLeft = 1000") is not None
        assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollLeft") == 0, name
        assert overflow(page) == [], name


def test_every_control_of_the_forms_has_a_name(server, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(server.url + "/models")
    settled(page)
    for name in ("models", "queue", "new_study"):
        page.goto(f"{server.url}/{name}")
        settled(page)
        for control in page.locator("main button, main input, main select, main textarea").all():
            if control.is_visible():
                named = control.evaluate("n => n.ariaLabel || n.innerText || (n.labels && n.labels.length) || n.title")
                assert named, control.evaluate("n => n.outerHTML.slice(0, 200)")


def test_a_click_on_what_costs_how_much_changes_the_axes(server, open_page, settled) -> None:
    page, _ = open_page()
    page.goto(server.url + "/models")
    settled(page)
    with open_store(f"sqlite:///{server.home / 'trilemma.db'}") as store:
        priced_study(store)
    page.goto(server.url + "/explore")
    settled(page)
    pills, axis = page.locator('button[data-variant="pills"]'), page.locator(".xtitle")

    def shows(words: str) -> None:
        expect(axis.filter(has_text=words)).to_be_visible(timeout=30_000)
        settled(page)
        expect(axis).to_have_count(1)

    shows("Energy per token")
    pills.filter(has_text="Right answers: gsm8k").click()
    shows("Energy per right answer")
    assert "x=energy_per_correct_answer_j" in page.url
    pills.filter(has_text="Tokens").click()
    shows("Energy per token")
    assert "x=" not in page.url


def priced_study(store: Store) -> None:
    """A finished study in which right answers have a price."""
    weights = [artifact(SMOL, quantization) for quantization in ("Q8_0", "Q4_K_M")]
    for one in weights:
        store.add_artifact(one)
    configurations = tuple(Configuration(artifact_id=one.id, engine="llama.cpp") for one in weights)
    store.add_study(
        StudySpec(name="Priced", configurations=configurations), [RunSpec(configuration=c) for c in configurations]
    )
    by_id = {one.id: one for one in weights}
    while run := store.claim_next("test"):
        store.start_run(run.id, HOST)
        item = by_id[run.spec.configuration.artifact_id]
        price = Measurement(
            figure="energy_per_correct_answer_j",
            subject="gsm8k",
            value=item.size_bytes / 1e7,
            n=50,
            provenance=modelled(60.0),
        )
        score = Measurement(figure="accuracy", subject="gsm8k", value=0.2, n=50, provenance=MEASURED)
        store.set_measurements(run.id, [*figures(item, random.Random(1)), price, score])
        store.finish_run(run.id, RunState.DONE)
