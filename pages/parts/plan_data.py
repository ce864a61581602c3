"""What Plan shows, read from the store once for each version of it and worked out once for each set of assumptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from pages import shared
from pages.parts import explore_data
from trilemma.analysis.points import Points, labels
from trilemma.planning.break_even import Volumes, volumes
from trilemma.planning.capacity import Kept
from trilemma.planning.cost import Kind
from trilemma.planning.measured import Measured, measured, plan_keys, workloads
from trilemma.planning.plan import Assumptions, Plan, make_plan, set_up
from trilemma.planning.sensitivity import Effect, Swing, base_effect, tornado
from trilemma.planning.subject import runs_to_replay
from trilemma.planning.tables import Tables, load_tables
from trilemma.planning.words import machine_words
from trilemma.records import SAMPLE
from trilemma.schema import content_id
from trilemma.settings import get_settings

Version = tuple[str, int]


@dataclass(frozen=True)
class Sensitivity:
    """The swings of one deployment, and what they swing around."""

    swings: tuple[Swing, ...]
    base: Effect


def figures(of: Version, study_id: str) -> Points:
    """The figures that plans are made of, for every configuration of a study."""
    return explore_data.points(of, study_id, tuple(plan_keys(explore_data.catalog_of(of, study_id).keys)))


@st.cache_resource(max_entries=16, show_spinner=False)
def choices(of: Version, study_id: str) -> dict[str, dict[str, str]]:
    """By workload, the configurations that can be planned with: id to name, in Explore's order."""
    points = figures(of, study_id)
    names = labels(points)
    names = names.where(~names.duplicated(keep=False), names + " · " + names.index.astype(str).str[:6])
    found = workloads(points)
    return {workload: {one: str(names[one]) for one in ids} for workload, ids in found.items()}


@st.cache_resource(max_entries=8, show_spinner=False)
def first_study(of: Version) -> str | None:
    """The newest study of the user's own that can be planned with, else the sample; None without any."""
    studies = sorted(explore_data.catalog(of).studies, key=lambda one: one == SAMPLE)
    return next((one for one in studies if choices(of, one)), None)


@st.cache_resource(max_entries=32, show_spinner=False)
def first_configuration(of: Version, study_id: str, workload: str) -> str:
    """The first configuration on the front of what Explore shows at first, else the first there is."""
    options = choices(of, study_id)[workload]
    return next((one for one in explore_data.front(of, study_id) if one in options), next(iter(options)))


@st.cache_resource(max_entries=32, show_spinner=False)
def known(of: Version, study_id: str, workload: str, configuration_id: str) -> Measured:
    """What was measured of a configuration, with the requests of its undisturbed runs, the newest first.

    Raises:
        PlanError: its speed under this workload is not known.
    """
    store, frame = shared.get_store(), explore_data.runs(of, study_id)
    requests = [store.requests(run_id) for run_id in runs_to_replay(frame, configuration_id)]
    return measured(figures(of, study_id), configuration_id, workload, requests)


def tables() -> Tables:
    """The tables of prices: read anew each time, for a team may edit one meanwhile.

    Raises:
        PlanError: one of the team's own is wrong.
    """
    return load_tables(get_settings().home)


@st.cache_resource(max_entries=64, show_spinner=False)
def _kept(of: Version, key: str) -> Kept:
    """What has been simulated for one replica and one set of limits: other prices ask for nothing new."""
    return Kept()


@st.cache_resource(max_entries=32, show_spinner=False)
def _made(of: Version, study_id: str, workload: str, configuration_id: str, assumptions: str) -> list[Plan]:
    """Where the plan is kept once it is made. Streamlit lets no cached function write what it does onto the page."""
    return []


def plan(
    of: Version, study_id: str, workload: str, configuration_id: str, assumptions: str,
    progress: Callable[[str], None],
) -> Plan:  # fmt: skip
    """The plan for :class:`Assumptions` as JSON; told what it does through ``progress``.

    Raises:
        PlanError: no number of replicas keeps the limits.
    """
    place = _made(of, study_id, workload, configuration_id, assumptions)
    if not place:
        found, assumed = known(of, study_id, workload, configuration_id), Assumptions.model_validate_json(assumptions)
        setup = set_up(found, assumed)
        lengths = (assumed.demand.tokens_in, assumed.demand.tokens_out)
        key = content_id([study_id, workload, configuration_id, lengths, setup.latency.model_dump(), setup.curve.slots])
        place.append(make_plan(found, assumed, kept=_kept(of, key), progress=progress))
    return place[0]


def machine(of: Version, study_id: str, configuration_id: str) -> tuple[str, str]:
    """A run of a configuration, its id, and the machine that it was measured on, in words; empty if not known."""
    run_id = str(figures(of, study_id).meta["run_id"].loc[configuration_id])
    return run_id, machine_words(shared.get_store().run(run_id).host)


@st.cache_resource(max_entries=32, show_spinner="Looking at other volumes ...")
def by_volume(of: Version, key: str, _plan: Plan) -> Volumes:
    """Costs at other volumes; ``key`` names the plan."""
    return volumes(_plan)


@st.cache_resource(max_entries=64, show_spinner="Trying each assumption ...")
def sensitivity(of: Version, key: str, kind: Kind, _plan: Plan) -> Sensitivity:
    """What moves a deployment's cost; ``key`` names the plan."""
    return Sensitivity(tuple(tornado(_plan, kind)), base_effect(_plan, kind))


def plan_key(found: Plan, study_id: str) -> str:
    """A name of the plan: the same for the same study, configuration, workload and assumptions."""
    about = [study_id, found.measured.configuration_id, found.measured.workload]
    return content_id([about, found.assumptions.model_dump(mode="json")])
