"""Whole studies as files, which anybody may have made: taken whole, or refused and nothing kept."""

from __future__ import annotations

import contextlib
import functools
import io
import json

from hypothesis import strategies as st

from tests.archive.made import measured, members, packed
from tests.fuzz.inputs import changed, json_bytes, replaced, texts
from tests.fuzz.surface import Surface, scratch
from trilemma.archive.format import ARTIFACTS, MANIFEST, MEMBERS, RUNS, STUDY, VOTES
from trilemma.archive.read import import_file
from trilemma.archive.write import export_bytes
from trilemma.errors import TrilemmaError
from trilemma.store import Store, open_store


@functools.cache
def _right() -> dict[str, bytes]:
    """The members of a file as Trilemma writes it."""
    with open_store(f"sqlite:///{scratch() / 'measured.db'}") as store:
        return members(export_bytes(store, measured(store)))


@functools.cache
def _store() -> Store:
    return open_store(f"sqlite:///{scratch() / 'imported.db'}")


def _prepare() -> None:
    _right()
    _store()


@st.composite
def _archive(draw: st.DrawFn) -> bytes:
    content = dict(_right())
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from((RUNS, RUNS, STUDY, ARTIFACTS, VOTES, MANIFEST)))
        lines = content[name].splitlines()
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 9)):
            case 0:
                del lines[at]
            case 1:
                lines.append(lines[at])
            case 2:
                lines[at] = draw(changed(lines[at]))
            case _:
                with contextlib.suppress(ValueError):  # it was spoiled before
                    lines[at] = json_bytes(replaced(draw, json.loads(lines[at])))
        content[name] = b"\n".join(lines) + b"\n"
    if draw(st.integers(0, 9)) == 0:
        content[draw(texts).encode("utf-8", "replace").decode()[:200] or "x"] = draw(st.binary(max_size=9))
    try:
        data = packed(content, resign=draw(st.integers(0, 9)) > 0)
    except (ValueError, TypeError, AttributeError):  # a manifest that is none cannot be signed
        data = packed(content, resign=False)
    return draw(changed(data)) if draw(st.integers(0, 4)) == 0 else data


def _imported(data: bytes) -> None:
    store = _store()
    try:
        found = import_file(store, io.BytesIO(data))
    except TrilemmaError:
        assert store.studies() == []
        assert store.runs() == []
        raise
    assert import_file(store, io.BytesIO(data)).fresh_runs == 0
    again = members(export_bytes(store, found.study.id))
    assert set(again) == {MANIFEST, *MEMBERS}
    assert store.foreign_studies() == [found.study.id]
    for run in store.runs(found.study.id):
        assert run.spec.device.startswith("imported:")
        store.samples(run.id), store.answers(run.id), store.requests(run.id), store.measurements(run.id)
    store.figure_frame(), store.run_frame(found.study.id)
    store.delete_study(found.study.id)
    # What went out comes in again.
    assert import_file(store, io.BytesIO(packed(again))).fresh_runs == found.runs
    store.delete_study(found.study.id)


SURFACES = (Surface("Archives of studies", _archive(), _imported, few=12, share=0.3, prepare=_prepare),)
