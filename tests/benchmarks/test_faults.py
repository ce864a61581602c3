"""The fault campaign in small, and that its checks can fail."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.faults import apart, table
from benchmarks.faults_cluster_tools import CUT_OFF_S
from benchmarks.faults_disk_tools import Event, Write, power_cuts
from benchmarks.faults_ground_tools import Ground
from benchmarks.faults_kinds_tools import apart_from_mounts
from benchmarks.faults_plan_tools import FAULTS, GROUNDS, NAMED, chosen, longest_first, missing
from benchmarks.faults_power_tools import cut_power
from benchmarks.faults_tools import STEPS, Fault, Verdict, add_runs, beside
from tests.factory import HOST, MEASURED
from trilemma.records import AnswerRecord, RequestRecord, Sample
from trilemma.schema import Measurement, Phase, RunState
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.store.dialects.sqlite import SqliteDialect


def finish(store: Store, state: RunState = RunState.DONE, reason: str = "") -> str:
    """A run as the stand-in records it."""
    add_runs(store, 1, f"study {len(store.runs())}")
    run = store.claim_next("somebody")
    assert run is not None
    store.start_run(run.id, HOST)
    store.write_batch(
        run.id,
        samples=[Sample(time_ns=step, phase=Phase.SPEED, values={"rss_bytes": 1.0}) for step in range(STEPS)],
        requests=[
            RequestRecord(workload="w", index=step, submitted_ns=1, token_times_ns=(2,)) for step in range(STEPS)
        ],
        answers=[
            AnswerRecord(suite="s", item_id=str(step), index=step, prompt="", answer="", scores={})
            for step in range(STEPS)
        ],
    )
    store.set_measurements(run.id, [Measurement(figure="ttft_s", value=1.0, n=STEPS, provenance=MEASURED)])
    store.finish_run(run.id, state, reason=reason)
    return run.id


@pytest.fixture
def ground(store: Store, settings: Settings, tmp_path: Path, database: str) -> Ground:
    if database:
        pytest.skip("the checks are the same; SQLite's file is damaged more easily")
    return Ground(tmp_path / "notes", seed=0)


def execute(settings: Settings, *statements: str) -> None:
    with closing(sqlite3.connect(settings.home / "trilemma.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_sound_store_has_nothing_wrong_with_it(ground: Ground, store: Store) -> None:
    ground.seen_done = {finish(store), finish(store)}
    verdict = ground.verdict()
    assert [verdict.lost, verdict.corrupted, verdict.unnamed, verdict.overlaps] == [[], [], [], []]
    assert verdict.runs == {"done": 2}


def test_a_finished_run_that_is_gone_is_noticed(ground: Ground, store: Store, settings: Settings) -> None:
    kept, gone = finish(store), finish(store)
    (ground.notes / "finished").write_text(f"{kept}\n{gone}\n")
    execute(settings, *(f"DELETE FROM {table} WHERE run_id = '{gone}'" for table in ("study_runs", "measurements")))
    execute(settings, f"DELETE FROM runs WHERE id = '{gone}'")
    assert [gone in line for line in ground.verdict().lost] == [True]


@pytest.mark.parametrize("table", ["answers", "requests", "sample_chunks", "measurements"])
def test_a_finished_run_that_is_not_whole_is_noticed(
    ground: Ground, store: Store, settings: Settings, table: str
) -> None:
    run_id = finish(store)
    execute(settings, f"DELETE FROM {table} WHERE run_id = '{run_id}'")
    assert ["not whole" in line for line in ground.verdict().lost] == [True]


def test_a_damaged_store_is_noticed(ground: Ground, store: Store, settings: Settings) -> None:
    finish(store)
    execute(settings, "DELETE FROM studies")  # foreign keys are not looked at here
    assert any("dangling" in line for line in ground.verdict().corrupted)


@pytest.mark.parametrize(
    ("reason", "unnamed"),
    [("", 1), ("Something happened.", 1), ("The run was killed (SIGKILL) from outside.", 0)],
)
def test_a_failure_must_name_what_failed_it(ground: Ground, store: Store, reason: str, unnamed: int) -> None:
    run_id = finish(store, RunState.FAILED, reason)
    ground.faults = [Fault("run killed", "here", run_id, 1)]
    verdict = ground.verdict()
    assert len(verdict.unnamed) == unnamed
    assert (verdict.faults[0].outcome, verdict.faults[0].cause) == ("failed", reason)


def test_a_fault_between_two_runs_excuses_the_next_one_alone(ground: Ground, store: Store) -> None:
    next_, later = (finish(store, RunState.FAILED, "The run was killed (SIGKILL) from outside.") for _ in range(2))
    ground.faults = [Fault("run killed", "between runs", next=next_)]
    verdict = ground.verdict()
    assert [later in line for line in verdict.unnamed] == [True]
    assert verdict.faults[0].outcome == "idle"


def test_the_next_run_is_the_first_that_waits(ground: Ground, store: Store) -> None:
    assert ground.next_waiting() == ""
    first, second = add_runs(store, 2, "waiting")
    assert ground.next_waiting() == first
    store.claim_next("somebody")
    assert ground.next_waiting() == second


def test_the_store_tells_what_was_measured_beside_another(ground: Ground, store: Store, settings: Settings) -> None:
    """The bench, unlike the stand-in, has no lock of its own that proves it."""
    ids = [finish(store) for _ in range(3)]
    assert beside(store.runs()) == ground.verdict().overlaps == []
    times = [("10:00:00", "10:00:05"), ("10:00:02", "10:00:03"), ("10:00:05", "10:00:09")]
    for run_id, (begin, end) in zip(ids, times, strict=True):
        execute(
            settings,
            f"UPDATE runs SET started_at = '2026-01-01 {begin}.000000', finished_at = '2026-01-01 {end}.000000' "
            f"WHERE id = '{run_id}'",
        )
    assert [line.split()[0] for line in beside(store.runs())] == [ids[1]], "it lies within the first; the third follows"
    assert len(ground.verdict().overlaps) == 1
    execute(settings, f"UPDATE runs SET machine = 'another' WHERE id = '{ids[1]}'")
    assert beside(store.runs()) == []


def test_a_run_that_was_measured_again_or_beside_another_is_noticed(ground: Ground, store: Store) -> None:
    run_id = finish(store)
    (ground.notes / "finished").write_text(f"{run_id}\n{run_id}\n")
    (ground.notes / "overlaps").write_text(f"{run_id}\n")
    assert len(ground.verdict().overlaps) == 2


def test_a_power_cut_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    verdict = cut_power(tmp_path, 16, seed=1, runs=4)
    assert len(verdict.faults) == 16
    assert [verdict.lost, verdict.corrupted] == [[], []]


def test_a_power_cut_takes_what_nobody_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lazily(self: SqliteDialect, connection: object, *, durable: bool) -> None: ...

    monkeypatch.setattr(SqliteDialect, "before_write", lazily)
    verdict = cut_power(tmp_path, 16, seed=1, runs=4)
    assert verdict.lost, "the campaign would not notice a store that does not sync"
    assert verdict.corrupted == []


def test_what_was_synced_survives_and_the_rest_may() -> None:
    events = [
        Event("write", "/f", Write(0, b"a" * 1024)),
        Event("sync", "/f"),
        Event("note", "told"),
        Event("write", "/f", Write(512, b"b" * 1024)),
    ]
    seen = set()
    for seed in range(1000):  # one part of a torn write alone is rare
        (cut,) = power_cuts(events, [4], random.Random(seed))
        content = cut.files["/f"]
        assert cut.noted == ("told",)
        assert content[:512] == b"a" * 512
        assert len(content) in (1024, 1536)
        seen.add((content[512:1024] == b"b" * 512, len(content)))
    assert seen == {(False, 1024), (True, 1024), (False, 1536), (True, 1536)}


def test_a_small_siege(tmp_path: Path) -> None:
    kinds = ("worker killed", "run killed", "stopped and continued", "database locked", "clock jump", "second worker")
    verdict = apart("sqlite", dict.fromkeys(kinds, 1), seed=3)
    assert {fault.kind for fault in verdict.faults} == set(kinds)
    assert [verdict.lost, verdict.corrupted, verdict.unnamed, verdict.overlaps] == [[], [], [], []]
    assert verdict.runs["done"]


def test_a_full_disk(tmp_path: Path) -> None:
    try:
        apart_from_mounts()
    except OSError as error:
        pytest.skip(str(error))
    verdict = apart("full disk", {"disk full": 2}, seed=1)
    assert [fault.kind for fault in verdict.faults] == ["disk full"] * 2
    assert [verdict.lost, verdict.corrupted, verdict.unnamed, verdict.overlaps] == [[], [], [], []]


def test_the_plan_has_enough_faults_and_the_table_counts_them() -> None:
    assert sum(sum(counts.values()) for counts in GROUNDS.values()) >= FAULTS
    assert longest_first(GROUNDS)[-1] == "llama.cpp"
    assert chosen(0.001, "power") == {"power": {"power cut": 1}}
    verdict = Verdict(faults=[Fault("a", "", outcome="done"), Fault("b", "", outcome="requeued")])
    assert table(verdict)[2:] == [
        "| a | 1 | 1 | 0 | 0 | 0 |",
        "| b | 1 | 0 | 0 | 1 | 0 |",
        "| **all** | 2 | 1 | 0 | 1 | 0 |",
    ]


def test_a_kind_that_is_asked_for_is_missed_also_when_no_ground_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = [Fault(kind, "") for counts in GROUNDS.values() for kind in counts]
    assert missing(tried) == []
    for name in ("power", "cluster", "full disk"):
        monkeypatch.delitem(GROUNDS, name)
    tried = [Fault(kind, "") for counts in GROUNDS.values() for kind in counts]
    nodes = ["idle node vanished and returned", *CUT_OFF_S, "node vanished and returned"]
    assert missing(tried) == ["disk full", *nodes, "power cut"]
    assert set(missing([])) >= {kind for kinds in NAMED.values() for kind in kinds}
