"""Audit: who did what?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.records import Outcome

_SHOWN = 500
_OUTCOMES = {"All": None, "Refused": Outcome.REFUSED, "Failed": Outcome.FAILED}


def page() -> None:
    """The log, the newest first; a table shows texts letter for letter."""
    shared.heading("audit")
    guard = entrance.guard()
    choice = st.segmented_control(
        "Outcome", list(_OUTCOMES), default="All", required=True, key="audit_outcome", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    entries = guard.audit(_SHOWN, _OUTCOMES[choice or "All"])
    if not entries:
        st.caption("Nothing is in the log.")
        return
    frame = pd.DataFrame(
        {
            "Time, UTC": [entry.at for entry in entries],
            "Who": [entry.who for entry in entries],
            "Role": [entry.role for entry in entries],
            "Action": [entry.action for entry in entries],
            "Subject": [entry.subject for entry in entries],
            "Outcome": [entry.outcome.value for entry in entries],
            "Why": [entry.detail for entry in entries],
        }
    )
    st.dataframe(
        frame, hide_index=True, height="content" if len(frame) <= 20 else 720, alt=f"{len(frame)} entries of the log.",
        column_config={"Time, UTC": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone="UTC")},
    )  # fmt: skip
    if len(entries) == _SHOWN:
        st.caption(f"The latest {_SHOWN}; `trilemma audit` lists more.")


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()
