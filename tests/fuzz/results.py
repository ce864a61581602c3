"""Other tools' results, which anybody may have made up: read whole and imported, or refused in words."""

from __future__ import annotations

import functools
import json
import math

from hypothesis import strategies as st

from tests.factory import DEMO, fill_store
from tests.fuzz.inputs import changed, json_bytes, nasty, replaced, texts
from tests.fuzz.surface import ROOT, Surface, scratch
from tests.fuzz.weights import assert_clean
from trilemma import registry
from trilemma.figures import FIGURES
from trilemma.interop import read_data
from trilemma.interop.csv_table import parse_mapping
from trilemma.interop.studies import add
from trilemma.interop.writing import export_runs
from trilemma.schema import Method
from trilemma.store import Store, open_store

_TABLE = b"model;quant;ttft;lo;hi;memory;threads\nTiny;Q8_0;12.5;12;13;1.5;2\nTiny;Q4_K_M;9;;;0.75;2\n"
_COLUMNS = ("model", "quant", "ttft", "lo", "hi", "memory", "threads")
_RIGHT = (
    "model", "quantization", "ttft_s.median@chat [ms]", "low:ttft_s.median@chat [ms]", "high:ttft_s.median@chat [ms]",
    "peak_memory_bytes [GiB]", "setting:threads",
)  # fmt: skip
_LONGEST = 50_000
"""Bytes of a file; the longer ones say nothing else and take longer."""


@functools.cache
def _right() -> dict[str, bytes]:
    """Files as the tools write them, and as Trilemma does."""
    folder = ROOT / "tests" / "interop" / "data"
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.stat().st_size < _LONGEST}
    del found["README.md"]
    with open_store(f"sqlite:///{scratch() / 'written.db'}") as store:
        study = fill_store(store, DEMO[:2], 1, detail=False)
        for suffix in ("jsonl", "csv"):
            found[f"runs.{suffix}"] = export_runs(store, study.id, scratch() / f"runs.{suffix}").read_bytes()
    return found


@functools.cache
def _store() -> Store:
    return open_store(f"sqlite:///{scratch() / 'results.db'}")


@functools.cache
def _prepare() -> None:
    _right(), _store()
    for name in registry.names("trilemma.importers"):
        registry.load("trilemma.importers", name)


_mappings = st.one_of(
    st.just(dict(zip(_COLUMNS, _RIGHT, strict=True))),
    st.dictionaries(
        st.one_of(st.sampled_from(_COLUMNS), texts),
        st.one_of(
            st.sampled_from(_RIGHT), texts,
            st.builds("{}{}@{} [{}]".format, st.sampled_from(("", "low:", "n:")), st.sampled_from([*FIGURES]), nasty,
                      st.sampled_from(("ms", "GiB", "%", "")))),
        max_size=7),
)  # fmt: skip


@st.composite
def _table(draw: st.DrawFn) -> bytes:
    """The table with hostile cells in it."""
    lines = _TABLE.decode().splitlines()
    cells = [line.split(";") for line in lines]
    for _ in range(draw(st.integers(0, 4))):
        row, column = draw(st.integers(0, len(cells) - 1)), draw(st.integers(0, len(_COLUMNS) - 1))
        cells[row][column] = draw(texts)
    return "\n".join(";".join(line) for line in cells).encode("utf-8", "surrogatepass")


@st.composite
def _file(draw: st.DrawFn) -> tuple[str, bytes, str, dict[str, str]]:
    """A file's name, its content, who is to read it, and what its columns are."""
    if draw(st.integers(0, 4)) == 0:
        return draw(texts), draw(_table()), "csv", draw(_mappings)
    name = draw(st.sampled_from(sorted(_right())))
    data = _right()[name]
    if name.endswith(".json"):
        data = json_bytes(replaced(draw, json.loads(data)))
    elif name.endswith(".jsonl"):
        lines = data.splitlines()
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = json_bytes(replaced(draw, json.loads(lines[at])))
        data = b"\n".join(lines)
    else:
        data = draw(changed(data))
    if draw(st.integers(0, 4)) == 0 and data:
        data = draw(changed(data))
    importer = draw(st.sampled_from(("", "", "", *registry.names("trilemma.importers"))))
    return draw(st.one_of(st.just(name), texts)), data, importer, {}


def _imported(case: tuple[str, bytes, str, dict[str, str]]) -> None:
    name, data, importer, mapping = case
    told = parse_mapping(f"{column}={target}" for column, target in mapping.items())
    imported, file = read_data(name, data, importer, told)
    assert_clean(file.name)
    store = _store()
    record, added = add(store, imported, file)
    try:
        assert added
        assert not add(store, imported, file)[1]
        assert_clean(record.spec.name)
        for run in store.runs(record.id):
            assert run.imported
            assert_clean(run.spec.configuration.engine, run.spec.device)
            for one in store.measurements(run.id):
                assert one.provenance.method is Method.IMPORTED
                assert all(end is None or math.isfinite(end) for end in (one.value, one.low, one.high))
        store.run_frame(record.id), store.figure_frame()
    finally:
        store.delete_study(record.id)


SURFACES = (
    Surface("Results of other tools", _file(), _imported, few=20, share=0.5, prepare=_prepare,
        examples=(("../../x.csv", _TABLE, "csv", dict(zip(_COLUMNS, _RIGHT, strict=True))),
                  ("x.json", b"[" * 100_000, "", {}))),
)  # fmt: skip
