"""What the plan of a report is made from, read from the store."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from trilemma.analysis.points import Points
from trilemma.errors import PlanError
from trilemma.planning.measured import Measured, measured, workloads
from trilemma.planning.plan import Assumptions, default_assumptions
from trilemma.planning.subject import runs_to_replay, subject
from trilemma.planning.tables import load_tables
from trilemma.planning.words import machine_words
from trilemma.report.view import PlanView
from trilemma.store import Store


@dataclass(frozen=True)
class ToPlan:
    """``found`` is None where there is nothing to plan from, and ``missing`` says why; ``machine`` is in words."""

    found: Measured | None
    assumed: Assumptions
    machine: str = ""
    missing: str = ""


def to_plan(store: Store, points: Points, runs: pd.DataFrame, pick: str | None, view: PlanView) -> ToPlan:
    """What is planned of a study.

    Args:
        store: Where requests are.
        points: All its configurations with all their figures.
        runs: Its runs, a row each.
        pick: What is recommended.
        view: What somebody chose instead, and what is assumed.
    """
    assumed = view.assumptions or default_assumptions(load_tables())
    chosen = subject(workloads(points), pick, configuration=view.configuration, workload=view.workload)
    if chosen.missing:
        return ToPlan(None, assumed, missing=chosen.missing)
    requests = [store.requests(run_id) for run_id in runs_to_replay(runs, chosen.configuration)]
    try:
        found = measured(points, chosen.configuration, chosen.workload, requests)
    except PlanError as error:
        return ToPlan(None, assumed, missing=f"{error.message} {error.hint}")
    run_id = str(points.meta["run_id"].loc[chosen.configuration])
    return ToPlan(found, assumed, machine_words(store.run(run_id).host))
