"""A few hostile inputs into everything that takes input; ``make bench NAME=fuzz`` tries a hundred thousand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
import streamlit as st

from tests.fuzz import parameters, visits
from tests.fuzz.campaign import examples, surfaces, tried
from tests.fuzz.surface import guarded, scratch
from trilemma.settings import get_settings

FOUND = surfaces()
SEED = 20


@pytest.fixture(scope="module", autouse=True)
def own_data_folder() -> Iterator[None]:
    """The surfaces set their own; what was before comes back."""
    names = ("TRILEMMA_HOME", "TRILEMMA_DATABASE", "TRILEMMA_MODELS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    yield
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(before)
    for cached in (parameters.version, visits.hostile_store, get_settings, st.cache_resource):
        getattr(cached, "cache_clear", None) and cached.cache_clear()
    st.cache_resource.clear()


@pytest.mark.parametrize("name", FOUND)
def test_hostile_input_is_refused_or_taken_and_does_nothing_else(name: str) -> None:
    _, surface = FOUND[name]
    surface.prepare()
    examples(surface)
    tried(surface, surface.few, SEED)


@pytest.mark.parametrize(
    "reach_out",
    [
        lambda: open("/etc/passwd"),  # noqa: SIM115, PTH123
        lambda: open(scratch().parent / "beside", "w"),  # noqa: SIM115, PTH123
        lambda: os.mkdir("/tmp/../tmp/trilemma-made"),  # noqa: PTH102
        lambda: os.system("true"),
        lambda: __import__("socket").create_connection(("127.0.0.1", 9)),
        lambda: __import__("pickle").loads(b"cos\nsystem\n."),
    ],
)
def test_whoever_reaches_out_is_seen(reach_out: object) -> None:
    """The watch itself: what it does not see, no surface could be caught at."""
    with pytest.raises(AssertionError, match="reached out"), guarded(), contextlib.suppress(OSError):
        reach_out()  # type: ignore[operator]
