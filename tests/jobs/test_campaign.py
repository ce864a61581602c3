from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from campaign import campaign, check
from support import add_runs, check_records, command, lines

from trilemma.schema import RunState
from trilemma.store import Store

KILLS = 50


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--orphan",)], ids=["ends with its worker", "outlives its worker"])
def test_nothing_is_lost_whatever_is_killed(home: Path, store: Store, options: tuple[str, ...], database: str) -> None:
    batch = itertools.count()

    def refill(into: Store) -> None:
        add_runs(into, 6, name=f"study {next(batch)}")

    refill(store)
    kills = KILLS // (5 if database else 2)  # each of the two kinds of run takes half; on PostgreSQL fewer do
    result = campaign(home, command(*options), kills=kills, seed=len(options), interval_s=(0.05, 0.7), refill=refill)
    runs = store.runs()
    check(result, runs)
    check_records(store, runs)
    assert sum(result.kills.values()) >= kills
    assert set(result.kills) == {"worker", "run", "both"}
    assert lines(home / "overlaps") == [], "two runs at once"
    done = {run.id for run in runs if run.state is RunState.DONE}
    finished = lines(home / "finished")
    assert set(finished) <= done, "finished, but not recorded"
    assert len(finished) == len(set(finished)), "a finished run ran again"
    starts = lines(home / "started")
    assert all(starts.count(run.id) <= run.attempt for run in runs)
    assert done, "the campaign never let a run finish"
