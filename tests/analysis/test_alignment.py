"""Several runs on one time axis."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.factory import SMOL, artifact, records
from trilemma.analysis.alignment import Start, aligned
from trilemma.schema import Phase


@pytest.fixture
def kept() -> dict[str, list]:
    return records(artifact(SMOL, "Q4_K_M"), random.Random(1), quality=True)


@pytest.mark.parametrize(("start", "phase"), [(Start.LOAD, Phase.LOAD), (Start.SERVING, Phase.SPEED)])
def test_second_zero_is_where_it_is_said_to_be(kept: dict[str, list], start: Start, phase: Phase) -> None:
    run = aligned(kept["samples"], kept["phases"], start)
    assert run is not None
    span = next(span for span in run.spans if span.phase is phase)
    assert span.start_s == 0
    windows = {window.phase: window for window in kept["phases"]}
    speed = windows[Phase.SPEED]
    assert run.served_s == pytest.approx((speed.end_ns - windows[phase].start_ns) / 1e9)
    # The idle machine before is negative time; memory rises to the weights' size once they are loaded.
    memory = next(trace for trace in run.traces if trace.row == "memory")
    loading = next(span.start_s for span in run.spans if span.phase is Phase.LOAD)
    assert memory.seconds[0] < loading
    assert memory.values[memory.seconds < loading - 0.5].max() < memory.values[memory.seconds >= loading + 1].min()


def test_only_the_run_s_own_memory_and_power_are_laid_over_each_other(kept: dict[str, list]) -> None:
    run = aligned(kept["samples"], kept["phases"], Start.LOAD)
    assert run is not None
    assert [(trace.row, trace.modelled) for trace in run.traces] == [("memory", False), ("power", True)]
    power = run.traces[1]
    serving = next(span for span in run.spans if span.phase is Phase.SPEED)
    inside = (power.seconds > serving.start_s + 1) & (power.seconds < serving.end_s - 1)
    assert np.nanmean(power.values[inside]) == pytest.approx(19.6, rel=0.05)


def test_a_run_that_never_served_has_no_place_on_that_axis(kept: dict[str, list]) -> None:
    early = [window for window in kept["phases"] if window.phase in (Phase.IDLE, Phase.LOAD)]
    assert aligned(kept["samples"], early, Start.SERVING) is None
    assert aligned([], kept["phases"], Start.LOAD) is None
    open_ended = [window.model_copy(update={"end_ns": None}) if window is early[-1] else window for window in early]
    run = aligned(kept["samples"], open_ended, Start.LOAD)
    assert run is not None
    assert run.served_s == pytest.approx((kept["samples"][-1].time_ns - early[-1].start_ns) / 1e9)
