"""How the requests of a use case come: users or a rate, a sweep, pauses, a recorded trace, spread lengths, limits."""

from __future__ import annotations

import hashlib
from typing import Any

import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.access.roles import Action
from trilemma.errors import TrilemmaError
from trilemma.schema import LatencyLimits
from trilemma.settings import get_settings
from trilemma.workloads import traces

_ARRIVALS = ("Users wait for answers", "Requests come at a rate")
_HELP = {
    "arrival": "Users ask, wait for all of the answer and ask again (closed loop). At a rate, requests come whether or "
    "not earlier ones are answered, as they do to a public service (open loop, Poisson).",
    "sweep": "Measured one after the other, fewest first, until throughput stops growing: 1, 2, 4, 8, 16.",
    "spread": "Standard deviation of prompt and answer lengths over their mean (log-normal). 0: all equal.",
    "limits": "A request that keeps both counts for goodput. Empty: no limit.",
}


def load_form(name: str) -> tuple[dict[str, Any], str]:
    """The fields of a use case's :class:`trilemma.schema.WorkloadSpec` that say how requests come.

    Returns:
        The fields to change, and what is wrong with them; empty if nothing is.
    """
    with st.expander("How requests come, limits and lengths"):
        arrival = st.segmented_control(
            "Arrival", _ARRIVALS, default=_ARRIVALS[0], key=f"w_{name}_arrival", bind="query-params", required=True,
            help=_HELP["arrival"],
        )  # fmt: skip
        by_rate = arrival == _ARRIVALS[1]
        left, middle, right = st.columns(3)
        swept = left.text_input(
            "Requests per second" if by_rate else "Sweep over users",
            key=f"w_{name}_{'rate' if by_rate else 'sweep'}",
            bind="query-params",
            placeholder="1, 2, 4" if by_rate else "1, 2, 4, 8, 16",
            help=_HELP["sweep"],
        )
        found: dict[str, Any] = {}
        values, problem = _numbers(swept, whole=not by_rate)
        if by_rate:
            found = {"rate": values[0] if values else 1.0, "concurrency": 1}
        elif pause := middle.number_input(
            "Pause of a user, s", min_value=0.0, value=0.0, key=f"w_{name}_pause", bind="query-params",
            help="Mean of the exponential time between an answer and the next question.",
        ):  # fmt: skip
            found["think_time_s"] = pause
        if len(values) > 1:
            found["sweep"] = values
        elif values and not by_rate:
            found["concurrency"] = int(values[0])
        spread = right.number_input(
            "Spread of lengths", min_value=0.0, max_value=2.0, value=0.0, step=0.1, key=f"w_{name}_spread",
            bind="query-params", help=_HELP["spread"],
        )  # fmt: skip
        if spread:
            found["length_spread"] = spread
        first, token, upload = st.columns(3)
        ttft_s = first.number_input(
            "First token within, s", min_value=0.001, value=None, format="%.3f", key=f"w_{name}_ttft",
            bind="query-params", placeholder="no limit", help=_HELP["limits"],
        )  # fmt: skip
        tpot_ms = token.number_input(
            "Each further token within, ms", min_value=0.1, value=None, key=f"w_{name}_tpot", bind="query-params",
            placeholder="no limit", help=_HELP["limits"],
        )  # fmt: skip
        if ttft_s or tpot_ms:
            found["limits"] = LatencyLimits(ttft_s=ttft_s, tpot_s=tpot_ms / 1e3 if tpot_ms else None)
        trace, told = _trace(name, upload)
        if trace:
            found["trace"] = trace
        for text in filter(None, (problem, told)):
            st.caption(f":red[:material/error: {shared.plain(text)}]")
    return found, problem or told


def _numbers(text: str, *, whole: bool) -> tuple[tuple[float, ...], str]:
    parts = [part for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
    try:
        values = tuple(sorted({float(part) for part in parts}))
    except ValueError:
        return (), "Write numbers separated by commas."
    if any(not 0 < value <= 4096 for value in values) or (whole and any(value != int(value) for value in values)):
        return (), f"Write {'whole ' if whole else ''}numbers between {'1' if whole else '0'} and 4096."
    return values, ""


def _trace(name: str, where: Any) -> tuple[str, str]:
    """The digest of an uploaded trace, and what is wrong with it."""
    file = where.file_uploader(
        "Recorded trace", type=["jsonl", "json", "ndjson"], key=f"w_{name}_trace",
        help="JSON lines with arrival_s, prompt or prompt_tokens, and output_tokens. Prompts and times replace those "
        "of the use case.",
    )  # fmt: skip
    if file is None:
        return "", ""
    try:
        data, folder = file.getvalue(), get_settings().traces_dir
        if (digest := hashlib.sha256(data).hexdigest()) not in traces.known(folder):
            with entrance.guard().doing(Action.ADD_FILE, f"trace {digest[:12]}", size_bytes=len(data)):
                digest = traces.add(folder, data)
        known = len(traces.load(folder, digest))
        st.caption(
            f"{known:,} requests are recorded; as many of them are asked, from the first on, as *Requests* says."
        )
        return digest, ""
    except TrilemmaError as error:
        return "", str(error)
