"""A cluster's machines: which run may go where, runs that come back from elsewhere, and points that stay apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from pydantic import JsonValue
from studies import HOST, add, claim, finish, measurement, records, run_specs, url_of

from trilemma.analysis.points import configuration_points
from trilemma.errors import NotFoundError, StoreError
from trilemma.needs import ANYWHERE, EngineNeeds
from trilemma.records import HostInfo, Machine, RunRecord, WholeRun
from trilemma.schema import Configuration, Needs, RunSpec, RunState, StudySpec, content_id, utc_now
from trilemma.settings import Settings
from trilemma.store import Store, open_store
from trilemma.store import tables as t
from trilemma.store.machines import FRESH
from trilemma.store.migrate import _SCRIPTS

KEY = "ttft_s"


def there(store: Store, *names: str) -> None:
    store.see_machines([Machine(name=name) for name in names])


def whole(store: Store, run_id: str) -> WholeRun:
    return store.whole_run(store.run(run_id))


def lent(run: RunRecord, folder: Path, store: Store) -> Store:
    """Another store that is at a run of this one."""
    other = open_store(url_of(folder))
    other.lend_run(run, [store.study(one) for one in run.study_ids], [])
    return other


def test_machines_on_one_queue_do_not_wait_for_one_another(store: Store) -> None:
    add(store, [*run_specs(1, threads=1), *run_specs(1, threads=2), *run_specs(1, threads=3)])
    first = store.claim_next("a", machine="north")
    second = store.claim_next("b", machine="south")
    assert first is not None
    assert second is not None
    assert (first.machine, second.machine) == ("north", "south")
    assert store.claim_next("c") is None, "this machine alone does"


def test_repeats_stay_on_the_machine_of_the_first_while_it_is_there(store: Store) -> None:
    there(store, "north", "south")
    _, ids = add(store, [*run_specs(3, threads=1), *run_specs(1, threads=2)])
    assert store.waiting_needs() == [ANYWHERE]
    first = store.claim_next("a", needs=ANYWHERE, machine="north")
    assert first is not None
    assert first.id == ids[0]
    assert store.waiting_needs() == [Needs(machine="north"), ANYWHERE]
    other = store.claim_next("b", needs=ANYWHERE, machine="south")
    assert other is not None
    assert other.id == ids[3], "the repeats wait for north"
    finish(store, first)
    again = store.claim_next("a", needs=Needs(machine="north"), machine="north")
    assert again is not None
    assert again.id == ids[1]
    there(store, "south")
    assert store.waiting_needs() == [ANYWHERE], "it is gone"
    store.see_machines([Machine(name="north", seen_at=utc_now() - 2 * FRESH)])
    assert store.waiting_needs() == [ANYWHERE], "so is one that was not seen for long"
    assert [machine.alive for machine in store.machines()] == [False, False]


def test_another_study_may_use_another_machine(store: Store) -> None:
    there(store, "north", "south")
    add(store, run_specs(1))
    assert store.claim_next("a", machine="north") is not None
    add(store, [spec.model_copy(update={"idle_s": 1.0}) for spec in run_specs(1)], name="another")
    assert store.waiting_needs() == [ANYWHERE]


def test_a_run_goes_only_where_it_asks_to(store: Store) -> None:
    asks = Needs(machine="south", gpus=1)
    specs = [spec.model_copy(update={"needs": asks}) for spec in run_specs(1)]
    _, ids = add(store, [*specs, *run_specs(1, threads=2)])
    assert store.waiting_needs() == [asks, ANYWHERE]
    anywhere = store.claim_next("a", needs=ANYWHERE, machine="north")
    assert anywhere is not None
    assert anywhere.id == ids[1]
    store.pause_queue()
    assert store.waiting_needs() == []
    assert store.claim_next("a", needs=asks, machine="south") is None
    store.resume_queue()
    asked = store.claim_next("a", needs=asks, machine="south")
    assert asked is not None
    assert asked.id == ids[0]


def test_what_a_run_recorded_elsewhere_is_taken_over_whole(store: Store, tmp_path: Path) -> None:
    add(store, run_specs(1))
    run = claim(store)
    store.start_run(run.id, HOST)
    store.write_batch(run.id, samples=records()["samples"], progress=(0.5, "half", None, None))
    with lent(run, tmp_path / "other", store) as other:
        finish(other, other.run(run.id), disturbed=True, disturbances=["a neighbour"])
        arrived = whole(other, run.id)
    assert store.take_over(arrived) is True
    kept = whole(store, run.id)
    assert kept == arrived.model_copy(update={"run": kept.run})
    differing = {name for name, value in kept.run if value != getattr(arrived.run, name)}
    assert differing == set()
    assert store.take_over(arrived) is False, "what has ended stands"
    assert len(store.samples(run.id)) == 3, "what came along before is not there twice"


def test_an_attempt_that_comes_back_late_counts_for_nothing(store: Store, tmp_path: Path) -> None:
    add(store, run_specs(1))
    run = claim(store)
    with lent(run, tmp_path / "other", store) as other:
        finish(other, other.run(run.id))
        late = whole(other, run.id)
    store.release(run.id, interrupted=True)
    with pytest.raises(StoreError):
        store.take_over(late)
    again = claim(store)
    assert again.attempt == 2
    with pytest.raises(StoreError, match="too late"):
        store.take_over(late)
    assert store.run(run.id).state is RunState.RUNNING
    assert store.measurements(run.id) == []


def test_what_a_failed_run_recorded_is_taken_over_without_an_end(store: Store, tmp_path: Path) -> None:
    """Its process died and said nothing: that the worker says."""
    add(store, run_specs(1))
    run = claim(store)
    with lent(run, tmp_path / "other", store) as other:
        other.start_run(run.id, HOST)
        other.write_batch(run.id, **records())
        assert store.take_over(whole(other, run.id))
    assert store.run(run.id).state is RunState.RUNNING
    assert len(store.answers(run.id)) == 3
    assert store.finish_run(run.id, RunState.FAILED, reason="It died.")


def measured_on(
    store: Store, host: HostInfo, *values: float, version: str = "", info: Mapping[str, JsonValue] | None = None
) -> None:
    """Further repeats of one configuration, on a machine."""
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp")
    done = len(store.runs())
    specs = [
        RunSpec(configuration=configuration, repeat=done + number, engine_version=version)
        for number in range(len(values))
    ]
    store.add_study(StudySpec(name="s", configurations=(configuration,)), specs)
    for value in values:
        run = claim(store)
        store.start_run(run.id, host)
        if info:
            store.set_engine_info(run.id, info)
        store.set_measurements(run.id, [measurement(KEY, value)])
        store.write_batch(run.id, answers=records()["answers"])
        store.finish_run(run.id, RunState.DONE)


def made_before(store: Store) -> None:
    """Take the store back to what it was before there were machines: its tables, and what its documents say."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with store._db.write() as connection:
        for table in (t.runs, t.studies):
            for row in connection.execute(sa.select(table.c.id, table.c.spec)).all():
                spec = {name: value for name, value in row.spec.items() if name not in ("needs", "machines")}
                connection.execute(sa.update(table).where(table.c.id == row.id).values(spec=spec))
        for row in connection.execute(sa.select(t.hosts)).all():
            document = {name: value for name, value in row.document.items() if name != "name"}
            old = content_id(document, 64)
            connection.execute(sa.insert(t.hosts).values(id=old, document=document))
            connection.execute(sa.update(t.runs).where(t.runs.c.host_id == row.id).values(host_id=old))
            connection.execute(sa.delete(t.hosts).where(t.hosts.c.id == row.id))
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")


def test_a_store_from_before_there_were_machines_keeps_its_points(store: Store, settings: Settings) -> None:
    measured_on(store, HOST, 1.0, 1.0)
    _, (waiting,) = add(store, run_specs(1, threads=2))
    before, specs = store.run_frame(), [run.spec for run in store.runs()]
    made_before(store)
    with store._db.read() as connection:
        tables = sa.inspect(connection)
        assert "machines" not in tables.get_table_names()
        assert not {"needs", "machine", "engine_version"} & {column["name"] for column in tables.get_columns("runs")}
    with open_store(settings.database_url) as opened:
        pd.testing.assert_frame_equal(opened.run_frame(), before)
        assert [run.spec for run in opened.runs()] == specs
        assert {run.machine for run in opened.runs()} == {""}
        again = opened.add_study(StudySpec(name="again", configurations=(specs[0].configuration,)), specs[:2])
        assert opened.study(again.id).runs_by_state == {RunState.DONE: 2}, "what is measured is not measured again"
        assert opened.waiting_needs() == [ANYWHERE]
        finish(opened, claim(opened), 2.0)
        assert opened.run(waiting).state is RunState.DONE
        measured_on(opened, HOST, 4.0)
        points = configuration_points(opened.figure_frame(), opened.run_frame(), {}, [KEY])
        assert sorted(points.runs[KEY]) == [1, 3], "the same machine as before"
        assert set(points.meta.index) >= set(before["configuration_id"])


NORTH = HOST.model_copy(update={"name": "north"})
SOUTH = HOST.model_copy(update={"name": "south"})


def test_a_configuration_on_two_machines_is_two_points(store: Store) -> None:
    measured_on(store, NORTH, 1.0, 1.0)
    alone = configuration_points(store.figure_frame(), store.run_frame(), {}, [KEY])
    measured_on(store, SOUTH, 3.0, 3.0)
    points = configuration_points(store.figure_frame(), store.run_frame(), {}, [KEY])
    assert sorted(points.value[KEY]) == [1.0, 3.0], "never 2"
    assert list(points.runs[KEY]) == [2, 2]
    assert set(points.meta["machine"]) == {"north", "south"}
    assert sorted(points.settings) == ["machine north", "machine south"], "what labels say of them"
    assert list(alone.meta.index) == [points.meta.index[list(points.meta["machine"]).index("north")]], "its id stays"
    assert list(alone.settings) == [""], "one machine is not worth a word"


def test_every_frame_has_the_same_points(store: Store) -> None:
    measured_on(store, NORTH, 1.0)
    measured_on(store, SOUTH, 3.0)
    runs = store.run_frame()
    ids = dict(zip(runs["run_id"], runs["configuration_id"], strict=True))
    assert len(set(ids.values())) == 2
    assert store.points_of([*ids, "gone"]) == ids
    figures, answers = store.figure_frame(), store.answer_frame()
    scores = store.score_frame("s", "accuracy", list(ids))
    again = store.figure_frame(among=runs)
    for frame in (figures, answers, scores, again):
        assert dict(zip(frame["run_id"], frame["configuration_id"], strict=True)) == ids


def test_a_driver_makes_another_machine_and_a_package_does_not(store: Store) -> None:
    measured_on(store, HOST, 1.0)
    measured_on(store, HOST.model_copy(update={"packages": {"a": "2"}, "python": "3.99"}), 2.0)
    points = configuration_points(store.figure_frame(), store.run_frame(), {}, [KEY])
    assert list(points.runs[KEY]) == [2]
    measured_on(store, HOST.model_copy(update={"gpu_driver": "550"}), 3.0)
    points = configuration_points(store.figure_frame(), store.run_frame(), {}, [KEY])
    assert sorted(points.runs[KEY]) == [1, 2]
    assert len(set(points.meta["machine"])) == 2, "they are not called alike"


def test_two_versions_of_an_engine_are_two_points(store: Store) -> None:
    measured_on(store, HOST, 1.0, 1.0)
    (before,) = set(store.run_frame()["configuration_id"])
    measured_on(store, HOST, 3.0, version="llama-cpp-python 2")
    measured_on(store, SOUTH, 5.0, version="llama-cpp-python 1")
    measured_on(store, SOUTH, 7.0, version="llama-cpp-python 2")
    points = configuration_points(store.figure_frame(), store.run_frame(), {}, [KEY])
    assert sorted(points.value[KEY]) == [1.0, 3.0, 5.0, 7.0], "none is averaged with another"
    assert points.value[KEY][before] == 1.0, "its id stays"
    of = dict(zip(points.settings, points.value[KEY], strict=True))
    assert of["llama-cpp-python 2, machine south"] == 7.0
    assert set(points.meta["engine_version"]) == {"", "llama-cpp-python 1", "llama-cpp-python 2"}
    ids = set(points.meta.index)
    measured_on(store, SOUTH, 9.0, version="llama-cpp-python 3")
    assert set(store.run_frame()["configuration_id"]) > ids, "nor do the others'"


def test_a_version_that_was_not_known_beforehand_is_the_one_that_measured(store: Store) -> None:
    configuration = Configuration(artifact_id="a" * 64, engine="vllm")
    for value, told in ((1.0, "0.30"), (2.0, "0.31")):
        spec = RunSpec(configuration=configuration, repeat=len(store.runs()))
        store.add_study(StudySpec(name="s", configurations=(configuration,)), [spec])
        run = claim(store)
        store.start_run(run.id, HOST)
        store.set_engine_info(run.id, {"version": told})
        store.set_measurements(run.id, [measurement(KEY, value)])
        store.finish_run(run.id, RunState.DONE)
        assert store.run(run.id).engine_version == told
    frame = store.run_frame()
    assert list(frame["engine_version"]) == ["0.30", "0.31"]
    assert frame["configuration_id"].nunique() == 2


def test_what_was_planned_with_a_version_keeps_its_name(store: Store) -> None:
    measured_on(store, HOST, 1.0, version="llama-cpp-python 1", info={"version": "1"})
    assert list(store.run_frame()["engine_version"]) == ["llama-cpp-python 1"]


def test_a_run_that_never_began_takes_nobodys_id(store: Store) -> None:
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp")
    store.add_study(StudySpec(name="s", configurations=(configuration,)), [RunSpec(configuration=configuration)])
    store.request_cancel(store.runs()[0].id)
    measured_on(store, NORTH, 1.0, version="2")
    measured_on(store, SOUTH, 1.0, version="2")
    assert configuration.id in set(store.figure_frame()["configuration_id"])


def test_a_study_out_of_a_file_keeps_its_machines(store: Store, tmp_path: Path) -> None:
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp")
    specs = [RunSpec(configuration=configuration, repeat=repeat) for repeat in range(2)]
    study = store.add_study(StudySpec(name="s", configurations=(configuration,)), specs)
    for host, value in ((NORTH, 1.0), (SOUTH, 3.0)):
        run = claim(store)
        store.start_run(run.id, host)
        store.set_measurements(run.id, [measurement(KEY, value)])
        store.finish_run(run.id, RunState.DONE)
    runs = store.archived_runs(study.id)
    ids = store.points_of([run.id for run in runs])
    assert len(set(ids.values())) == 2
    with open_store(url_of(tmp_path / "other")) as other:
        measured_on(other, SOUTH, 5.0)  # what was measured there does not rename what came in the file
        other.add_archived(store.study(study.id), [], [store.whole_run(run) for run in runs], [])
        assert other.points_of(list(ids)) == ids
        points = configuration_points(other.figure_frame(study_id=study.id), other.run_frame(study.id), {}, [KEY])
        assert dict(zip(points.meta["machine"], points.value[KEY], strict=True)) == {"north": 1.0, "south": 3.0}


def test_what_ended_first_keeps_the_configurations_id(store: Store) -> None:
    """And not what was queued first: else an id would change when that ends."""
    _, ids = add(store, run_specs(2))
    slow, quick = claim_both(store)
    store.start_run(slow.id, NORTH)
    store.start_run(quick.id, SOUTH)
    store.finish_run(quick.id, RunState.DONE)
    before = store.points_of(ids)[quick.id]
    store.finish_run(slow.id, RunState.DONE)
    points = store.points_of(ids)
    assert points[quick.id] == before == quick.spec.configuration.id
    assert points[slow.id] != before


def claim_both(store: Store) -> tuple[RunRecord, RunRecord]:
    first, second = store.claim_next("a", machine="north"), store.claim_next("b", machine="south")
    assert first is not None
    assert second is not None
    return first, second


def test_each_device_of_a_shared_database_has_machines_of_its_own(store: Store) -> None:
    store.see_machines([Machine(name="north")], "rack-7")
    store.see_machines([Machine(name="north"), Machine(name="south")], "rack-8")
    store.see_machines([], "rack-7")
    assert [(one.name, one.alive) for one in store.machines("rack-7")] == [("north", False)]
    assert store.machines() == []
    store.forget_machine("north", "rack-7")
    assert [(one.name, one.alive) for one in store.machines("rack-8")] == [("north", True), ("south", True)]


def test_a_machine_can_be_taken_off_the_list(store: Store) -> None:
    there(store, "north")
    store.forget_machine("north")
    with pytest.raises(NotFoundError):
        store.forget_machine("north")
    assert store.machines() == []


def test_repeats_go_where_the_first_was_and_not_where_the_alphabet_begins(store: Store) -> None:
    there(store, "north", "south")
    add(store, run_specs(3))
    first = store.claim_next("a", machine="south")
    assert first is not None
    store.start_run(first.id, HOST)
    second = store.claim_next("b", machine="north")
    assert second is not None
    assert store.waiting_needs() == [Needs(machine="south")]
    store.start_run(second.id, HOST)
    assert store.waiting_needs() == [Needs(machine="south")]


def test_what_an_engine_is_lacking_for_somewhere_asks_for_that_engine(store: Store) -> None:
    vllm = Configuration(artifact_id="a" * 64, engine="vllm")
    specs = [RunSpec(configuration=vllm, engine_version=version) for version in ("", "1")]
    _, ids = add(store, [*specs, *run_specs(1)])
    edge = Machine(name="edge", lacks={"vllm (1)": "It has version 2."})
    store.see_machines([edge, Machine(name="big")])
    asks = EngineNeeds(engine="vllm (1)")
    assert store.waiting_needs() == [ANYWHERE, asks]
    assert asks.label == "vllm (1)"
    assert (edge.takes(ANYWHERE), edge.takes(asks), Machine(name="big").takes(asks)) == (True, False, True)
    claimed = store.claim_next("a", needs=asks, machine="big")
    assert claimed is not None
    assert claimed.id == ids[1]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_run_that_measured_nothing_makes_up_no_machine(store: Store, state: RunState) -> None:
    """Its host is what the machine said in greeting, without its GPUs."""
    _, ids = add(store, run_specs(2))
    vain, measured = claim_both(store)
    store.start_run(vain.id, SOUTH)
    store.finish_run(vain.id, state)
    store.start_run(measured.id, SOUTH.model_copy(update={"gpus": ("A100",)}))
    store.finish_run(measured.id, RunState.DONE)
    assert store.points_of(ids)[measured.id] == measured.spec.configuration.id
    machines = dict(zip(store.run_frame()["run_id"], store.run_frame()["machine"], strict=True))
    assert machines == {vain.id: None, measured.id: "south"}
