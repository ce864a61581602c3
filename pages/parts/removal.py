"""What takes a study away for good."""

from __future__ import annotations

import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.access.roles import Action
from trilemma.errors import TrilemmaError
from trilemma.records import SAMPLE, SampleFacts
from trilemma.schema import RunState
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.study import delete


def remove_foreign(study_id: str, facts: SampleFacts) -> None:
    """A popover that removes the sample study, or the imported one that is shown."""
    if facts.imported:
        if study_id:
            deletion(shared.get_store(), study_id, quiet=True)
    elif entrance.may(Action.CHANGE_SAMPLE):
        with st.popover("Remove the sample", type="tertiary"):
            st.markdown("What you measured yourself stays. `trilemma sample add` brings the sample back.")
            if st.button("Remove it", type="primary"):
                with entrance.guard().doing(Action.CHANGE_SAMPLE, SAMPLE) as changed:
                    changed.remove_sample()
                st.rerun()


def deletion(store: Store, study_id: str, *, quiet: bool = False) -> None:
    """A popover that deletes a study, and says before what goes with it; ``quiet`` makes it a text."""
    study = store.study(study_id)
    if not entrance.may(Action.DELETE_STUDY, store.created_by("study", study.id)):
        return
    with st.popover("Delete the study", icon=":material/delete:", type="tertiary" if quiet else "secondary"):
        count = len(store.runs_only_in(study.id))
        runs = f"{count} run{'' if count == 1 else 's'}"
        st.markdown(f"**Deletes {shared.plain(study.spec.name)} and everything that its {runs} recorded, for good.**")
        if (shared_runs := sum(study.runs_by_state.values()) - count) > 0:
            st.markdown(f"{shared_runs} more, which another study has too, {'stays' if shared_runs == 1 else 'stay'}.")
        if study.runs_by_state.get(RunState.RUNNING):
            st.markdown("One of its runs is being measured: cancel it, or wait for its end.")
        elif st.button("Delete it", type="primary", key=f"delete_study_{study.id}"):
            try:
                with entrance.guard().doing(Action.DELETE_STUDY, study.id, detail=study.spec.name) as changed:
                    delete(changed, study.id, get_settings().logs_dir)
            except TrilemmaError as error:
                shared.show_error(error)
            else:
                st.rerun()
