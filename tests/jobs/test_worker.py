"""The worker with real processes; its runs are the stand-in's."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from campaign import start_worker, strays
from support import add_runs, check_records, command, lines

from tests.factory import artifact
from trilemma.catalog.catalog import Catalog
from trilemma.errors import DiskFullError, NotFoundError, StoreError
from trilemma.jobs import Worker, log_path, log_tail
from trilemma.jobs.base import Identity
from trilemma.jobs.local import LocalExecutor
from trilemma.jobs.processes import OomWatch, alive, explain, identity
from trilemma.lifetimes import is_zombie
from trilemma.schema import Configuration, Needs, RunSpec, RunState, StudySpec
from trilemma.settings import Settings
from trilemma.store import Store


def worker(store: Store, settings: Settings, *options: str, **more: object) -> Worker:
    def run(run_id: str) -> list[str]:
        return [part.format(run=run_id, pid=os.getpid()) for part in command(*options)]

    return Worker(store, settings, **{"command": run, "poll_s": 0.02, **more})  # type: ignore[arg-type]


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def is_free(executor: LocalExecutor, device: str) -> bool:
    reservation = executor.reserve(device)
    if reservation is not None:
        reservation.release()
    return reservation is not None


def in_background(work: Worker, **options: bool) -> tuple[threading.Thread, threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=work.run, args=(stop,), kwargs=options)
    thread.start()
    return thread, stop


def test_drained_is_a_queue_in_which_all_that_is_left_needs_a_cluster(
    store: Store, settings: Settings, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_runs(store, 1)
    (left,) = add_runs(store, 1, name="elsewhere", needs=Needs(machine="other"))
    assert worker(store, settings).run(drain=True) == 1
    assert store.run(left).state is RunState.WAITING
    assert "need what only a cluster has: machine other" in caplog.text


def test_it_drains_the_queue_in_order(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 3)
    assert worker(store, settings).run(drain=True) == 3
    assert [run.state for run in store.runs()] == [RunState.DONE] * 3
    assert lines(home / "started") == ids
    check_records(store, store.runs())
    assert "working on" in log_tail(settings, ids[0])
    assert strays(home) == []


def test_once_is_one_run(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 2)
    assert worker(store, settings).run(once=True) == 1
    assert [store.run(i).state for i in ids] == [RunState.DONE, RunState.WAITING]
    store.request_cancel(ids[1])
    assert worker(store, settings).run(once=True) == 0


def test_a_disturbed_run_is_measured_once_more_and_not_again(store: Store, settings: Settings) -> None:
    wanted = add_runs(store, 1, name="wanted")
    unwanted = add_runs(store, 1, name="unwanted", rerun_disturbed=False)
    assert worker(store, settings, "--disturbed").run(drain=True) == 3
    reruns = [run for run in store.runs() if run.rerun_of]
    assert [run.rerun_of for run in reruns] == wanted
    assert all(run.state is RunState.DONE and run.disturbed for run in store.runs())
    assert store.run(unwanted[0]).rerun_of is None


def test_a_run_that_dies_without_a_word_is_failed_with_the_reason(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 1)
    worker(store, settings, "--exit", "5").run(drain=True)
    failed = store.run(ids[0])
    assert failed.state is RunState.FAILED
    assert "code 5" in failed.reason
    assert "working on" in failed.log_tail
    assert len(store.samples(ids[0])) == 7, "what was measured until then is kept"


@pytest.mark.parametrize(("number", "says"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "crashed (SIGSEGV)")])
def test_a_killed_run_says_which_signal(
    store: Store, settings: Settings, home: Path, number: signal.Signals, says: str
) -> None:
    ids = add_runs(store, 1)
    thread, _ = in_background(worker(store, settings, "--step-s", "5"), drain=True)
    until(lambda: store.run(ids[0]).progress == 0 and store.run(ids[0]).note and store.process(ids[0]))
    process = store.process(ids[0])
    assert process is not None
    os.kill(process[1], number)
    thread.join(20)
    assert says in store.run(ids[0]).reason
    assert store.run(ids[0]).state is RunState.FAILED
    assert strays(home) == [], "its child was ended with it"


def test_a_program_that_is_not_there_fails_its_run_alone(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 1)
    worker(store, settings, command=lambda _: ["/nonexistent/program"]).run(drain=True)
    assert store.run(ids[0]).state is RunState.FAILED
    assert "could not be started" in store.run(ids[0]).reason


def test_cancelling_ends_the_whole_group(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 2)
    thread, _ = in_background(worker(store, settings, "--step-s", "0.3"), drain=True)
    until(lambda: store.run(ids[0]).note == "working")
    assert len(strays(home)) == 2, "the run and its child"
    store.request_cancel(ids[0])
    thread.join(30)
    assert [store.run(i).state for i in ids] == [RunState.CANCELLED, RunState.DONE]
    assert strays(home) == []


def test_a_run_that_ignores_sigterm_is_killed_after_the_grace(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 1)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    work = worker(store, settings, command=lambda _: [sys.executable, "-c", deaf], grace_s=0.3)
    thread, _ = in_background(work, drain=True)
    until(lambda: "deaf" in log_tail(settings, ids[0]))
    store.request_cancel(ids[0])
    thread.join(10)
    assert store.run(ids[0]).state is RunState.CANCELLED


def test_a_pause_takes_effect_between_runs(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 2)
    thread, stop = in_background(worker(store, settings, "--step-s", "0.05"))
    until(lambda: store.run(ids[0]).state is RunState.RUNNING)
    store.pause_queue()
    until(lambda: store.run(ids[0]).state is RunState.DONE)
    time.sleep(0.3)
    assert store.run(ids[1]).state is RunState.WAITING
    store.resume_queue()
    until(lambda: store.run(ids[1]).state is RunState.DONE)
    stop.set()
    thread.join(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_end_puts_its_run_back(store: Store, home: Path, number: signal.Signals) -> None:
    ids = add_runs(store, 1)
    process = start_worker(home, command("--step-s", "0.5"))
    until(lambda: store.run(ids[0]).note == "working")
    process.send_signal(number)
    assert process.wait(20) == 0, (home / "worker.log").read_text()
    run = store.run(ids[0])
    assert (run.state, run.progress, store.interruptions(run.id)) == (RunState.WAITING, 0.0, 0)
    assert store.samples(run.id) == []
    assert strays(home) == []


def test_a_killed_workers_run_starts_over_and_at_last_is_given_up(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 1)
    for _ in range(2):
        process = start_worker(home, command("--orphan", "--step-s", "5"))
        until(lambda: store.run(ids[0]).note == "working")
        process.kill()
        process.wait()
        assert len(strays(home)) == 2, "the orphan works on"
        worker(store, settings, max_interruptions=2).recover()
        assert strays(home) == []
    run = store.run(ids[0])
    assert run.state is RunState.FAILED
    assert "interrupted 2 times" in run.reason
    store.retry(ids[0])
    assert store.interruptions(ids[0]) == 0


def test_a_run_cancelled_while_its_worker_was_dead_is_cancelled(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 1)
    process = start_worker(home, command("--step-s", "5"))
    until(lambda: store.run(ids[0]).note == "working")
    process.kill()
    process.wait()
    store.request_cancel(ids[0])
    worker(store, settings).recover()
    assert store.run(ids[0]).state is RunState.CANCELLED


def test_a_process_lives_until_its_last_thread_has_ended() -> None:
    """Its first thread is a zombie by then, and the others still hold the device's lock."""
    exit_thread = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    program = (
        "import ctypes, sys, threading; threading.Thread(target=sys.stdin.read).start(); "
        f"ctypes.CDLL(None).syscall({exit_thread}, 0)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        until(lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert alive(identity(child.pid))
        assert not is_zombie(process)
        child.kill()
        until(lambda: is_zombie(process))
        assert not alive(identity(child.pid))


def test_two_workers_never_run_two_at_once(store: Store, home: Path) -> None:
    ids = add_runs(store, 6)
    workers = [start_worker(home, command(), "--drain") for _ in range(2)]
    assert [process.wait(60) for process in workers] == [0, 0], (home / "worker.log").read_text()
    assert [run.state for run in store.runs()] == [RunState.DONE] * 6
    assert sorted(lines(home / "started")) == sorted(ids)
    assert not (home / "overlaps").exists()


def test_a_living_workers_run_is_left_alone(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 1)
    process = start_worker(home, command("--step-s", "0.1"), "--drain")
    until(lambda: store.run(ids[0]).note == "working")
    worker(store, settings).recover()
    assert store.run(ids[0]).state is RunState.RUNNING
    assert process.wait(30) == 0
    assert (store.run(ids[0]).state, store.run(ids[0]).attempt) == (RunState.DONE, 1)


def test_a_machine_that_has_another_name_now_mends_what_it_left(
    store: Store, settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container that is begun anew: its worker's name is not ours, and its processes are gone."""
    ids = add_runs(store, 1)
    process = start_worker(home, command("--orphan", "--step-s", "5"))
    until(lambda: store.run(ids[0]).note == "working")
    process.kill()
    process.wait()
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    worker(store, settings).recover()
    assert store.run(ids[0]).state is RunState.RUNNING, "what it started still holds the device"
    assert strays(home)
    for stray in strays(home):
        os.kill(int(stray.split()[0]), signal.SIGKILL)
    device = store.run(ids[0]).spec.device
    # The kernel takes a process's memory, by which strays are known, before its files, which hold the device.
    until(lambda: is_free(LocalExecutor(settings), device))
    assert strays(home) == []
    with monkeypatch.context() as shared:
        shared.setattr(Settings, "shares_database", property(lambda _: True))
        worker(store, settings).recover()
        assert store.run(ids[0]).state is RunState.RUNNING, "it may be another machine's"
    worker(store, settings).recover()
    expected = RunState.RUNNING if settings.shares_database else RunState.WAITING
    assert store.run(ids[0]).state is expected


def sleep(run_id: str) -> list[str]:
    return ["sleep", "60"]


def test_a_device_stays_taken_while_what_was_started_on_it_lives(store: Store, settings: Settings) -> None:
    executor = LocalExecutor(settings)
    first = executor.reserve("gpu/0")
    assert first is not None
    assert executor.reserve("gpu/0") is None
    other = executor.reserve("gpu/1")
    assert other is not None
    other.release()
    handle = first.start(store.run(add_runs(store, 1)[0]), store, "w", sleep, settings.logs_dir / "x.log")
    first.release()
    assert executor.reserve("gpu/0") is None, "the child holds it"
    handle.stop(0)
    again = executor.reserve("gpu/0")
    assert again is not None
    again.release()
    assert {path.parent for path in settings.home.glob("**/device-*.lock")} == {settings.home}


def test_clear_ends_only_what_that_worker_started(store: Store, settings: Settings) -> None:
    executor = LocalExecutor(settings)
    run = store.run(add_runs(store, 1)[0])
    handles = []
    for worker_id in ("dead", "living"):
        reservation = executor.reserve(worker_id)
        assert reservation is not None
        handles.append(reservation.start(run, store, worker_id, sleep, settings.logs_dir / "x.log"))
        reservation.release()
    assert executor.clear(run.id, "dead", None)
    until(lambda: handles[0].poll() is not None)
    assert handles[1].poll() is None
    handles[1].stop(0)


def test_a_pids_next_owner_is_not_taken_for_the_first() -> None:
    me = identity(os.getpid())
    assert alive(me)
    assert not alive(Identity(me.pid, me.created - 60))
    with subprocess.Popen(["true"]) as child:
        gone = identity(child.pid)
        until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        assert not alive(gone), "a zombie does not run"
    assert not alive(gone)
    with pytest.raises(ProcessLookupError):
        identity(2**22 + 1)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (0, "without recording"),
        (3, "code 3"),
        (-9, "SIGKILL"),
        (-11, "SIGSEGV"),
        (-4, "SIGILL"),
        (-99, "signal 99"),
    ],
)  # fmt: skip
def test_every_ending_is_explained(code: int, says: str) -> None:
    ending = explain(code, OomWatch())
    assert ending.code == code
    assert says in ending.explanation
    assert "etry" in ending.explanation, "it says what to do"


def test_a_run_that_a_full_disk_ended_starts_over(store: Store, settings: Settings) -> None:
    assert explain(74, OomWatch()).lost
    ids = add_runs(store, 2)
    assert worker(store, settings, "--exit", "74").run(once=True) == 1
    assert store.run(ids[0]).state is RunState.WAITING
    assert "a disk is full" in store.run(ids[0]).reason
    worker(store, settings, "--exit", "74", max_interruptions=2).run(once=True)
    run = store.run(ids[0])
    assert run.state is RunState.FAILED
    assert "interrupted 2 times, at last so: The run's process ended because a disk is full" in run.reason


def test_runs_wait_while_the_disk_is_full(
    store: Store, settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be begun, and fail."""
    ids = add_runs(store, 2)
    monkeypatch.setattr("trilemma.jobs.processes.ROOM_BYTES", 2**60)
    with pytest.raises(DiskFullError, match="is full; runs wait"):
        worker(store, settings).run(drain=True)
    assert [store.run(i).state for i in ids] == [RunState.WAITING] * 2
    monkeypatch.undo()
    assert worker(store, settings).run(drain=True) == 2


def test_a_kill_for_want_of_memory_is_told_from_others(tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom 3\noom_kill 3\n")
    watch = OomWatch({"the control group": counter, "absent": tmp_path / "absent"})
    assert "out of memory" not in explain(-9, watch).explanation
    counter.write_text("oom 4\noom_kill 4\n")
    assert "the control group counts 1 out-of-memory kill meanwhile" in explain(-9, watch).explanation
    assert "out of memory" not in explain(-11, watch).explanation, "a crash is a crash"


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "a/b", "", "a.b"])
def test_no_log_leaves_its_folder(settings: Settings, run_id: str) -> None:
    with pytest.raises(NotFoundError):
        log_path(settings, run_id)


def test_a_data_folder_that_cannot_hold_a_lock(settings: Settings) -> None:
    executor = LocalExecutor(settings)
    (settings.home / "device-x.lock").mkdir()
    with pytest.raises(StoreError, match=r"device-x\.lock"):
        executor.reserve("x")


def test_an_outsiders_lock_keeps_the_worker_waiting(store: Store, settings: Settings, home: Path) -> None:
    ids = add_runs(store, 1)
    with (home / "device-local.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert worker(store, settings).run(once=True) == 0
    assert store.run(ids[0]).state is RunState.WAITING
    assert worker(store, settings).run(once=True) == 1


def test_a_run_that_asks_for_another_machine_waits(store: Store, settings: Settings) -> None:
    elsewhere = add_runs(store, 1, name="elsewhere", needs=Needs(machine="other"))
    here = add_runs(store, 1, name="here")
    assert worker(store, settings).run(once=True) == 1
    assert [store.run(i).state for i in elsewhere + here] == [RunState.WAITING, RunState.DONE]
    assert worker(store, settings).run(once=True) == 0
    named = settings.model_copy(update={"machine": "other"})
    assert worker(store, named).run(once=True) == 1
    assert store.run(elsewhere[0]).state is RunState.DONE


def test_a_run_that_has_gone_to_another_worker_is_not_released(store: Store, settings: Settings) -> None:
    """Two workers may find the same orphan; by the time the second is done with it, it may run again."""
    ids = add_runs(store, 1)
    store.claim_next("dead")
    store.release(ids[0], owner="dead")
    again = store.claim_next("living")
    assert again is not None
    store.release(ids[0], interrupted=True, owner="dead")
    assert store.finish_run(ids[0], RunState.FAILED, owner="dead") is False
    assert (store.run(ids[0]).state, store.run(ids[0]).attempt) == (RunState.RUNNING, 2)
    assert store.interruptions(ids[0]) == 0


def test_weights_that_were_replaced_are_not_measured_under_the_old_name(
    store: Store, settings: Settings, smollm2_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF of somebody else")
    replaced = store.add_artifact(artifact("Replaced", "Q8_0").model_copy(update={"path": str(file)}))
    same = Catalog(store, settings).add_path(smollm2_path)
    for one in (replaced, same):
        configuration = Configuration(artifact_id=one.id, engine="none")
        store.add_study(StudySpec(name=one.id, configurations=(configuration,)), [RunSpec(configuration=configuration)])
    worker(store, settings).run(drain=True)
    runs = {run.spec.configuration.artifact_id: run for run in store.runs()}
    assert runs[replaced.id].state is RunState.FAILED
    assert "no longer what was added as Replaced Q8_0" in runs[replaced.id].reason
    assert runs[same.id].state is RunState.DONE
