"""What is not in Explore's chart because it does not fit its emulated device, with the figure it needed."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts.explore_filters import Chosen
from trilemma.analysis.format import BLANK, scale_for
from trilemma.analysis.points import varying_settings

_SHOWN = 200


def misfit_list(misfits: pd.DataFrame, chosen: Chosen) -> None:
    """The list, under the filters of the chart; nothing without any. A click on a row opens its run."""
    for column, wanted in chosen.filters.items():
        if wanted:
            misfits = misfits[misfits[column].isin(wanted)]
    if misfits.empty:
        return
    one = len(misfits) == 1
    st.markdown("#### Does not fit")
    st.caption(
        f"{len(misfits):,} {'configuration needs' if one else 'configurations need'} more memory than the emulated "
        f"device has, and {'is' if one else 'are'} in no chart. Pick one to see its run."
    )
    listed = misfits.head(_SHOWN)
    scale = scale_for([*listed["needed"], *listed["budget"]], "B")
    frame = pd.DataFrame(
        {
            "Model": listed["model"].fillna("no longer in the catalog"),
            "Quantization": listed["quantization"].fillna(""),
            "Settings": varying_settings(listed.assign(adapter=listed["adapter_id"])),
            f"Needs, {scale.unit}": (listed["needed"].astype(float) / scale.factor),
            f"Device has, {scale.unit}": (listed["budget"].astype(float) / scale.factor),
            "What is known": listed["basis"],
        }
    )
    config = {name: st.column_config.NumberColumn(format="%.3g") for name in frame.columns if scale.unit in name}
    event = st.dataframe(
        frame, hide_index=True, key="explore_misfits", on_select="rerun", selection_mode="single-row",
        column_config=config, height="content" if len(frame) <= 10 else 390,
        alt="Configurations that do not fit their emulated device", placeholder=BLANK,
    )  # fmt: skip
    if len(misfits) > _SHOWN:
        st.caption(f"The first {_SHOWN} of {len(misfits):,}.")
    if (rows := event["selection"]["rows"]) and rows[0] < len(listed):
        shared.go("run", {"id": str(listed["run_id"].iloc[rows[0]])})
