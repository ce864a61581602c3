"""Imported studies beside measured ones: marked, apart, and never reused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.archive.test_archive import members, packed
from tests.factory import DEMO, fill_store
from tests.postgres import server
from trilemma.analysis.points import configuration_points, labels
from trilemma.archive.format import RUNS
from trilemma.archive.read import import_file
from trilemma.archive.write import export_bytes
from trilemma.errors import StoreError
from trilemma.interop import read_data
from trilemma.interop.studies import add
from trilemma.records import IMPORTED, IMPORTED_FROM, OF_TOOL, StudyRecord
from trilemma.schema import Method, RunState
from trilemma.store import Store, open_store
from trilemma.study import estimate

MAPPING = {"model": "model", "q": "quantization", "decode": "decode_tps@short_chat", "machine": "machine"}
MODEL, QUANTIZATION = DEMO[0]
TABLE = f"model,q,decode,machine\n{MODEL},{QUANTIZATION},50,Elsewhere 9000\n{MODEL},{QUANTIZATION},70,Other 1\n"


def bring(store: Store, data: str = TABLE, name: str = "") -> tuple[StudyRecord, bool]:
    return add(store, *read_data("table.csv", data.encode(), mapping=MAPPING), name)


def test_the_same_file_twice_changes_nothing(store: Store) -> None:
    first, added = bring(store)
    assert added
    assert first.imported
    version, runs = store.version(), store.runs(first.id)
    again, added = bring(store, name="another name")
    assert not added
    assert again == first
    assert (store.version(), store.runs(first.id)) == (version, runs)
    other, added = bring(store, TABLE.replace("50", "51"))
    assert added
    assert other.id != first.id


def test_a_deleted_import_can_be_brought_again(store: Store) -> None:
    first, _ = bring(store)
    store.delete_study(first.id)
    assert store.runs(first.id) == []
    assert bring(store)[1]


def test_it_says_what_it_is_of_every_run_and_figure(store: Store) -> None:
    study, _ = bring(store)
    for run in store.runs(study.id):
        assert run.imported
        assert run.state is RunState.DONE
        assert run.host is None, "its machine is not this one"
        assert run.engine_info["file"] == "table.csv"
        assert len(str(run.engine_info["file's SHA-256"])) == 64
        assert run.engine_info["imported at"]
        for one in store.measurements(run.id):
            assert one.provenance.method is Method.IMPORTED
            assert "table.csv" in one.provenance.source


def test_the_queue_and_estimates_know_nothing_of_it(store: Store) -> None:
    mine = fill_store(store, repeats=1, detail=False)
    before = (store.runs(), store.reusable(), estimate(mine.spec, store.artifacts(), store))
    study, _ = bring(store)
    assert (store.runs(), store.reusable(), estimate(mine.spec, store.artifacts(), store)) == before
    assert store.claim_next("worker") is None
    assert {run.id for run in store.runs(study.id)}.isdisjoint(run.id for run in store.runs())
    assert all(
        one.id not in {a.id for a in store.artifacts()} for one in store.artifacts(forgotten=True) if not one.path
    )


def test_beside_measured_runs_it_is_a_point_of_its_own_that_says_so(store: Store) -> None:
    fill_store(store, repeats=2, detail=False)
    key = "decode_tps@short_chat"
    artifacts = {a.id: a for a in store.artifacts(forgotten=True)}
    alone = configuration_points(store.figure_frame(), store.run_frame(), artifacts, [key])
    study, _ = bring(store)
    artifacts = {a.id: a for a in store.artifacts(forgotten=True)}
    points = configuration_points(store.figure_frame(), store.run_frame(), artifacts, [key])
    assert len(points) == len(alone) + 2, "each machine is a point, and neither is one that was measured here"
    mine = points.value.index.isin(alone.value.index)
    assert set(points.method.loc[~mine, key]) == {Method.IMPORTED.value}
    assert set(points.method.loc[mine, key]) == {Method.MEASURED.value}
    assert all("imported from csv" in name for name in labels(points)[~mine])
    # It lends the others no variance, and borrows none.
    for table in ("low", "high", "error", "value"):
        np.testing.assert_array_equal(
            getattr(points, table).loc[mine, key].loc[alone.value.index], getattr(alone, table)[key]
        )
        if table != "value":
            assert getattr(points, table).loc[~mine, key].isna().all()
    only = configuration_points(store.figure_frame(None, study.id), store.run_frame(study.id), artifacts, [key])
    assert all("imported from csv" in name for name in labels(only))


@pytest.mark.parametrize("fmt", ["csv", "jsonl", "parquet"])
def test_an_export_of_everything_has_it(store: Store, tmp_path, fmt) -> None:  # type: ignore[no-untyped-def]
    from trilemma.store.export import export_study

    bring(store)
    fill_store(store, repeats=1, detail=False)
    folder = export_study(store, None, tmp_path / "out", fmt)
    text = (folder / f"runs.{fmt}").read_bytes()
    assert b"imported_from" in text or fmt == "parquet"


def test_in_a_studys_file_it_stays_what_it_is(store: Store) -> None:
    study, _ = bring(store)
    file = export_bytes(store, study.id)
    assert import_file(store, io.BytesIO(file)).fresh_runs == 0
    with server().database() as url, open_store(url) as elsewhere:
        mine = fill_store(elsewhere, repeats=1, detail=False)
        assert import_file(elsewhere, io.BytesIO(file)).fresh_runs == 2
        assert {run.spec.device for run in elsewhere.runs(study.id)} == {f"{OF_TOOL}csv"}
        frame = elsewhere.run_frame()
        assert set(frame.loc[frame["imported"], "run_id"]) == {run.id for run in elsewhere.runs(study.id)}
        assert set(frame.loc[~frame["imported"], "run_id"]) == {run.id for run in elsewhere.runs(mine.id)}
        assert export_bytes(elsewhere, study.id) == file


def test_a_file_cannot_pass_measured_runs_for_a_tools(store: Store) -> None:
    study, _ = bring(store)
    content = members(export_bytes(store, study.id))
    unmarked = content[RUNS].replace(f'"{IMPORTED_FROM}":"csv",'.encode(), b"")
    assert unmarked != content[RUNS]
    store.delete_study(study.id)
    with pytest.raises(StoreError, match="which tool"):
        import_file(store, io.BytesIO(packed(content | {RUNS: unmarked})))
    assert store.studies() == []


def test_another_machines_study_is_not_shown_beside_but_only_where_it_is_chosen(store: Store) -> None:
    with server().database() as url, open_store(url) as elsewhere:
        file = export_bytes(elsewhere, fill_store(elsewhere, repeats=1, detail=False).id)
    mine, (tools, _) = fill_store(store, [DEMO[0]], repeats=1, detail=False), bring(store)
    theirs = import_file(store, io.BytesIO(file)).study
    assert all(run.spec.device.startswith(IMPORTED) and not run.imported for run in store.runs(theirs.id))
    beside = {run.id for run in (*store.runs(mine.id), *store.runs(tools.id))}
    assert set(store.run_frame()["run_id"]) == {run.id for run in store.all_runs()} == beside
    assert len(store.run_frame(theirs.id)) == len(store.runs(theirs.id)) > 0
