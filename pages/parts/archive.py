"""Studies as files: one to download, one to upload."""

from __future__ import annotations

import re

import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.access.roles import Action
from trilemma.archive.format import SUFFIX
from trilemma.archive.read import import_file
from trilemma.archive.write import export_bytes
from trilemma.errors import TrilemmaError
from trilemma.records import StudyRecord


def download(study: StudyRecord) -> None:
    """A button that gives a study with everything that its runs recorded, logs included, as one file."""
    if not entrance.may(Action.SEE_SERVER):
        return
    store = shared.get_store()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", study.spec.name).strip("-.")[:60] or study.id
    st.download_button(
        "Download the study",
        data=entrance.later(lambda: export_bytes(store, study.id)),  # made when it is asked for
        file_name=f"{name}{SUFFIX}",
        mime="application/zip",
        icon=":material/archive:",
        on_click="ignore",
        help="All of it as one file, weights aside: a backup, or for somebody else's Trilemma.",
    )


def upload() -> None:
    """A popover that takes such a file."""
    if not entrance.may(Action.IMPORT):
        return
    with st.popover("Import a study", icon=":material/unarchive:"):
        given = st.file_uploader("A file that “Download the study” or `trilemma studies export` wrote", type="zip")
        if given is None or not st.button("Import it", type="primary"):
            return
        try:
            with entrance.guard().doing(Action.IMPORT, given.name) as store:
                found = import_file(store, given)
        except TrilemmaError as error:
            shared.show_error(error)
            return
        st.success(f"{found.runs} runs, {found.fresh_runs} of them new here.", icon=":material/check:")
        if found.namesakes:
            st.caption(f"Another study has that name, too; this one was made {found.study.created_at:%Y-%m-%d %H:%M}.")
        shared.link("explore", f"Explore {found.study.spec.name}", {"study": found.study.id})
