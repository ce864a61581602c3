from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import add, claim, measurement, records, run_specs

from trilemma.errors import NotFoundError, StoreError
from trilemma.schema import RunState
from trilemma.store import Store
from trilemma.store.export import Format, export_study, harmless

FORMULA = '=HYPERLINK("http://example.org","click")'


@pytest.fixture
def study(store: Store) -> str:
    study, ids = add(store, run_specs(2, threads=2), name="Über/../study")
    claim(store)
    store.write_batch(ids[0], **records(text=f"{FORMULA}\nline, two\u2028"))
    store.set_measurements(ids[0], [measurement(value=-1.5), measurement("a", None, statistic="p99")])
    store.finish_run(ids[0], RunState.DONE)
    return study


def read(path: Path, fmt: Format) -> list[dict[str, object]]:
    if fmt == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if fmt == "json":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return pd.read_parquet(path).to_dict("records")


@pytest.mark.parametrize("fmt", ["csv", "json", "parquet"])
def test_everything_is_written(store: Store, study: str, tmp_path: Path, fmt: Format) -> None:
    target = export_study(store, study, tmp_path / "out" / "folder", fmt)
    suffix = {"csv": "csv", "json": "jsonl", "parquet": "parquet"}[fmt]
    manifest = json.loads((target / "manifest.json").read_text())
    written = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert written == {*manifest["rows"], "manifest.json"}
    for name, count in manifest["rows"].items():
        assert len(read(target / name, fmt)) == count
    run_id = store.runs(study)[0].id
    assert {Path(name).parts[0] for name in manifest["rows"]} == {f"runs.{suffix}", f"measurements.{suffix}", "records"}
    figures = read(target / f"measurements.{suffix}", fmt)
    assert [str(row["key"]) for row in figures] == ["ttft_s", "a.p99"]
    assert float(str(figures[0]["value"])) == -1.5
    assert figures[0]["run_id"] == run_id
    samples = read(target / "records" / run_id / f"samples.{suffix}", fmt)
    assert [float(str(row["rss_bytes"])) for row in samples] == [0.5, 1.5, 2.5]
    (answer, *_) = read(target / "records" / run_id / f"answers.{suffix}", fmt)
    text = f"{FORMULA}\nline, two\u2028"
    assert answer["answer"] == (f"'{text}" if fmt == "csv" else text)
    assert [path.name for path in tmp_path.joinpath("out").iterdir()] == ["folder"], "no scratch is left"


def test_an_archive_holds_one_folder(store: Store, study: str, tmp_path: Path) -> None:
    target = export_study(store, None, tmp_path / "all.zip")
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"trilemma"}
    assert "trilemma/manifest.json" in names
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["all.zip"]


def test_nothing_is_overwritten_and_nothing_half_written(store: Store, study: str, tmp_path: Path) -> None:
    taken = tmp_path / "taken.zip"
    taken.write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        export_study(store, study, taken)
    assert taken.read_text() == "mine"
    with pytest.raises(NotFoundError):
        export_study(store, "nosuchstudy", tmp_path / "new")
    with pytest.raises(StoreError, match="not a format"):
        export_study(store, study, tmp_path / "new", "xlsx")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="cannot be written"):
        export_study(store, study, taken / "inside")
    assert {path.name for path in tmp_path.iterdir()} == {"taken.zip", "home"}


@given(st.text())
def test_no_cell_begins_a_formula(text: str) -> None:
    cell = harmless(text)
    assert cell.endswith(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))


def test_every_cell_of_every_csv_is_harmless(store: Store, study: str, tmp_path: Path) -> None:
    target = export_study(store, study, tmp_path / "out")
    cells = [
        cell
        for path in target.rglob("*.csv")
        for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
        for cell in row
    ]
    assert any(FORMULA in cell for cell in cells)
    assert [cell for cell in cells if cell.startswith(("=", "+", "@"))] == []
