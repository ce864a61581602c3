"""A shared place of weights that anybody may have written to: what is fetched by hash."""

from __future__ import annotations

import hashlib
import importlib

from hypothesis import strategies as st

from tests.fuzz.inputs import changed, nasty, texts
from tests.fuzz.surface import Surface, put, removed, scratch
from trilemma.catalog.share import GGUF, SUMS, Share
from trilemma.schema import Artifact

_CONTENT = b"weights"
_ID = hashlib.sha256(_CONTENT).hexdigest()
_RIGHT = f"{_ID}  {GGUF}\n".encode()
_names = st.one_of(st.just(GGUF), nasty, texts)
_line = st.builds(
    lambda name, gap: f"{_ID}{gap}{name}\n".encode("utf-8", "replace"), _names, st.sampled_from(("  ", " *", " "))
)
_lists = st.one_of(st.just(_RIGHT), st.just(_RIGHT).flatmap(changed), st.lists(_line, max_size=4).map(b"".join))


def _fetched(given: tuple[bytes, bytes, bool]) -> None:
    """Either what has the hash, or nothing; of nothing, nothing stays."""
    sums, content, named_by_list = given
    artifact_id = hashlib.sha256(sums).hexdigest() if named_by_list else _ID
    there, here = removed(scratch() / "share"), removed(scratch() / "fetched")
    (there / artifact_id).mkdir(parents=True)
    put(f"share/{artifact_id}/{SUMS}", sums)
    put(f"share/{artifact_id}/{GGUF}", content)
    artifact = Artifact(
        id=artifact_id, path="", model="m", quantization="Q8_0", size_bytes=len(_CONTENT), source="folder"
    )
    beside = {path.name for path in scratch().iterdir()} | {here.name}
    try:
        arrived = Share(str(there)).get(artifact, here)
    finally:
        left = {path.name for path in here.iterdir()} if here.is_dir() else set()
        assert left <= {artifact_id}, "half of something stays"
        assert {path.name for path in scratch().iterdir()} <= beside, "something left its folder"
    assert arrived.is_relative_to(here / artifact_id)
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (here / artifact_id).iterdir()}
    assert hashes == {_ID}


SURFACES = (
    Surface(
        "Shared weights",
        st.tuples(_lists, st.sampled_from((_CONTENT, b"other", b"")), st.booleans()),
        _fetched,
        examples=(
            (_RIGHT, _CONTENT, False),
            (_RIGHT, b"x" * (80 << 20), False),
            (f"{_ID}  ../{GGUF}\n".encode(), _CONTENT, True),
        ),
        share=0.3,
        watched=False,  # folders are removed by names relative to them, which the watch takes for others'
        prepare=lambda: importlib.import_module("fsspec.implementations.local"),
    ),
)
