"""The sample study in a store: added once, never mixed with the user's own, never reused, gone when removed."""

from __future__ import annotations

import pytest

from tests.factory import GEMMA, SMOL, artifact, fill_store
from trilemma.bench.earlier import known_answers
from trilemma.errors import NotFoundError
from trilemma.jobs.worker import Worker
from trilemma.records import SAMPLE, WholeStudy
from trilemma.sample.file import packaged
from trilemma.sample.loading import add_sample, offer_sample
from trilemma.sample.pack import whole_study
from trilemma.schema import Artifact, Configuration, RunSpec, RunState
from trilemma.settings import Settings
from trilemma.store import Store, open_store
from trilemma.study import estimate


@pytest.fixture(scope="module")
def shipped() -> WholeStudy:
    return packaged()


@pytest.fixture
def small(tmp_path, store: Store) -> WholeStudy:
    """What the factory measures, as it would be packed; ``store`` itself knows nothing of it."""
    with open_store(f"sqlite:///{tmp_path / 'elsewhere.db'}") as other:
        study = fill_store(other, [(SMOL, "F16"), (SMOL, "Q4_K_M")], seed=7)
        return whole_study(other, study.id)


def owned(store: Store, whole: WholeStudy) -> None:
    """The same weights in the user's own catalog."""
    for one in whole.artifacts:
        store.add_artifact(one.model_copy(update={"path": f"/models/{one.quantization}.gguf"}))


def test_everything_that_was_recorded_comes_back(store: Store, shipped: WholeStudy) -> None:
    record = add_sample(store, shipped)
    assert (record.id, record.spec, record.created_at) == (SAMPLE, shipped.study.spec, shipped.study.created_at)
    assert record.runs_by_state == {RunState.DONE: len(shipped.runs)}
    for one, run in zip(shipped.runs, store.runs(SAMPLE), strict=True):
        assert run.model_copy(update={"phase": one.run.phase}) == one.run
        assert tuple(store.measurements(run.id)) == one.measurements
        assert tuple(store.phases(run.id)) == one.phases
        assert tuple(store.samples(run.id)) == one.samples
        assert sorted(store.answers(run.id), key=repr) == sorted(one.answers, key=repr)
        assert sorted(store.requests(run.id), key=repr) == sorted(one.requests, key=repr)


def test_adding_it_twice_changes_nothing(store: Store, small: WholeStudy) -> None:
    first = add_sample(store, small)
    version = store.version()
    assert add_sample(store, small) == first
    assert store.version() == version
    assert len(store.runs(SAMPLE)) == len(small.runs)


def test_another_sample_takes_the_place_of_an_older_one(store: Store, small: WholeStudy, shipped: WholeStudy) -> None:
    add_sample(store, shipped)
    add_sample(store, small)
    assert len(store.runs(SAMPLE)) == len(small.runs)
    assert {a.id for a in store.artifacts(forgotten=True)} == {a.id for a in small.artifacts}


def test_it_can_be_added_to_the_store_that_it_was_measured_in(store: Store) -> None:
    study = fill_store(store, [(SMOL, "F16")])
    add_sample(store, whole_study(store, study.id))
    assert [(s.id == SAMPLE, sum(s.runs_by_state.values())) for s in store.studies()].count((True, 2)) == 1
    assert len(store.runs(study.id)) == 2


def test_an_empty_store_is_offered_it_once(store: Store) -> None:
    assert offer_sample(store)
    assert [study.id for study in store.studies()] == [SAMPLE]
    assert not offer_sample(store)
    store.remove_sample()
    assert store.studies() == []
    assert not offer_sample(store)
    assert store.studies() == []


def test_a_store_with_a_study_is_not_offered_it(store: Store) -> None:
    fill_store(store, [(SMOL, "F16")], detail=False)
    assert not offer_sample(store)
    assert SAMPLE not in {study.id for study in store.studies()}


def test_removed_before_it_came_it_does_not_come(store: Store) -> None:
    assert not store.remove_sample()
    assert not offer_sample(store)


def test_removing_it_leaves_nothing_of_it_and_all_of_the_users_own(store: Store, small: WholeStudy) -> None:
    add_sample(store, small)
    mine = fill_store(store, [(GEMMA, "Q4_K_M")])
    assert store.remove_sample()
    assert not store.remove_sample()
    with pytest.raises(NotFoundError):
        store.study(SAMPLE)
    assert store.sample() is None
    assert [study.id for study in store.studies()] == [mine.id]
    assert {a.id for a in store.artifacts(forgotten=True)} == {artifact(GEMMA, "Q4_K_M").id}
    assert len(store.runs()) == len(store.run_frame()) == 2
    assert all(run.host is not None for run in store.runs())
    assert add_sample(store, small).id == SAMPLE


def test_alone_it_is_what_all_studies_show(store: Store, small: WholeStudy) -> None:
    add_sample(store, small)
    assert len(store.run_frame()) == len(small.runs)
    assert set(store.figure_keys()) >= {"decode_tps@short_chat", "accuracy@hellaswag"}
    assert set(store.figure_frame()["run_id"]) == {one.run.id for one in small.runs}
    assert set(store.answer_frame()["suite"]) == {"hellaswag", "piqa"}
    facts = store.sample()
    assert facts is not None
    assert facts.alone


def test_beside_runs_of_the_users_own_all_studies_leave_it_out(store: Store, small: WholeStudy) -> None:
    add_sample(store, small)
    mine = fill_store(store, [(SMOL, "F16")], repeats=1)
    own = {run.id for run in store.runs(mine.id)}
    assert {run.id for run in store.runs()} == own
    for frame in (store.run_frame(), store.figure_frame(), store.answer_frame()):
        assert set(frame["run_id"]) == own
    for frame in (store.run_frame(SAMPLE), store.figure_frame(None, SAMPLE), store.answer_frame(SAMPLE)):
        assert set(frame["run_id"]) <= {one.run.id for one in small.runs}
        assert len(frame)
    facts = store.sample()
    assert facts is not None
    assert not facts.alone


def test_figures_that_only_the_sample_has_are_not_offered_for_the_users_own(store: Store, shipped: WholeStudy) -> None:
    add_sample(store, shipped)
    fill_store(store, [(SMOL, "F16")], repeats=1, detail=False)
    assert "success_rate@bfcl_simple" in store.figure_keys(SAMPLE)
    assert "success_rate@bfcl_simple" not in store.figure_keys()
    assert "decode_tps@short_chat" in store.figure_keys()


def test_its_artifacts_have_names_but_are_not_in_the_catalog(store: Store, small: WholeStudy) -> None:
    add_sample(store, small)
    assert store.artifacts() == []
    assert {a.label for a in store.artifacts(forgotten=True)} == {f"{SMOL} F16", f"{SMOL} Q4_K_M"}
    with pytest.raises(NotFoundError):
        store.find_artifact(f"{SMOL} F16")
    assert store.artifact(small.artifacts[0].id).label == small.artifacts[0].label
    assert store.runs_using(small.artifacts[0].id) == 0


def test_its_models_come_after_the_users_own_so_that_these_keep_their_colours(store: Store, small: WholeStudy) -> None:
    add_sample(store, small)
    assert store.models() == [SMOL]
    fill_store(store, [(GEMMA, "Q4_K_M")], repeats=1, detail=False)
    assert store.models() == [GEMMA, SMOL]


def test_a_file_of_the_users_own_is_added_as_if_the_sample_were_not_there(store: Store, small: WholeStudy) -> None:
    add_sample(store, small)
    known = small.artifacts[0]
    mine = Artifact.model_validate(known.model_dump() | {"path": "/mine.gguf", "source": "folder", "derivations": ()})
    assert store.add_artifact(mine) == mine
    assert store.artifacts() == [mine]
    store.remove_sample()
    assert store.artifacts() == [mine]


def test_what_the_user_had_in_the_catalog_before_is_left_alone(store: Store, small: WholeStudy) -> None:
    owned(store, small)
    before = store.artifacts()
    add_sample(store, small)
    assert store.artifacts() == before
    store.remove_sample()
    assert store.artifacts() == before


def test_its_runs_are_never_reused_as_measurements(store: Store, small: WholeStudy) -> None:
    """The very same configurations, workloads and suites as in the sample are all measured here."""
    owned(store, small)
    add_sample(store, small)
    spec = small.study.spec.model_copy(update={"name": "mine"})
    runs = [one.run.spec.model_copy(update={"device": "local"}) for one in small.runs]
    assert store.reusable() == set()
    record = store.add_study(spec, runs)
    assert record.runs_by_state == {RunState.WAITING: len(runs)}
    assert {run.id for run in store.runs(record.id)}.isdisjoint({one.run.id for one in small.runs})
    # Even if somebody asked for runs on a device of that name.
    assert store.add_study(spec, [one.run.spec for one in small.runs]).runs_by_state.get(RunState.DONE) is None


def test_time_is_not_estimated_from_another_machine(store: Store, small: WholeStudy) -> None:
    owned(store, small)
    add_sample(store, small)
    spec = small.study.spec.model_copy(update={"name": "mine"})
    expected = estimate(spec, store.artifacts(), store)
    assert (expected.reused, expected.runs) == (0, len(small.runs))
    assert "first guess" in expected.basis


def test_its_answers_are_never_taken_for_those_of_a_run_here(store: Store, small: WholeStudy) -> None:
    owned(store, small)
    whole = small.model_copy(update={"runs": tuple(one for one in small.runs if one.answers)})
    add_sample(store, whole)
    asked = whole.runs[0].run.spec.model_copy(update={"device": "local"})
    store.add_study(small.study.spec, [asked])
    (run,) = store.runs()
    item = store.artifact(asked.configuration.artifact_id)
    assert known_answers(store, run, item) == {}
    # The check itself: a run of the user's own is reused.
    claimed = store.claim_next("test")
    assert claimed is not None
    assert whole.runs[0].run.host is not None
    store.start_run(claimed.id, whole.runs[0].run.host)
    store.add_answers(claimed.id, whole.runs[0].answers)
    store.finish_run(claimed.id, RunState.DONE)
    assert known_answers(store, run, item) != {}


def test_a_worker_has_nothing_to_do_with_it(store: Store, settings: Settings, small: WholeStudy) -> None:
    """Nothing of it waits, and a disturbed run of it is not measured again."""
    disturbed = [one.model_copy(update={"run": one.run.model_copy(update={"disturbed": True})}) for one in small.runs]
    add_sample(store, small.model_copy(update={"runs": tuple(disturbed)}))
    assert store.reruns_due() == store.reruns_due(SAMPLE) == []
    assert store.claim_next("w") is store.claim_next("w", SAMPLE) is None
    Worker(store, settings).run(drain=True)
    assert {run.state for run in store.runs(SAMPLE)} == {RunState.DONE}
    assert store.runs() == []


def test_its_energy_coefficients_stay_its_own(store: Store, small: WholeStudy) -> None:
    odd = small.runs[0].run.spec.energy.model_copy(update={"watts_per_busy_core": 77.0})
    spec = small.runs[0].run.spec.model_copy(update={"energy": odd})
    run = small.runs[0].model_copy(update={"run": small.runs[0].run.model_copy(update={"spec": spec})})
    add_sample(store, small.model_copy(update={"runs": (run,)}))
    assert store.runs(SAMPLE)[0].spec.energy.watts_per_busy_core == 77.0
    mine = fill_store(store, [(SMOL, "F16")], repeats=1, detail=False)
    assert {one.spec.energy.watts_per_busy_core for one in store.runs(mine.id)} == {10.0}


def test_nothing_of_it_stays_where_adding_fails(store: Store, small: WholeStudy) -> None:
    twice = small.model_copy(update={"runs": (small.runs[0], small.runs[0])})
    with pytest.raises(Exception, match="contradicts"):
        store.add_sample(twice)
    assert store.studies() == []
    assert store.artifacts(forgotten=True) == []
    assert not store.sample_offered()


def test_a_rerun_keeps_its_original(store: Store, tmp_path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'elsewhere.db'}") as other:
        study = fill_store(other, [(SMOL, "F16")], repeats=1)
        (original,) = other.runs(study.id)
        other.add_rerun(original.id)
        again = other.claim_next("test")
        assert again is not None
        assert original.host is not None
        other.start_run(again.id, original.host)
        other.finish_run(again.id, RunState.DONE)
        whole = whole_study(other, study.id)
    add_sample(store, whole)
    assert [run.rerun_of for run in store.runs(SAMPLE)] == [None, "sample-01"]


def test_configurations_of_the_sample_are_those_of_the_same_weights(small: WholeStudy) -> None:
    """A configuration's id is its content: the device that marks the sample is the run's, not the configuration's."""
    for one in small.runs:
        mine = Configuration.model_validate(one.run.spec.configuration.model_dump())
        assert mine.id == one.run.spec.configuration.id
        assert RunSpec(configuration=mine).device == "local"
