"""What Explore shows, read from the store once for each version of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pandas as pd
import streamlit as st

from pages import shared
from trilemma.analysis.headline import default_axes, in_order
from trilemma.analysis.joined import joined
from trilemma.analysis.points import Points, configuration_meta, configuration_points, members
from trilemma.charts.palette import quantization_bits
from trilemma.records import SAMPLE
from trilemma.schema import Artifact, RunState

_log = logging.getLogger(__name__)
FILTERS = {
    "model": "model", "quantization": "quantization", "engine": "engine", "engine_version": "engine_version",
    "machine": "measured_on",
}  # fmt: skip
"""By column of the points' meta that may be chosen from, its name in an address, where ``machine`` is one of Plan's."""
_FEW_RUNS = 2000
_MISFIT_KEYS = ("needed_memory_bytes", "memory_budget_bytes")

PICTURE = ("study", *FILTERS.values(), "x", "y", "size")
"""What of Explore's picture goes along when it is presented."""


@dataclass(frozen=True)
class Catalog:
    """What there is to choose from.

    ``studies`` maps ids to names, newest first and the sample last; ``models`` in order of arrival; ``foreign`` are the
    studies that were measured elsewhere.
    """

    keys: list[str]
    studies: dict[str, str]
    workloads: list[str]
    models: list[str]
    foreign: tuple[str, ...]


def version() -> tuple[str, int]:
    """The key of everything cached here: which store, and which state of it."""
    store = shared.get_store()
    return store.url, store.version()


# Resources, not data: every session reads the same frozen tables, and none of them pays for a copy.
@st.cache_resource(max_entries=4, show_spinner=False)
def catalog(of: tuple[str, int]) -> Catalog:
    """What there is to choose from in the state ``of`` the store."""
    store = shared.get_store()
    # In tables of usual size texts in Python's memory make an answer cost a quarter less CPU; in large ones pyarrow's
    # are read faster.
    few = sum(store.run_counts().values()) <= _FEW_RUNS
    pd.options.mode.string_storage = "python" if few else "auto"
    studies = sorted(store.studies(), key=lambda study: (study.id != SAMPLE, study.created_at), reverse=True)
    names = [level.subject for study in studies for spec in study.spec.workloads for level in spec.levels()]
    foreign = tuple(store.foreign_studies())
    keys = sorted({*store.figure_keys(), *(key for study_id in foreign for key in store.figure_keys(study_id))})
    return Catalog(
        # Of what does not fit there are no points, so no axis either.
        keys=in_order([key for key in keys if key not in _MISFIT_KEYS]),
        studies={study.id: study.spec.name for study in studies},
        workloads=list(dict.fromkeys(names)),
        models=store.models(),
        foreign=foreign,
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def catalog_of(of: tuple[str, int], study_id: str) -> Catalog:
    """:func:`catalog` with the figures that a study measured elsewhere has, or with those of the user's own runs."""
    store, whole = shared.get_store(), catalog(of)
    if not whole.foreign:
        return whole
    found = set(store.figure_keys(study_id if study_id in whole.foreign else None))
    return replace(whole, keys=[key for key in whole.keys if key in found])


@st.cache_resource(max_entries=32, show_spinner=False)
def front(of: tuple[str, int], study_id: str) -> list[str]:
    """The configurations on the front of what Explore shows of a study at first, by their ids."""
    found = catalog_of(of, study_id)
    x, y, _ = default_axes(found.keys, found.workloads)
    figures = points(of, study_id, tuple(sorted({x, y})))
    return [str(one) for one in figures.meta.index[figures.front([x, y])]]


@st.cache_resource(max_entries=8, show_spinner=False)
def runs(of: tuple[str, int], study_id: str) -> pd.DataFrame:
    """The run frame of one study, or of all when ``study_id`` is empty."""
    return shared.get_store().run_frame(study_id or None)


@st.cache_resource(max_entries=8, show_spinner=False)
def choices(of: tuple[str, int], study_id: str) -> dict[str, list[str]]:
    """By name of :data:`FILTERS` in an address what has finished runs, as its points name it."""
    frame = runs(of, study_id)
    done = frame[frame["state"] == RunState.DONE]
    found = {name: sorted({*done[column].dropna().astype(str)} - {""}) for column, name in FILTERS.items()}
    found["quantization"].sort(key=lambda name: -(quantization_bits(name) or 0))
    return found


@st.cache_resource(max_entries=16, show_spinner=False)
def points(of: tuple[str, int], study_id: str, keys: tuple[str, ...]) -> Points:
    """All configurations with the figures ``keys``; of one study, or of all when ``study_id`` is empty.

    A figure is read once: another choice of figures costs no more than those that are new.
    """
    known = read(of, study_id, keys)
    found = joined({key: known[key] for key in dict.fromkeys(keys)}, _meta(of, study_id))
    _latest()[of[0]] = of[1]
    return found


def read(of: tuple[str, int], study_id: str, keys: Sequence[str]) -> dict[str, Points]:
    """By key the points among which it was read, of at least ``keys``: what is missing is read now."""
    known = _known(of, study_id)
    missing = [key for key in dict.fromkeys(keys) if key not in known]
    if missing:
        known.update(_reader(of, study_id)(missing))
    return known


def _reader(of: tuple[str, int], study_id: str) -> Callable[[Sequence[str]], dict[str, Points]]:
    """What reads figures of the state ``of`` the store; it needs no session, so that any thread can call it."""
    store, frame, artifacts, meta = shared.get_store(), runs(of, study_id), _artifacts(of), _meta(of, study_id)

    def found(keys: Sequence[str]) -> dict[str, Points]:
        figures = store.figure_frame(keys, study_id or None, among=frame)
        return dict.fromkeys(keys, configuration_points(figures, frame, artifacts, keys, meta))

    return found


@st.cache_resource(max_entries=8, show_spinner=False)
def read_ahead(of: tuple[str, int], study_id: str, keys: tuple[str, ...]) -> threading.Thread:
    """Read what of ``keys`` is missing while nobody waits, one after the other: once for a state of the store."""
    known, latest, waiting, read_some = _known(of, study_id), _latest(), _waiting(), _reader(of, study_id)

    def work() -> None:
        for key in keys:
            if latest.get(of[0]) != of[1]:
                return  # nobody will ask for this state any more
            waiting.end()
            try:
                if key not in known:
                    known.update(read_some([key]))
            except Exception:
                # Whoever asks for the figure is told, when they do.
                _log.exception("Figures could not be read ahead")
                return

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    return thread


@dataclass
class _Waiting:
    """How many wait for an answer, of all sessions."""

    count: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def change(self, by: int) -> None:
        with self.changed:
            self.count += by
            self.changed.notify_all()

    def end(self) -> None:
        """Return when nobody waits."""
        with self.changed:
            self.changed.wait_for(lambda: self.count == 0)


@st.cache_resource(show_spinner=False)
def _waiting() -> _Waiting:
    return _Waiting()


@contextmanager
def answering() -> Iterator[None]:
    """While somebody waits for an answer, nothing is read ahead: it would hold the interpreter's lock."""
    waiting = _waiting()
    waiting.change(1)
    try:
        yield
    finally:
        waiting.change(-1)


@st.cache_resource(max_entries=8, show_spinner=False)
def _known(of: tuple[str, int], study_id: str) -> dict[str, Points]:
    return {}


@st.cache_resource(max_entries=4, show_spinner=False)
def _artifacts(of: tuple[str, int]) -> dict[str, Artifact]:
    return {artifact.id: artifact for artifact in shared.get_store().artifacts(forgotten=True)}


@st.cache_resource(max_entries=8, show_spinner=False)
def _meta(of: tuple[str, int], study_id: str) -> pd.DataFrame:
    """Every configuration that has a finished run."""
    frame = runs(of, study_id)
    done = frame[(frame["state"] == RunState.DONE) & ~frame["superseded"].astype(bool)]
    return configuration_meta(done, frame, _artifacts(of))


@st.cache_resource(max_entries=8, show_spinner=False)
def misfits(of: tuple[str, int], study_id: str) -> pd.DataFrame:
    """The configurations that do not fit their emulated device, smallest need first.

    Columns: run_id, model, quantization, engine, settings, adapter_id, profile, needed, budget (bytes), basis (what is
    known of the need).
    """
    store = shared.get_store()
    figures = store.figure_frame(_MISFIT_KEYS, study_id or None, RunState.DOES_NOT_FIT)
    frame = runs(of, study_id)
    frame = frame[(frame["state"] == RunState.DOES_NOT_FIT) & members(frame["run_id"], figures["run_id"])]
    frame = frame.drop_duplicates("configuration_id", keep="last").set_index("run_id", drop=False)
    by_key = {key: rows.set_index("run_id") for key, rows in figures.groupby("key")}
    for column, key in zip(("needed", "budget"), _MISFIT_KEYS, strict=True):
        frame[column] = frame.index.map(by_key[key]["value"].to_dict()) if key in by_key else pd.NA
    frame["basis"] = frame.index.map(by_key[_MISFIT_KEYS[0]]["source"].to_dict()) if by_key else ""
    return frame.sort_values("needed", kind="stable")


@st.cache_resource(show_spinner=False)
def _latest() -> dict[str, int]:
    """The version that was read last, by store."""
    return {}


def at_hand(of: tuple[str, int]) -> bool:
    """Whether figures of the state ``of`` the store are in memory; else reading them takes a moment."""
    return _latest().get(of[0]) == of[1]
