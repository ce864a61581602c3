"""The Queue page: empty, at work, waiting for a worker, and after failures."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import psutil
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts.live import LiveTrace
from pages.parts.worker import SINCE
from tests.archive.made import measured
from trilemma.archive.read import import_file
from trilemma.archive.write import export_bytes
from trilemma.needs import ANYWHERE, Needs
from trilemma.records import Machine, RunRecord, Sample
from trilemma.schema import Artifact, Configuration, Phase, RunSpec, RunState, StudySpec, WorkloadSpec
from trilemma.store import Store, open_store

WORKLOAD = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=10)


@pytest.fixture
def app(home: Path) -> AppTest:
    st.cache_resource.clear()

    def script() -> None:
        from pages import queue, shared

        with shared.errors_shown():
            queue.page()

    return AppTest.from_function(script, default_timeout=60)


def add_study(
    store: Store, repeats: int = 3, name: str = "Chat", model: str = "Smol ![x](http://evil.example)",
    needs: Needs = ANYWHERE,
) -> str:  # fmt: skip
    artifact = Artifact(
        id="a" * 64, path="/models/a.gguf", model=model, quantization="Q8_0", size_bytes=10**8, source="folder"
    )
    store.add_artifact(artifact)
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"threads": 2})
    spec = StudySpec(name=name, configurations=(configuration,), workloads=(WORKLOAD,), repeats=repeats)
    runs = [RunSpec(configuration=configuration, workloads=(WORKLOAD,), repeat=n, needs=needs) for n in range(repeats)]
    return store.add_study(spec, runs).id


def begin(store: Store) -> RunRecord:
    """Take the next run, as a worker would that is this very process."""
    me = psutil.Process()
    run = store.claim_next("test:1:1")
    assert run is not None
    store.set_owner(run.id, "test:1:1", os.getpid(), me.create_time())
    return store.run(run.id)


def shown(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.error, app.title)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_an_empty_queue_leads_to_a_new_study(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert "Nothing has been asked for yet" in shown(app)
    assert [button.label for button in app.button] == ["Start a study"]


def test_runs_that_wait_for_nobody_say_which_command_helps(app: AppTest, store: Store) -> None:
    add_study(store)
    app.run()
    assert not app.warning
    app.session_state[SINCE] = time.monotonic() - 60
    app.run()
    assert not app.exception
    assert "no worker is alive" in app.warning[0].value
    assert app.code[0].value == "trilemma worker"


def test_a_study_is_deleted_once_nothing_of_it_is_measured(app: AppTest, store: Store) -> None:
    study, other = add_study(store, name="Gone *soon*"), add_study(store, 1, name="Kept")
    app.query_params["study"] = study
    begin(store)
    app.run()
    assert "One of its runs is being measured" in shown(app), "of which the other study has a part"
    assert "Delete it" not in [button.label for button in app.button]
    store.finish_run(store.runs(states=[RunState.RUNNING])[0].id, RunState.CANCELLED)
    app.run()
    assert "Deletes Gone \\*soon\\* and everything that its 2 runs recorded" in shown(app)
    assert "1 more, which another study has too, stays" in shown(app)
    next(button for button in app.button if button.label == "Delete it").click().run()
    assert not app.exception
    assert [one.id for one in store.studies()] == [other]
    assert "study" not in app.query_params
    (picker,) = [box for box in app.selectbox if box.label == "Study"]
    assert picker.value == ""
    assert len(store.runs()) == 1


def test_runs_that_wait_for_a_cluster_say_so_and_not_that_a_worker_is_missing(app: AppTest, store: Store) -> None:
    add_study(store, 1, needs=Needs(machine="edge"))
    app.session_state[SINCE] = time.monotonic() - 60
    app.run()
    assert ["only a cluster has: machine edge" in warning.value for warning in app.warning] == [True]


def test_a_run_that_a_machine_did_not_take_says_why_it_waits(app: AppTest, store: Store) -> None:
    add_study(store, 1)
    store.release(begin(store).id, "edge does not take it: its *disk* is full.")
    app.run()
    assert not app.exception
    assert r"its \*disk\* is full" in shown(app)


def test_runs_that_wait_for_what_no_machine_offers_are_named(app: AppTest, store: Store) -> None:
    add_study(store, 1, needs=Needs(gpus=1, gpu_type="A100X"))
    store.see_machines([Machine(name="big", gpus=1, gpu_type="A100")])
    app.run()
    assert any("no machine offers: 1 A100X GPU." in warning.value for warning in app.warning)
    store.see_machines([Machine(name="big", gpus=1, gpu_type="A100X")])
    app.run()
    assert not any("no machine offers" in warning.value for warning in app.warning)


def test_a_run_at_work_shows_its_phase_progress_and_use(app: AppTest, store: Store) -> None:
    add_study(store)
    run = begin(store)
    samples = [
        Sample(time_ns=n * 10**8, phase=Phase.SPEED, values={"rss_bytes": 2.0**30, "energy_j.modelled": 2.0 * n})
        for n in range(50)
    ]
    store.write_batch(run.id, samples=samples, progress=(0.4, "request 4 of 10", Phase.SPEED, 90.0))
    app.run()
    assert not app.exception
    assert not app.warning
    assert [(metric.label, metric.value) for metric in app.metric] == [
        ("Memory held", "1.00 GiB"),
        ("Power, modelled", "20.0 W"),
    ]
    assert "**:material/radio_button_checked: Speed**" in shown(app)
    assert "Questions" not in shown(app), "this study asks none"
    assert "![x](http" not in shown(app), "a model's name is no Markdown"


def test_cancel_waiting_retry_and_pause(app: AppTest, store: Store) -> None:
    study = add_study(store)
    begin(store)
    waiting = store.runs(study, [RunState.WAITING])
    app.run()
    app.button(key=f"cancel_{waiting[0].id}").click().run()
    assert store.run(waiting[0].id).state is RunState.CANCELLED
    next(b for b in app.button if b.label == "Pause the queue").click().run()
    assert store.queue_paused()
    next(b for b in app.button if b.label == "Resume the queue").click().run()
    assert not store.queue_paused()
    app.segmented_control(key="show").set_value("Failed").run()
    app.button(key=f"retry_{waiting[0].id}").click().run()
    assert not app.exception
    assert store.run(waiting[0].id).state is RunState.WAITING


def test_the_running_run_can_be_cancelled(app: AppTest, store: Store) -> None:
    add_study(store)
    run = begin(store)
    app.run()
    app.button(key=f"stop_{run.id}").click().run()
    assert store.cancel_requested(run.id)
    assert "Being cancelled" in shown(app)


def test_a_failed_run_says_why(app: AppTest, store: Store) -> None:
    add_study(store, repeats=1)
    run = begin(store)
    store.finish_run(run.id, RunState.FAILED, reason="Out of memory. <b>Choose</b> a smaller context.")
    app.run()
    assert not app.exception
    assert "Out of memory" in shown(app)
    assert "<b>" not in shown(app)


def test_a_study_is_chosen_by_the_url_and_cancelled_whole(app: AppTest, store: Store) -> None:
    add_study(store, repeats=2)
    second = add_study(store, repeats=4, name="Other", model="Other")
    app.query_params["study"] = second
    app.run()
    assert app.selectbox[0].value == second
    next(b for b in app.button if b.label == "Cancel what is left").click().run()
    assert not app.exception
    assert {run.state for run in store.runs(second)} == {RunState.CANCELLED}


def test_long_lists_come_in_pages(app: AppTest, store: Store) -> None:
    add_study(store, repeats=40)
    app.run()
    assert sum(button.label == "Cancel" for button in app.button) == 15
    app.number_input(key="page").set_value(3).run()
    assert not app.exception
    assert sum(button.label == "Cancel" for button in app.button) == 10


def test_live_power_leaves_out_a_counter_that_begins_anew() -> None:
    trace = LiveTrace("run", 1)
    joules = [0.0, 10.0, 20.0, 0.0, 5.0]
    values = [{"energy_j.rapl.package-0": counter} for counter in joules]
    trace.feed([Sample(time_ns=n * 10**9, phase=Phase.IDLE, values=value) for n, value in enumerate(values)])
    assert trace.power_w() == [10.0, 10.0, 5.0]
    assert not trace.modelled


def test_live_figures_of_several_gpus_are_sums_that_lack_none() -> None:
    trace = LiveTrace("run", 1)
    values = [{"energy_j.nvml.0": 300.0 * n, "energy_j.nvml.1": 200.0 * n, "energy_j.modelled": 1.0} for n in range(4)]
    del values[2]["energy_j.nvml.1"]  # it did not answer
    for n, value in enumerate(values):
        value |= {"gpu_memory_bytes.0": 4e10, "gpu_memory_bytes.1": 1e10 * n}
    trace.feed([Sample(time_ns=n * 10**9, phase=Phase.SPEED, values=value) for n, value in enumerate(values)])
    assert trace.power_w() == [500.0, 500.0]
    assert trace.gpu_memory_bytes() == [4e10, 5e10, 6e10, 7e10]
    cpu = LiveTrace("run", 1)
    cpu.feed([Sample(time_ns=0, phase=Phase.SPEED, values={"gpu_memory_bytes.0": 0.0})])
    assert cpu.gpu_memory_bytes() == []


def test_live_traces_keep_two_minutes() -> None:
    trace = LiveTrace("run", 1)
    trace.feed([Sample(time_ns=n * 10**9, phase=Phase.IDLE, values={"rss_bytes": float(n)}) for n in range(500)])
    assert trace.memory_bytes()[-1] == 499
    assert len(trace.memory_bytes()) == 121


def test_what_failed_elsewhere_has_no_button_to_measure_it_again(app: AppTest, store: Store, tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'elsewhere.db'}") as elsewhere:
        file = export_bytes(elsewhere, measured(elsewhere))
    app.query_params["study"] = import_file(store, io.BytesIO(file)).study.id
    app.query_params["show"] = "Failed"
    app.run()
    assert not app.exception
    assert "<b>bad</b>" in shown(app).replace("\\", "")
    assert not [button for button in app.button if str(button.key).startswith("retry_")]
