"""Emulated devices on the pages: chosen, labelled wherever figures are, and listed where something does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.factory import SMOL, fill_store
from trilemma.catalog.catalog import Catalog
from trilemma.profiles import NO_DEVICE
from trilemma.schema import DeviceProfile, RunState
from trilemma.settings import Settings
from trilemma.store import Store

EDGE = DeviceProfile(name="edge", cores=1, memory_bytes=120 << 20, context=1024)
OWN = """title = "Board [b](http://evil.example)"
stands_for = "A board."
source = "ours"
cores = 1
memory = "64 MiB"
context = 256
"""


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def open_page(name: str, **query: str) -> AppTest:
    def script(name: str) -> None:
        import importlib

        from pages import shared

        with shared.errors_shown():
            importlib.import_module(f"pages.{name}").page()

    app = AppTest.from_function(script, default_timeout=60, kwargs={"name": name})
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


def written(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.subheader, *app.info])


def words(app: AppTest) -> str:
    """What is written, without the marks that keep it from being Markdown."""
    return written(app).replace("\\", "")


@pytest.mark.llama
def test_devices_multiply_what_is_measured(store: Store, settings: Settings, smollm2_path: Path) -> None:
    artifact = Catalog(store, settings).add_path(smollm2_path)
    folder = settings.home / "profiles"
    folder.mkdir(parents=True)
    (folder / "board.toml").write_text(OWN)
    (folder / "broken.toml").write_text("cores = [")
    app = open_page("new_study", **{f"a_{artifact.id[:12]}": "true"})
    for box in app.checkbox:
        if str(box.key).startswith("q_") and box.value:
            box.uncheck()
    app.run()
    assert app.button(key="measure").label == "Measure 2 runs"
    device = app.multiselect(key="device")
    assert "board" in " ".join(device.options)
    assert "More than this machine has" in words(app) or len(device.options) > 6
    assert "broken.toml" in words(app)
    app.multiselect(key="device").set_value([NO_DEVICE, "board", "edge-2gb"]).run()
    assert app.button(key="measure").label == "Measure 6 runs"
    text = words(app)
    assert "will not fit board: it needs at least" in text
    assert "[b](http" not in written(app)
    app.button(key="measure").click().run()
    configurations = store.studies()[0].spec.configurations
    assert [(c.profile.name if c.profile else None, c.settings) for c in configurations] == [
        (None, {}), ("board", {"context": 256}), ("edge-2gb", {}),
    ]  # fmt: skip


@pytest.mark.llama
def test_a_context_above_the_devices_is_refused(store: Store, settings: Settings, smollm2_path: Path) -> None:
    artifact = Catalog(store, settings).add_path(smollm2_path)
    app = open_page("new_study", **{f"a_{artifact.id[:12]}": "true", "s_context": "4096", "device": "phone"})
    app.multiselect(key="device").set_value(["phone"]).run()
    assert app.button(key="measure").disabled
    assert "longer than the 2048 of phone" in words(app)
    app.text_input(key="s_context").input("longest").run()
    assert not app.button(key="measure").disabled, "the longest is what the device allows"


@pytest.mark.llama
def test_the_longest_context_can_be_chosen(store: Store, settings: Settings, smollm2_path: Path) -> None:
    artifact = Catalog(store, settings).add_path(smollm2_path)
    app = open_page("new_study", **{f"a_{artifact.id[:12]}": "true", "s_context": "512, longest"})
    app.checkbox(key="w_fit").check().run()
    app.button(key="measure").click().run()
    assert not app.exception
    spec = store.studies()[0].spec
    assert [c.settings for c in spec.configurations] == [{"context": 512}, {"context": None}]
    assert spec.workloads[0].fit_context


def test_figures_are_labelled_and_what_does_not_fit_is_listed(store: Store) -> None:
    fill_store(store, [(SMOL, "F16"), (SMOL, "Q4_K_M")], devices=[None, EDGE])
    app = open_page("explore")
    text = words(app)
    assert "1 configuration of 3 ran under the limits of an emulated device (edge)" in text
    frame = app.dataframe[0].value
    assert sorted(frame["Settings"]) == ["", "", "emulated edge"]
    assert "Does not fit" in text
    listed = app.dataframe[1].value
    (row,) = listed.to_dict("records")
    assert (row["Quantization"], row["Settings"]) == ("F16", "emulated edge")
    assert row["Device has, MiB"] == 120
    assert row["Needs, MiB"] > 200
    assert "needed_memory" not in str(app.selectbox)

    done = next(r for r in store.runs() if r.spec.configuration.profile and r.state is RunState.DONE)
    text = words(open_page("run", id=done.id))
    assert "emulated edge, 1 core, 120.0 MiB, context 1024" in text
    assert "Every figure here is emulated" in text

    stuck = next(r for r in store.runs() if r.state is RunState.DOES_NOT_FIT)
    text = words(open_page("run", id=stuck.id))
    assert "A result, not a failure" in text
    assert "does not fit ·" in text

    app = open_page("queue", show="Done")
    assert "emulated edge" in words(app)
    assert "It does not fit edge" in words(app)
    assert "0 failed" in words(app)
    assert not [b for b in app.button if b.label == "Retry"]
