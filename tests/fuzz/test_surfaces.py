"""A few hostile inputs into everything that takes input; ``make bench NAME=fuzz`` tries a hundred thousand."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st

import pages
from tests.fuzz import parameters, visits
from tests.fuzz.campaign import examples, surfaces, tried
from tests.fuzz.surface import guarded
from trilemma.settings import get_settings

FOUND = surfaces()
SEED = 20


@pytest.fixture(scope="module", autouse=True)
def own_data_folder() -> Iterator[None]:
    """The surfaces set their own; what was before comes back."""
    names = ("TRILEMMA_HOME", "TRILEMMA_DATABASE", "TRILEMMA_MODELS", "TRILEMMA_RAY_ADDRESS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    yield
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(before)
    for cached in (parameters.version, visits.hostile_store, visits.names, get_settings, st.cache_resource):
        getattr(cached, "cache_clear", None) and cached.cache_clear()
    st.cache_resource.clear()


@pytest.mark.parametrize("name", FOUND)
def test_hostile_input_is_refused_or_taken_and_does_nothing_else(name: str) -> None:
    _, surface = FOUND[name]

    def few() -> None:
        surface.prepare()
        examples(surface)
        tried(surface, surface.few, SEED)

    # In a thread of its own: in the tests' own one, the browser of other tests keeps an event loop running.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(few).result()


def test_every_page_is_visited() -> None:
    (folder,) = pages.__path__
    files = {path.stem for path in Path(folder).glob("*.py")} - {"__init__", "shared"}
    assert {name.removeprefix("Page ") for name in FOUND if name.startswith("Page ")} == files


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("audit", "audit_outcome"),
        ("models", "from make source"),
        ("new_study", "adapters device machines name own_known repeats seed s_threads s_api stop stop_error "
                      "stop_margin q_hellaswag q_hellaswag_n q_gsm8k_users o_gsm8k_shots w_core w_gb "
                      "w_short_chat_sweep w_short_chat_rate w_short_chat_spread w_short_chat_tpot"),
        ("queue", "page show study"),
        ("run", "id"),
    ],
)  # fmt: skip
def test_what_a_page_reads_out_of_its_address_is_found(page: str, names: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(visits.names, page).result()
    assert set(names.split()) <= set(read)
    assert "hub" not in read
    if page == "new_study":
        assert any(name.startswith("a_") for name in read)
        beside = {"w_short_chat": "true", "w_short_chat_arrival": "Requests come at a rate"}
        assert read["w_short_chat_rate"] == beside, "a field that is not shown takes nothing"


REACHING_OUT: dict[str, Callable[[Path], object]] = {
    "reads": lambda _: Path("/etc/passwd").read_bytes(),
    "writes": lambda folder: (folder / "x").write_text("x"),
    "makes a folder": lambda folder: (folder / "y").mkdir(),
    "starts a program": lambda _: os.system("true"),
    "connects": lambda _: socket.create_connection(("127.0.0.1", 9)),
    "looks a name up": lambda _: socket.getaddrinfo("localhost", 80),
    "unpickles": lambda _: pickle.loads(b"cos\nsystem\n."),
}


@pytest.mark.parametrize("how", REACHING_OUT)
def test_whoever_reaches_out_is_seen(how: str, tmp_path: Path) -> None:
    """The watch itself: what it does not see, no surface could be caught at."""
    with pytest.raises(AssertionError, match="reached out"), guarded(), contextlib.suppress(OSError):
        REACHING_OUT[how](tmp_path)
