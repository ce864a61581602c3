"""Runs as one file: the published schema, the tables, and the way back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from tests.factory import fill_store
from trilemma.errors import InteropError, StoreError
from trilemma.interop import read_path
from trilemma.interop.exchange import COLUMNS, schema
from trilemma.interop.studies import add
from trilemma.interop.writing import export_runs
from trilemma.profiles import find_profile
from trilemma.schema import Method
from trilemma.store import Store, open_store
from trilemma.store.export import DANGEROUS

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "run.schema.json"


@pytest.fixture
def study(store: Store) -> str:
    device = find_profile("phone")
    return fill_store(store, repeats=2, devices=(None, device), name="=HYPERLINK(1)").id


def test_the_published_schema_is_current_and_a_schema() -> None:
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert published == schema(), "run: python -m trilemma.interop.exchange > docs/schemas/run.schema.json"
    jsonschema.Draft202012Validator.check_schema(published)


def test_every_line_of_an_export_is_as_the_schema_says(store: Store, study: str, tmp_path: Path) -> None:
    target = export_runs(store, study, tmp_path / "out.jsonl")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == sum(run.state.value == "done" for run in store.runs(study)) > 0
    for line in lines:
        validator.validate(line)
        assert line["artifact"]["path"] == ""
        assert len(line["measurements"]) == len(store.measurements(line["run_id"]))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(lines[0] | {"measurements": [{"figure": "ttft_s"}]})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(lines[0] | {"secret": 1})


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_what_went_out_comes_back_as_imported(store: Store, study: str, tmp_path: Path, suffix: str) -> None:
    imported, file = read_path(export_runs(store, study, tmp_path / f"out.{suffix}"))
    assert imported.tool == "trilemma"
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as other:
        record, added = add(other, imported, file)
        assert added
        done = [run for run in store.runs(study) if run.state.value == "done"]
        there = other.runs(record.id)
        assert len(there) == len(done)
        for mine, theirs in zip(done, there, strict=True):
            assert theirs.spec.configuration.profile == mine.spec.configuration.profile
            assert theirs.spec.repeat == mine.spec.repeat
            assert theirs.finished_at == mine.finished_at
            assert (
                other.artifact(theirs.spec.configuration.artifact_id).label
                == store.artifact(mine.spec.configuration.artifact_id).label
            )
            before = {one.key: one for one in store.measurements(mine.id)}
            after = {one.key: one for one in other.measurements(theirs.id)}
            assert set(before) == set(after)
            for key, one in after.items():
                was = before[key]
                assert (one.value, one.low, one.high, one.n) == (was.value, was.low, was.high, was.n)
                assert one.provenance.method is Method.IMPORTED
                assert one.provenance.valid == was.provenance.valid
                assert f"{was.provenance.method.value} there" in one.provenance.reasons
        # And once more: nothing is lost or added any more.
        again, second = read_path(export_runs(other, record.id, tmp_path / f"again.{suffix}"))
        with open_store(f"sqlite:///{tmp_path / 'third.db'}") as third:
            last, _ = add(third, again, second)
            for mine, theirs in zip(there, third.runs(last.id), strict=True):
                assert theirs.spec.configuration == mine.spec.configuration
                assert third.measurements(theirs.id) == other.measurements(mine.id)


def test_tables_have_a_row_a_figure_and_no_formula(store: Store, study: str, tmp_path: Path) -> None:
    path = export_runs(store, study, tmp_path / "out.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    done = [run for run in store.runs(study) if run.state.value == "done"]
    assert len(rows) == sum(len(store.measurements(run.id)) for run in done)
    assert tuple(rows[0]) == COLUMNS
    numbers = {"value", "low", "high"}
    assert {row["study"] for row in rows} == {"'=HYPERLINK(1)"}
    assert not [v for row in rows for k, v in row.items() if k not in numbers and v.startswith(DANGEROUS)]
    frame = pd.read_parquet(export_runs(store, study, tmp_path / "out.parquet"))
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(rows)
    assert set(frame["study"]) == {"=HYPERLINK(1)"}


def test_nothing_is_overwritten_and_nothing_half_written(store: Store, study: str, tmp_path: Path) -> None:
    taken = tmp_path / "out.csv"
    taken.write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        export_runs(store, study, taken)
    with pytest.raises(InteropError, match="cannot be written to a file"):
        export_runs(store, study, tmp_path / "out.xlsx")
    with pytest.raises(StoreError, match="cannot be written"):
        export_runs(store, study, taken / "inside.csv")
    assert taken.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "home"}


def test_a_line_of_a_later_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "later.jsonl"
    path.write_text('{"format": "trilemma-run", "version": 2}\n')
    with pytest.raises(InteropError, match="version 2"):
        read_path(path)
