"""Studies, artifacts and what runs record, written and read back."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from studies import HOST, PROVENANCE, add, artifact, claim, finish, measurement, records, run_specs

from trilemma.errors import NotFoundError, StoreError
from trilemma.records import SAMPLE, AnswerRecord, PhaseWindow, Sample
from trilemma.sample.loading import add_sample
from trilemma.schema import Configuration, Derivation, Method, Phase, Relation, RunSpec, RunState, StudySpec
from trilemma.store import Store, tables
from trilemma.store.codec import CODEC, deltas, pack_samples, times_of, unpack_samples

SAMPLES = st.lists(
    st.builds(
        Sample,
        time_ns=st.integers(0, 2**62),
        phase=st.sampled_from(Phase),
        values=st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=4),
    ),
    max_size=30,
)


@given(SAMPLES)
def test_samples_survive_packing(samples: list[Sample]) -> None:
    assert list(unpack_samples(pack_samples(samples), CODEC)) == samples


@given(st.lists(st.integers(-(2**62), 2**62)), st.integers(0, 2**62))
def test_times_survive_packing(times: list[int], start: int) -> None:
    assert times_of(deltas(times, start), start) == tuple(times)


def test_a_chunk_that_cannot_be_read() -> None:
    with pytest.raises(StoreError, match="Upgrade"):
        list(unpack_samples(b"", "zstd-9"))
    with pytest.raises(StoreError, match="damaged"):
        list(unpack_samples(b"rubbish", CODEC))


def test_a_run_reads_back_as_written(store: Store) -> None:
    study, ids = add(store, run_specs(1, threads=2))
    claim(store)
    store.start_run(ids[0], HOST)
    store.set_engine_info(ids[0], {"name": "llama.cpp", "buffers": [1, 2]})
    store.set_progress(ids[0], 0.25, "half-way", Phase.SPEED, 12.5)
    running = store.run(ids[0])
    assert (running.progress, running.note, running.phase, running.remaining_s) == (0.25, "half-way", Phase.SPEED, 12.5)
    written = records()
    store.write_batch(ids[0], **written, progress=(0.5, "", None, None))
    assert store.run(ids[0]).phase is Phase.SPEED
    assert store.phases(ids[0]) == written["phases"]
    assert store.samples(ids[0]) == written["samples"]
    assert store.samples(ids[0], after_ns=11) == written["samples"][2:]
    assert store.requests(ids[0]) == written["requests"]
    assert store.answers(ids[0]) == written["answers"] == store.answers(ids[0], "s")
    assert store.answers(ids[0], "other") == []
    figures = [measurement("z", statistic="p95", subject="w"), measurement("a", None)]
    store.set_measurements(ids[0], [measurement("old")])
    store.set_measurements(ids[0], figures)
    assert store.measurements(ids[0]) == figures, "in the order given"
    before = store.version()
    assert store.finish_run(ids[0], RunState.DONE, log_tail="the end", disturbed=True, disturbances=["steal"])
    assert store.version() > before
    run = store.run(ids[0])
    assert (run.state, run.progress, run.disturbances, run.log_tail) == (RunState.DONE, 1.0, ("steal",), "the end")
    assert (run.host, run.engine_info["buffers"], run.study_ids) == (HOST, [1, 2], (study,))
    assert run.spec.configuration.settings == {"threads": 2}
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.created_at <= run.started_at <= run.finished_at <= datetime.now(UTC)
    assert not store.finish_run(ids[0], RunState.FAILED), "it has ended"
    assert store.run(ids[0]).state is RunState.DONE


def test_a_phase_is_closed_in_place(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    store.add_phase(run_id, PhaseWindow(phase=Phase.LOAD, start_ns=5))
    store.add_phase(run_id, PhaseWindow(phase=Phase.LOAD, subject="w", start_ns=6))
    store.add_phase(run_id, PhaseWindow(phase=Phase.LOAD, start_ns=5, end_ns=9))
    assert [(w.subject, w.end_ns) for w in store.phases(run_id)] == [("", 9), ("w", None)]


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    store.add_requests(run_id, records()["requests"])
    with pytest.raises(StoreError, match="contradicts"):
        store.write_batch(run_id, **records())
    assert store.samples(run_id) == []
    with pytest.raises(StoreError, match="contradicts"):
        store.set_measurements(run_id, [measurement(), measurement()])


def test_text_that_no_database_takes(store: Store, database: str) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    store.write_batch(run_id, **records(1, text="lone \ud83d surrogate, \x00, \U0001f600 </script>"))
    nul = "\ufffd" if database else "\x00"
    assert store.answers(run_id)[0].answer == f"lone \ufffd surrogate, {nul}, \U0001f600 </script>"


def test_json_that_could_not_be_shown_is_mended_and_nothing_else_of_it(store: Store) -> None:
    nasty = "lone \ud83d, \x00 \u202e </script>"
    mended = nasty.replace("\ud83d", "\ufffd")
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    answer = AnswerRecord.model_construct(
        suite="s", item_id="1", index=0, prompt="", answer="", expected="", scores={}, detail={nasty: [nasty, 1.5]}
    )
    store.add_answers(run_id, [answer])
    assert store.answers(run_id)[0].detail == {mended: [mended, 1.5]}


def test_what_cannot_be_known_stays_unknown(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    store.set_measurements(run_id, [measurement("a", None), measurement("b", math.inf), measurement("c", math.nan)])
    assert [m.value for m in store.measurements(run_id)] == [None, math.inf, None]
    store.finish_run(run_id, RunState.DONE)
    assert store.figure_frame(["a"])["value"].isna().all()


def test_a_finished_or_waiting_run_is_shared_a_failed_or_disturbed_one_is_measured_anew(store: Store) -> None:
    first, ids = add(store, run_specs(4))
    finish(store, claim(store))
    finish(store, claim(store), disturbed=True)
    finish(store, claim(store), state=RunState.FAILED, reason="bad luck")
    second, shared = add(store, [*run_specs(5), run_specs(1)[0]], name="second")
    assert ids[0] in shared
    assert ids[3] in shared
    assert not {ids[1], ids[2]} & set(shared)
    assert len(shared) == 5, "listed twice, queued once"
    assert store.study(second).runs_by_state == {RunState.DONE: 1, RunState.WAITING: 4}
    assert [study.id for study in store.studies()] == [second, first]
    again = run_specs(1)[0].model_copy(update={"stall_timeout_s": 5.0})
    assert add(store, [again], name="third")[1] == [ids[0]], "a time limit does not change what is measured"


def test_deleting_a_study_spares_what_others_share(store: Store) -> None:
    first, ids = add(store, run_specs(2))
    finish(store, claim(store))
    add(store, run_specs(1), name="second")
    claim(store)
    with pytest.raises(StoreError, match="is running"):
        store.delete_study(first)
    store.finish_run(ids[1], RunState.FAILED)
    assert store.runs_only_in(first) == [ids[1]]
    assert store.delete_study(first) == [ids[1]]
    assert [run.id for run in store.runs()] == [ids[0]]
    assert len(store.samples(ids[0])) == 3
    assert len(store.figure_frame()) == 2
    with pytest.raises(NotFoundError):
        store.study(first)


def test_deleting_a_study_deletes_its_records(store: Store) -> None:
    study, (run_id,) = add(store, run_specs(1))
    finish(store, claim(store))
    store.delete_study(study)
    left = [store.samples(run_id), store.requests(run_id), store.answers(run_id), store.measurements(run_id)]
    assert left == [[]] * 4
    assert store.run_frame().empty
    with store._db.read() as connection:
        assert connection.execute(sa.select(tables.hosts)).all() == [], "nothing of the machine is left either"


def test_the_sample_is_not_deleted_like_another_study(store: Store) -> None:
    add_sample(store)
    with pytest.raises(StoreError, match="sample study"):
        store.delete_study(SAMPLE)
    assert store.study(SAMPLE).runs_by_state


def test_halves_of_surrogate_pairs_in_settings_can_be_shown(store: Store) -> None:
    """As JSON escapes them they could be stored, and no table could hold them afterwards."""
    configuration = Configuration(artifact_id="a" * 64, engine="none", settings={"\ud800": "\ud800"})
    store.add_study(StudySpec(name="s", configurations=(configuration,)), [RunSpec(configuration=configuration)])
    finish(store, claim(store))
    assert json.loads(store.run_frame()["settings"].iloc[0]) == {"\ufffd": "\ufffd"}


def test_runs_are_listed_in_the_order_of_the_queue(store: Store) -> None:
    _, ids = add(store, run_specs(4))
    finish(store, claim(store))
    assert [run.id for run in store.runs()] == ids
    assert [run.id for run in store.runs(newest_first=True, limit=2)] == [ids[3], ids[2]]
    assert [run.id for run in store.runs(states={RunState.DONE})] == [ids[0]]
    assert store.runs(states=()) == []


def test_an_artifact_is_kept_once(store: Store) -> None:
    distilled = Derivation(relation=Relation.DISTILLED, parent_name="Teacher")
    quantized = Derivation(relation=Relation.QUANTIZED, parent_name="M", stated_by="quantise")
    old = store.add_artifact(
        artifact(licence="MIT", derivations=(distilled,), added_at=datetime(2026, 1, 1, tzinfo=UTC))
    )
    new = store.add_artifact(artifact(path="/moved.gguf", source="hub:x", derivations=(quantized, distilled)))
    assert store.artifacts() == [new]
    assert (new.path, new.licence, new.source, new.added_at) == ("/moved.gguf", "MIT", "folder", old.added_at)
    assert new.derivations == (distilled, quantized)
    assert store.artifact(new.id) == new


def test_an_artifact_is_found_by_what_people_call_it(store: Store) -> None:
    first, second = store.add_artifact(artifact(1)), store.add_artifact(artifact(2, id="f" * 64))
    for name in ("ffff", "m q2", "2.gguf", "/models/2.gguf", second.id):
        assert store.find_artifact(name) == second
    for name, says in (("M", "any of 2"), ("fff", "No artifact"), ("nothing", "No artifact"), ("", "No artifact")):
        with pytest.raises(NotFoundError, match=says):
            store.find_artifact(name)
    assert first.id.startswith("0000")


def test_a_forgotten_artifact_keeps_naming_its_runs(store: Store) -> None:
    used, unused = store.add_artifact(artifact()), store.add_artifact(artifact(1))
    add(store, run_specs(2))
    assert (store.runs_using(used.id), store.runs_using(unused.id)) == (2, 0)
    store.forget_artifact(used.id)
    store.forget_artifact(unused.id)
    assert store.artifacts() == []
    assert store.artifact(used.id) == used
    assert set(store.run_frame()["model"]) == {"M"}
    with pytest.raises(NotFoundError):
        store.artifact(unused.id)
    with pytest.raises(NotFoundError):
        store.forget_artifact(unused.id)
    store.add_artifact(used)
    assert store.artifacts() == [used]


def test_figures_of_replaced_runs_are_left_out(store: Store) -> None:
    store.add_artifact(artifact())
    study, ids = add(store, run_specs(3))
    finish(store, claim(store), value=1.0, disturbed=True)
    finish(store, claim(store), value=2.0)
    finish(store, claim(store), value=3.0, state=RunState.FAILED)
    assert list(store.figure_frame(["ttft_s"])["value"]) == [1.0, 2.0]
    again = store.add_rerun(ids[0])
    assert list(store.figure_frame(["ttft_s"])["value"]) == [1.0, 2.0], "not before the re-run is done"
    finish(store, claim(store), value=1.5)
    frame = store.figure_frame(["ttft_s", "decode_tps@w"], study)
    assert {(run, key, value) for run, key, value in frame[["run_id", "key", "value"]].itertuples(index=False)} == {
        (ids[1], "ttft_s", 2.0),
        (ids[1], "decode_tps@w", 4.0),
        (again, "ttft_s", 1.5),
        (again, "decode_tps@w", 3.0),
    }
    runs = store.run_frame(study).set_index("run_id")
    assert list(runs.index[runs["superseded"]]) == [ids[0]]
    assert runs.loc[again, "rerun_of"] == ids[0]
    assert runs["finished_at"].dt.tz is not None
    assert set(runs["model"]) == {"M"}


def test_answers_are_counted_by_run_and_suite_and_those_of_replaced_runs_left_out(store: Store) -> None:
    columns = ["run_id", "configuration_id", "suite", "n"]
    assert list(store.answer_frame().columns) == columns
    store.add_artifact(artifact())
    study, ids = add(store, run_specs(3))
    finish(store, claim(store), disturbed=True)
    finish(store, claim(store))
    finish(store, claim(store), state=RunState.FAILED)
    again = store.add_rerun(ids[0])
    finish(store, claim(store))
    configuration = store.run(ids[0]).spec.configuration.id
    counted = {tuple(row) for row in store.answer_frame(study)[columns].itertuples(index=False)}
    assert counted == {(run_id, configuration, "s", 3) for run_id in (ids[1], again)}
    assert store.answer_frame("other").empty


def test_frames_have_their_columns_even_when_empty(store: Store) -> None:
    about_run = ["run_id", "configuration_id", "artifact_id", "engine", "repeat", "disturbed"]
    figures = [*about_run, "key", "value", "low", "high", "n", "method", "source", "valid"]
    runs = ["run_id", "state", "configuration_id", "artifact_id", "model", "quantization", "engine", "settings"]
    runs += ["adapter_id", "profile", "repeat", "disturbed", "finished_at", "rerun_of", "superseded", "imported"]
    runs += ["engine_version", "machine"]
    assert list(store.figure_frame()) == figures
    assert list(store.run_frame()) == runs
    assert store.figure_frame().empty
    _, (run_id,) = add(store, run_specs(1, threads=2))
    claim(store)
    store.set_measurements(run_id, [measurement(low=0.5, high=1.5)])
    store.finish_run(run_id, RunState.DONE)
    (row,) = store.figure_frame().to_dict("records")
    configuration = store.run(run_id).spec.configuration
    assert row == dict(
        zip(
            figures,
            (run_id, configuration.id, configuration.artifact_id, "llama.cpp", 0, False, "ttft_s", 1.0, 0.5, 1.5, 3,
             "measured", "llama.cpp", True),
            strict=True,
        )
    )  # fmt: skip
    assert store.figure_frame(["other"]).empty
    assert store.figure_frame(study_id="other").empty
    (row,) = store.run_frame().to_dict("records")
    assert (row["settings"], row["state"], row["superseded"]) == ('{"threads": 2}', "done", False)
    assert isinstance(store.run_frame()["finished_at"].dtype, pd.DatetimeTZDtype)


def test_the_version_grows_with_what_explore_shows(store: Store) -> None:
    seen = [store.version()]

    def grew() -> bool:
        seen.append(store.version())
        return seen[-1] > seen[-2]

    store.add_artifact(artifact())
    assert grew()
    _, (run_id,) = add(store, run_specs(1))
    assert grew()
    claim(store)
    assert not grew(), "a page is not made anew because a run begins"
    store.start_run(run_id, HOST)
    store.write_batch(run_id, **records(), progress=(0.5, "", None, None))
    store.set_measurements(run_id, [measurement("ttft_s")])
    assert not grew(), "neither progress is shown there, nor figures of what has not ended"
    store.finish_run(run_id, RunState.DONE)
    assert grew()


def test_the_spec_is_kept_whole(store: Store) -> None:
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp", settings={"kv": "q8_0", "n": [1, None]})
    spec = StudySpec(name="Prüfung <b>", configurations=(configuration,), repeats=3, seed=9)
    run = RunSpec(configuration=configuration, reference_id="b" * 64, idle_s=1.5)
    study = store.add_study(spec, [run])
    assert study.spec == spec
    assert store.runs(study.id)[0].spec == run
    assert store.add_study(spec, []).runs_by_state == {}
    assert PROVENANCE.method is Method.MEASURED
