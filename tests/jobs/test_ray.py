"""A real Ray cluster of three nodes on this machine, joined with the documented command; runs are the stand-in's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from cluster import Cluster, until
from support import check_records, command, lines

from tests.catalog.gguf_files import tiny
from trilemma.catalog.base import Fetched
from trilemma.catalog.files import HashCache
from trilemma.catalog.weights import describe, digest, read_weights
from trilemma.records import RunRecord
from trilemma.schema import Configuration, Needs, RunSpec, RunState, StudySpec
from trilemma.store import Store, open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'trilemma[ray]'"),
]

NAMES = ("north", "south", "west")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "head" / "weights").mkdir(parents=True)
    made = Cluster(folder)
    try:
        made.start(NAMES[0], head=True)
        for name in NAMES[1:]:
            made.start(name)
        yield made
    finally:
        made.end()


@pytest.fixture
def store(cluster: Cluster) -> Iterator[Store]:
    with open_store(cluster.store_url) as opened:
        yield opened


def add_study(
    store: Store, cluster: Cluster, name: str, count: int, repeats: int = 1, needs: str = "", version: str = ""
) -> list[str]:
    """``count`` configurations of weights that are on the worker's machine alone."""
    home = cluster.folder / "head"
    path = home / "weights" / f"{name}.gguf"
    path.write_bytes(tiny(name=name))
    header = read_weights(path)
    weights = describe(Fetched(path, "folder"), header, digest(path, header, HashCache(home)), None, [])
    weights = store.add_artifact(weights.model_copy(update={"path": f"weights/{name}.gguf"}))
    configurations = [
        Configuration(artifact_id=weights.id, engine="llama.cpp", settings={"number": number})
        for number in range(count)
    ]
    spec = StudySpec(name=name, configurations=tuple(configurations), repeats=repeats)
    runs = [
        RunSpec(configuration=one, repeat=repeat, needs=Needs(machine=needs), engine_version=version)
        for repeat in range(repeats)
        for one in configurations
    ]
    return [run.id for run in store.runs(store.add_study(spec, runs).id)]


def measured_on(run: RunRecord) -> str:
    assert run.host is not None
    assert run.host.name == run.machine, "where it was given to is where it was measured"
    return run.machine


def processes_of_runs() -> list[str]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "STAND_IN_NOTES" in process.environ() and "TRILEMMA_RUN_ID" in process.environ():
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def test_twelve_runs_outlive_the_loss_of_a_node(cluster: Cluster, store: Store) -> None:
    ids = add_study(store, cluster, "study", 6, repeats=2)
    worker = cluster.worker("--drain", "--", *command("--step-s", "0.15"))
    at_once = 0
    lost: RunRecord | None = None
    deadline = time.monotonic() + 400
    try:
        while worker.poll() is None:
            assert time.monotonic() < deadline, cluster.logs()
            running = store.runs(states=[RunState.RUNNING])
            places = [run.machine for run in running]
            assert len(set(places)) == len(places), "a machine measures one run at a time"
            at_once = max(at_once, len(places))
            victims = [run for run in running if run.machine == "west" and run.progress > 0.2]
            if lost is None and at_once == 3 and victims:
                lost = victims[0]
                assert store.samples(lost.id), "what it samples is seen here while it runs"
                cluster.nodes["west"].kill()
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0, cluster.logs()
    assert at_once == 3, f"runs on different machines do not wait for one another\n{cluster.logs()}"
    assert lost is not None, cluster.logs()

    runs = [store.run(run_id) for run_id in ids]
    assert [run.state for run in runs] == [RunState.DONE] * 12, [(run.id, run.state, run.reason) for run in runs]
    check_records(store, runs)
    again = [run.id for run in runs if run.attempt > 1]
    assert again == [lost.id]
    assert store.run(lost.id).attempt == 2
    assert store.interruptions(lost.id) == 1
    assert measured_on(store.run(lost.id)) != "west"
    finished = Counter(line for node in cluster.nodes.values() for line in lines(node.notes / "finished"))
    assert finished == Counter(ids), "none was measured to its end twice"
    assert not any((node.notes / "overlaps").exists() for node in cluster.nodes.values())
    surroundings = {line for node in cluster.nodes.values() for line in lines(node.notes / "surroundings")}
    assert surroundings == {f"nice={os.nice(0)},threads=,token="}, "what Ray does to its workers does not reach the run"

    for settings in range(6):
        places = {measured_on(run) for run in runs if run.spec.configuration.settings["number"] == settings}
        assert len(places - {"west"}) <= 1, "repeats stay on a machine as long as it is there"
    for name in {measured_on(run) for run in runs}:
        for run in runs[:1]:
            arrived = cluster.nodes[name].folder / "artifacts" / "shared" / run.spec.configuration.artifact_id
            header = read_weights(arrived / "model.gguf")
            hashes = HashCache(cluster.folder / "check")
            assert digest(arrived / "model.gguf", header, hashes) == run.spec.configuration.artifact_id
    assert processes_of_runs() == []
    left = [path for node in cluster.nodes.values() if node.name != "west" for path in node.folder.glob("node/*")]
    assert left == [], "what a run wrote there goes once it is here"
    known = {machine.name: machine.alive for machine in store.machines()}
    assert known == {"north": True, "south": True, "west": False}


def test_a_run_on_a_machine_that_is_asked_for_can_be_cancelled(cluster: Cluster, store: Store) -> None:
    ids = add_study(store, cluster, "cancelled", 2, needs="south")
    worker = cluster.worker("--drain", "--", *command("--step-s", "1"))
    try:
        until(lambda: store.run(ids[0]).progress > 0.1, 180, cluster.logs)
        assert store.run(ids[1]).state is RunState.WAITING, "the other machines are not asked for"
        store.request_cancel(ids[1])
        store.request_cancel(ids[0])
        assert worker.wait(180) == 0, cluster.logs()
    finally:
        worker.kill()
        worker.wait()
    run = store.run(ids[0])
    assert (run.state, run.machine) == (RunState.CANCELLED, "south")
    assert "working on" in run.log_tail
    assert store.samples(run.id), "what was measured until then is kept"
    assert processes_of_runs() == []


def test_runs_of_a_killed_worker_start_over_with_the_next(cluster: Cluster, store: Store) -> None:
    ids = add_study(store, cluster, "orphans", 2)
    worker = cluster.worker("--", *command("--step-s", "0.3"))
    try:
        until(lambda: all(store.run(i).progress > 0.1 for i in ids), 180, cluster.logs)
    finally:
        worker.kill()
        worker.wait()
    worker = cluster.worker("--drain", "--", *command())
    try:
        assert worker.wait(180) == 0, cluster.logs()
    finally:
        worker.kill()
        worker.wait()
    runs = [store.run(i) for i in ids]
    assert [(run.state, run.attempt) for run in runs] == [(RunState.DONE, 2)] * 2
    check_records(store, runs)
    assert [process for process in processes_of_runs() if "stand_in" in process] == []
    assert not any((node.notes / "overlaps").exists() for node in cluster.nodes.values())


def test_a_run_that_dies_there_fails_here_with_the_reason(cluster: Cluster, store: Store) -> None:
    ids = add_study(store, cluster, "dies", 1)
    worker = cluster.worker("--drain", "--", *command("--exit", "5"))
    try:
        assert worker.wait(180) == 0, cluster.logs()
    finally:
        worker.kill()
        worker.wait()
    run = store.run(ids[0])
    assert run.state is RunState.FAILED
    assert "code 5" in run.reason
    assert "working on" in run.log_tail
    assert len(store.samples(run.id)) == 7, "what was measured until then is kept"


def drain(cluster: Cluster, *options: str) -> None:
    worker = cluster.worker("--drain", "--", *command(*options))
    try:
        assert worker.wait(180) == 0, cluster.logs()
    finally:
        worker.kill()
        worker.wait()


def test_a_machine_that_cannot_take_a_run_says_why_and_costs_nobody_a_run(cluster: Cluster, store: Store) -> None:
    (its,) = add_study(store, cluster, "unfit", 1, needs="south")
    others = add_study(store, cluster, "others", 3)
    broken = cluster.nodes["south"].folder / "config.toml"
    broken.write_text('idle_s = "long"\n')
    drain(cluster)
    broken.unlink()
    run = store.run(its)
    assert (run.state, store.interruptions(its)) == (RunState.WAITING, 0), run.reason
    assert "south could not begin" in run.reason
    assert "idle_s" in run.reason, "what is wrong with its settings"
    runs = [store.run(one) for one in others]
    assert [one.state for one in runs] == [RunState.DONE] * 3, [one.reason for one in runs]
    assert "south" not in {measured_on(one) for one in runs}
    said = (cluster.folder / "head" / "worker.log").read_text()
    assert "Runs are left that need what no machine has that takes runs now: machine south" in said
    drain(cluster)
    assert measured_on(store.run(its)) == "south", "the next worker asks it again"


def test_a_machine_with_another_version_of_the_engine_gets_no_runs_of_it(cluster: Cluster, store: Store) -> None:
    (its,) = add_study(store, cluster, "version", 1, needs="south", version="llama-cpp-python 0")
    other = add_study(store, cluster, "no version", 1, needs="south")
    drain(cluster)
    assert store.run(its).state is RunState.WAITING
    assert "planned with llama-cpp-python 0" in store.run(its).reason
    assert measured_on(store.run(other[0])) == "south"
    store.request_cancel(its)


def test_weights_that_no_machine_can_get_fail_their_run_alone(cluster: Cluster, store: Store) -> None:
    gone = add_study(store, cluster, "gone", 1)
    (cluster.folder / "head" / "weights" / "gone.gguf").unlink()
    here = add_study(store, cluster, "here", 1)
    worker = cluster.worker("--drain", "--", *command())
    try:
        assert worker.wait(180) == 0, cluster.logs()
    finally:
        worker.kill()
        worker.wait()
    assert store.run(gone[0]).state is RunState.FAILED
    assert "gone.gguf" in store.run(gone[0]).reason
    assert store.run(here[0]).state is RunState.DONE


def test_the_command_lists_the_machines(cluster: Cluster, store: Store) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "trilemma", "machines", "--json"],
        env=cluster.environment(cluster.folder / "head"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {one["name"]: one for one in json.loads(listed.stdout)}
    assert found["south"]["slots"] == 1
    assert found["south"]["cpus"] == 2
    assert found["south"]["runs"] == []


STRANGER = """
import sys
from trilemma.errors import RunError
from trilemma.jobs.ray_cluster import connect
from trilemma.settings import get_settings

try:
    ray = connect(get_settings())
    print(ray.get(ray.remote(lambda: "it ran").remote(), timeout=60))
except RunError as error:
    sys.exit(str(error))
"""


def test_only_who_has_the_clusters_token_runs_something(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("0" * 64)
    right = cluster.folder / "ray-token"
    with ThreadPoolExecutor() as pool:
        tried = {
            "right": pool.submit(stranger, cluster, tmp_path, right),
            "none": pool.submit(stranger, cluster, tmp_path, tmp_path / "none"),
            "wrong": pool.submit(stranger, cluster, tmp_path, tmp_path / "wrong"),
            "asks for none": pool.submit(stranger, cluster, tmp_path, right, RAY_AUTH_MODE="disabled"),
        }
    ran = {who: one.result() for who, one in tried.items()}
    assert {who: one.stdout.strip() for who, one in ran.items()} == dict.fromkeys(ran, "") | {"right": "it ran"}, ran
    assert "token is not at" in ran["none"].stderr
    assert "No Ray cluster answers" in ran["wrong"].stderr
    assert ran["asks for none"].returncode != 0


def stranger(cluster: Cluster, home: Path, token: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Another program of this machine that wants something to run in the cluster."""
    about = {"TRILEMMA_RAY_ADDRESS": f"127.0.0.1:{cluster.port}", "TRILEMMA_RAY_TOKEN_FILE": str(token)} | more
    return subprocess.run(
        [sys.executable, "-c", STRANGER], cwd=home, env=cluster.environment(home) | about, capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
