"""The stable Python interface: its guide is run, and its frames hold what the store holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import trilemma
from tests.factory import DEMO, fill_store
from trilemma.errors import NotFoundError, StoreError, TrilemmaError
from trilemma.settings import get_settings
from trilemma.store import Store

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "python-api.md"


def test_the_guide_runs_top_to_bottom(store: Store) -> None:
    import re

    fill_store(store, repeats=2)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, object] = {}
    shown = []
    for block in blocks:
        lines = block.rstrip().split("\n")
        exec(compile("\n".join(lines[:-1]), str(GUIDE), "exec"), names)
        try:
            shown.append(eval(lines[-1], names))
        except SyntaxError:
            exec(lines[-1], names)
    frames = [one for one in shown if isinstance(one, pd.DataFrame | pl.DataFrame | pd.Series)]
    assert len(frames) >= 5
    assert all(len(one) for one in frames)


def test_frames_hold_what_the_store_holds(store: Store, home: Path, database: str) -> None:
    study = fill_store(store, repeats=2)
    with trilemma.open(database or home) as results:
        runs = results.runs(study.id)
        assert list(runs["id"]) == [run.id for run in store.runs(study.id)]
        assert len(runs) == 2 * len(DEMO)
        assert set(runs["machine"].notna()) == {True}
        figures = results.measurements(study.spec.name)
        assert len(figures) == sum(len(store.measurements(run.id)) for run in store.runs(study.id))
        one = figures[figures["key"] == "decode_tps@short_chat"].iloc[0]
        kept = next(m for m in store.measurements(one["run_id"]) if m.key == "decode_tps@short_chat")
        assert (one["value"], one["low"], one["high"], one["unit"]) == (kept.value, kept.low, kept.high, "tok/s")
        assert figures.loc[~figures["valid"], "value"].isna().all()
        run_id = runs["id"][0]
        assert len(results.samples(run_id)) == len(store.samples(run_id))
        assert len(results.requests(run_id)) == len(store.requests(run_id))
        assert len(results.answers(run_id)) == len(store.answers(run_id))
        assert set(results.measurements(run=run_id, figure="ttft_s")["run_id"]) == {run_id}


def test_polars_frames_are_the_same(store: Store) -> None:
    fill_store(store, repeats=1)
    with trilemma.open() as results:
        run = results.runs()["id"][0]
        for frame in (
            results.studies, results.runs, results.measurements, lambda **k: results.samples(run, **k),
            lambda **k: results.requests(run, **k), lambda **k: results.answers(run, **k),
        ):  # fmt: skip
            wide, same = frame(frame="pandas"), frame(frame="polars")
            assert isinstance(same, pl.DataFrame)
            assert (list(wide.columns), len(wide)) == (same.columns, same.height)
            assert len(wide)


def test_an_empty_store_gives_empty_frames_with_the_same_columns(store: Store) -> None:
    with trilemma.open() as results:
        for frame in ("pandas", "polars"):
            assert "value" in results.measurements(frame=frame).columns
            assert len(results.runs(frame=frame)) == len(results.studies(frame=frame)) == 0


def test_without_polars_the_message_says_how_to_get_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with trilemma.open() as results, pytest.raises(TrilemmaError, match=r"trilemma\[polars\]"):
        results.runs(frame="polars")


def test_what_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database"):
        trilemma.open(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists(), "nothing is made"
    with trilemma.open(get_settings().database_url) as results:
        with pytest.raises(TrilemmaError, match="no study"):
            results.runs("none")
        with pytest.raises(TrilemmaError, match="no figure"):
            results.measurements(figure="speed")
        with pytest.raises(NotFoundError):
            results.samples("none")


def test_the_package_stays_light() -> None:
    code = "import sys, trilemma; print([m for m in ('pandas', 'sqlalchemy', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
