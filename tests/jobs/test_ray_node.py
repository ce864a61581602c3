"""What becomes of a run on a machine of a cluster, with its agent in this process instead of in Ray's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stand_in import HOST
from support import command

from tests.catalog.gguf_files import tiny
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.share import Share
from trilemma.errors import CatalogError, RunCancelledError
from trilemma.jobs.base import Ending
from trilemma.jobs.local import LocalExecutor
from trilemma.jobs.parcel import Greeting, Report, pack
from trilemma.jobs.ray_node import Agent
from trilemma.jobs.ray_run import Journey, RayHandle
from trilemma.meters.machine import host_info
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Configuration, Frozen, RunSpec, StudySpec
from trilemma.settings import Settings, get_settings
from trilemma.store import Store


class Here:
    """In place of Ray and its handle of an actor."""

    class LostError(Exception):
        pass

    exceptions = SimpleNamespace(RayError=LostError, RayActorError=LostError, ActorUnavailableError=(), RayTaskError=())

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: partial(getattr(self._agent, name), *arguments))

    @staticmethod
    def get(answer: Callable[[], object], timeout: float | None = None) -> object:
        return answer()


@pytest.fixture
def north(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of a machine of that name; weights come to it from a share."""
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):  # an agent forgets them
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TRILEMMA_MACHINE", "north")
    monkeypatch.setenv("TRILEMMA_SLOTS", "2")
    get_settings.cache_clear()
    host_info.cache_clear()  # the machine's name is in it
    yield get_settings()
    host_info.cache_clear()


@pytest.fixture
def weights(store: Store, north: Settings, tmp_path: Path) -> Artifact:
    path = tmp_path / "weights.gguf"
    path.write_bytes(tiny())
    return Catalog(store, north).add_path(path)


def claim(store: Store, weights: Artifact, version: str = "") -> RunRecord:
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp")
    spec = RunSpec(configuration=configuration, engine_version=version)
    store.add_study(StudySpec(name="s", configurations=(configuration,)), [spec])
    run = store.claim_next("w", machine="north")
    assert run is not None
    return run


class Bench:
    """A run on its way to ``north``, and whom that leaves out."""

    def __init__(self, settings: Settings, store: Store, run: RunRecord, log: Path, *options: str) -> None:
        self.agent, self.left_out = Agent(), list[tuple[str, str, str]]()
        here = Here(self.agent)
        journey = Journey(settings, here, here, run, store)

        def measure(run_id: str) -> list[str]:
            return [part.format(run=run_id, pid=os.getpid()) for part in command(*options)]

        self.handle = RayHandle(journey, "north", "w", measure, log, lambda *one: self.left_out.append(one))

    def ending(self) -> Ending:
        deadline = time.monotonic() + 30
        while (ending := self.handle.poll()) is None:
            assert time.monotonic() < deadline, "it never ended"
            time.sleep(0.02)
        return ending


@pytest.fixture
def bench(north: Settings, store: Store, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(run: RunRecord, *options: str) -> Bench:
        made.append(Bench(north, store, run, tmp_path / "run.log", *options))
        return made[-1]

    yield make
    for one in made:
        one.agent.close()


def test_a_full_disk_is_the_machines_fault(
    bench: Callable[..., Bench], store: Store, weights: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trilemma.jobs.processes.ROOM_BYTES", 2**60)
    refused = bench(claim(store, weights))
    ending = refused.ending()
    assert ending.refused
    assert not ending.lost
    assert ending.explanation.startswith("north does not take it: The disk of")
    assert refused.left_out == [("north", ending.explanation, "")]


def test_another_version_of_the_engine_leaves_the_machine_to_runs_of_others(
    bench: Callable[..., Bench], store: Store, weights: Artifact
) -> None:
    refused = bench(claim(store, weights, version="llama-cpp-python 0"))
    ending = refused.ending()
    assert ending.refused
    assert "planned with llama-cpp-python 0" in ending.explanation
    assert refused.left_out == [("north", ending.explanation, "llama.cpp (llama-cpp-python 0)")]


@pytest.mark.parametrize("at_the_head", [True, False])
def test_weights_that_are_nowhere_are_no_machines_fault(
    bench: Callable[..., Bench], store: Store, weights: Artifact, at_the_head: bool
) -> None:
    path = Path(weights.path)
    path.unlink()
    if at_the_head:
        path.write_bytes(b"what the head alone can read")
    refused = bench(claim(store, weights))
    ending = refused.ending()
    assert "is not on this machine" in ending.explanation
    assert ending.refused is at_the_head
    assert len(refused.left_out) == at_the_head


def test_a_share_that_cannot_be_reached_is_the_machines_fault_and_damage_in_it_is_not(
    bench: Callable[..., Bench], store: Store, weights: Artifact, north: Settings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRILEMMA_ARTIFACTS_URL", str(tmp_path / "share"))
    get_settings.cache_clear()
    Path(weights.path).rename(tmp_path / "elsewhere.gguf")
    Path(weights.path).write_bytes(b"")
    ending = bench(claim(store, weights)).ending()
    assert ending.refused, ending
    store.release(store.runs()[0].id)
    folder = tmp_path / "share" / weights.id
    folder.mkdir(parents=True)
    (folder / "SHA256SUMS").write_text("nonsense")
    run = store.claim_next("w", machine="north")
    assert run is not None
    ending = bench(run).ending()
    assert "no list of hashes" in ending.explanation
    assert not ending.refused


@pytest.mark.parametrize("greeting", [Report(), Greeting(trilemma="0.0.1", host=HOST)])
def test_another_version_of_trilemma_is_the_machines_fault(
    bench: Callable[..., Bench], store: Store, weights: Artifact, monkeypatch: pytest.MonkeyPatch, greeting: Frozen
) -> None:
    monkeypatch.setattr(Agent, "hello", lambda self: pack(greeting))
    refused = bench(claim(store, weights))
    ending = refused.ending()
    assert ending.refused
    assert "Install the same" in ending.explanation
    assert refused.left_out == [("north", ending.explanation, "")]


def test_who_answers_under_another_name_is_lost(
    bench: Callable[..., Bench], store: Store, weights: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claim(store, weights).model_copy(update={"machine": "south"})
    ending = bench(run).ending()
    assert ending.lost
    assert "south answers as north" in ending.explanation


def test_a_run_that_a_full_disk_ended_there_is_lost_and_not_at_fault(
    bench: Callable[..., Bench], store: Store, weights: Artifact
) -> None:
    measured = bench(claim(store, weights), "--exit", "74")
    ending = measured.ending()
    assert ending.lost
    assert ending.explanation.startswith("north: The run's process ended because a disk is full")
    assert measured.left_out == [], "it had begun"


def test_a_run_sees_the_dashboards_of_its_machine(
    bench: Callable[..., Bench], store: Store, weights: Artifact, north: Settings
) -> None:
    measured = bench(claim(store, weights), "--step-s", "0.2")
    deadline = time.monotonic() + 20
    while not (found := list((north.home / "node").glob("*/dashboards"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert found[0].resolve() == north.dashboards_dir.resolve()
    measured.agent.close()
    assert north.dashboards_dir.is_dir(), "it goes without what it leads to"


def test_a_slot_and_what_wants_the_whole_device_exclude_each_other(north: Settings) -> None:
    executor, device = LocalExecutor(north), north.device
    agents = [Agent() for _ in range(3)]
    held = [agent._reserve(executor) for agent in agents[:2]]
    assert executor.reserve(device) is None, "a try-out, or a worker of the machine's own, waits for both"
    waiting = threading.Thread(target=lambda: held.append(agents[2]._reserve(executor)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive(), "there are two slots"
    held.pop(0).release()
    waiting.join(10)
    for one in held:
        one.release()
    whole = executor.reserve(device)
    assert whole is not None
    assert executor.reserve(device, slot=0) is None
    whole.release()


def test_what_two_runs_lack_is_fetched_once(
    north: Settings, weights: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_ARTIFACTS_URL", str(tmp_path / "share"))
    get_settings.cache_clear()
    agents = [Agent() for _ in range(2)]
    Share(str(tmp_path / "share")).put(weights, agents[0]._hashes)
    lacking = weights.model_copy(update={"path": str(tmp_path / "nowhere.gguf")})
    fetched, get = [], Share.get

    def slow(self: Share, *arguments: Any) -> Path:
        fetched.append(arguments[0])
        time.sleep(0.3)
        return get(self, *arguments)

    monkeypatch.setattr(Share, "get", slow)
    found: list[Artifact] = []
    threads = [threading.Thread(target=lambda a=agent: found.append(a._bring(lacking))) for agent in agents]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(fetched) == 1
    assert len({one.path for one in found}) == 1
    assert len(found) == 2


def test_who_waits_for_anothers_fetching_can_be_cancelled(north: Settings, weights: Artifact) -> None:
    agent, other = Agent(), Agent()
    lacking = weights.model_copy(update={"path": "/nowhere"})
    with other._alone_with(lacking):
        threading.Timer(0.2, agent.stop, (0,)).start()
        with pytest.raises(RunCancelledError):
            agent._bring(lacking)
    with pytest.raises(CatalogError, match="not on this machine"):
        other._bring(lacking)
