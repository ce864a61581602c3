"""What a plan is made for: a configuration under a workload, or a sentence that says what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import pandas as pd

from trilemma.schema import RunState

_RUNS = 4
"""Runs of a configuration whose requests are replayed: enough to tell how requests differ."""
NO_SPEED = (
    "There is nothing to plan from: measure this study's configurations with a workload, best with a sweep over users "
    "(New study)."
)
NO_PICK = "Nothing is recommended, so there is nothing to plan with: loosen a limit on Decide, or choose one on Plan."
NO_SPEED_OF_PICK = (
    "The speed of what is recommended is not known under any workload: measure it with one, best with a sweep over "
    "users (New study)."
)


class Subject(NamedTuple):
    """A configuration and a workload, both ids; empty where ``missing`` says why there is none."""

    configuration: str = ""
    workload: str = ""
    missing: str = ""


def subject(
    known: Mapping[str, Collection[str]], pick: str | None, *, configuration: str = "", workload: str = ""
) -> Subject:
    """What to plan.

    Args:
        known: By workload, the configurations that can be planned with.
        pick: What is recommended.
        configuration: What somebody chose instead; one that is not known is passed over.
        workload: What somebody chose; else the first that the configuration was measured under.
    """
    if not any(known.values()):
        return Subject(missing=NO_SPEED)
    chosen = configuration if any(configuration in ids for ids in known.values()) else pick
    if chosen is None:
        return Subject(missing=NO_PICK)
    fitting = [name for name, ids in known.items() if chosen in ids]
    if not fitting:
        return Subject(missing=NO_SPEED_OF_PICK)
    return Subject(chosen, workload if workload in fitting else fitting[0])


def runs_to_replay(runs: pd.DataFrame, configuration_id: str) -> list[str]:
    """The runs whose requests a plan of a configuration replays: undisturbed ones if there are any, newest first.

    Args:
        runs: A row a run, as :meth:`trilemma.store.Store.run_frame` has them.
        configuration_id: Whose.
    """
    mine = runs[(runs["configuration_id"] == configuration_id) & (runs["state"] == RunState.DONE) & ~runs["superseded"]]
    steady = mine[~mine["disturbed"].astype(bool)]
    chosen = (steady if len(steady) else mine).sort_values("finished_at", ascending=False, kind="stable")
    return [str(one) for one in chosen["run_id"].head(_RUNS)]
