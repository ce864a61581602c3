"""What counts as a disturbance, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from trilemma.meters.steadiness import Thresholds, disturbances, mean_rate
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Phase

S = 1_000_000_000
SPEED = PhaseWindow(phase=Phase.SPEED, subject="short_chat", start_ns=5 * S, end_ns=25 * S)
NONE: Callable[[float], float] = lambda t: 0.0  # noqa: E731


def machine(
    others: Callable[[float], float] = NONE,
    steal: Callable[[float], float] = NONE,
    clock: Callable[[float], float] | None = None,
    read: Callable[[float], bool] = lambda t: True,
    cores: float = 2.0,
    noise: float = 0.0,
    dashboard: Callable[[float], float] | None = None,
) -> list[Sample]:
    """30 s at 10 Hz: 5 s idle, 20 s of speed, 5 s after it."""
    rng = np.random.default_rng(7)
    samples = []
    for i in range(301):
        t = i / 10
        phase = Phase.IDLE if t < 5 else Phase.SPEED if t < 25 else Phase.UNLOAD
        values = {
            "others_cpu_cores": others(t) + noise * float(rng.choice([-1.0, 0.0, 1.0])),
            "steal_fraction": steal(t),
            "cpu_s": cores * max(0.0, t - 5),
        }
        if dashboard is not None:
            values["dashboard_cpu_s"] = dashboard(t)
        if clock is not None:
            values["frequency_hz"] = clock(t)
        if read(t):
            samples.append(Sample(time_ns=round(t * S), phase=phase, values=values))
    return samples


def test_a_quiet_machine_is_not_disturbed() -> None:
    assert disturbances(machine(clock=lambda t: 3e9), [SPEED], cores=2) == ()


def test_the_grain_of_the_kernels_clock_is_no_disturbance() -> None:
    assert disturbances(machine(others=lambda t: 0.03, noise=0.2), [SPEED]) == ()


def test_steady_use_by_others_is_named_with_its_size() -> None:
    (said,) = disturbances(machine(others=lambda t: 0.3), [SPEED], cores=2)
    assert said == (
        "other processes used 0.30 cores on average during speed (short_chat) (20.0 s; 0.30 before the run)"
    )


def test_a_burst_is_named_with_its_length() -> None:
    (said,) = disturbances(machine(others=lambda t: 0.8 if 9 < t <= 12 else 0.0), [SPEED], cores=2)
    assert said.startswith("other processes used 0.")
    assert said.endswith("s during speed (short_chat)")
    assert 2.0 <= float(said.split(" for ")[1].split()[0]) <= 4.0


def test_what_trilemmas_own_dashboard_took_of_it_is_named() -> None:
    (said,) = disturbances(machine(others=lambda t: 0.8, dashboard=lambda t: 0.7 * t), [SPEED], cores=2)
    assert said.startswith(
        "other processes used 0.80 cores on average, of which Trilemma's own dashboard 0.70, during speed (short_chat)"
    )


def test_what_the_dashboard_took_of_a_burst_is_what_it_took_then() -> None:
    burst = lambda t: 1.5 if 9 < t <= 12 else 0.0  # noqa: E731
    samples = machine(others=burst, dashboard=lambda t: min(3.0, max(0.0, t - 9)))
    (said,) = disturbances(samples, [SPEED], cores=2, thresholds=Thresholds(others_cores=1))
    assert said.startswith("other processes used 1.")
    assert 0.8 < float(said.split("dashboard ")[1].split(",")[0]) <= 1.01


def test_the_dashboard_alone_disturbs_sooner_than_others_who_are_read_less_finely() -> None:
    def watched(cores: float, used: float = 2.0) -> list[Sample]:
        return machine(others=lambda t: cores, noise=0.2, dashboard=lambda t: cores * t, cores=used)

    (said,) = disturbances(watched(0.06), [SPEED], cores=2)
    assert said == "Trilemma's own dashboard used 0.06 cores on average during speed (short_chat) (20.0 s)"
    assert disturbances(watched(0.005), [SPEED], cores=2) == ()
    assert disturbances(watched(0.06), [SPEED], cores=3) == ()  # it may use half of the cores that the run leaves idle
    assert disturbances(watched(0.04, used=1.85), [SPEED], cores=2), (
        "where its threads wait for each other, none is idle"
    )
    assert disturbances(machine(others=lambda t: 0.06, noise=0.2), [SPEED], cores=2) == ()


def test_a_short_blip_is_ignored() -> None:
    assert disturbances(machine(others=lambda t: 1.0 if 9 < t <= 9.6 else 0.0), [SPEED], cores=2) == ()


def test_what_happens_outside_the_window_does_not_count() -> None:
    assert disturbances(machine(others=lambda t: 0.0 if 5 < t <= 25.1 else 2.0), [SPEED], cores=2) == ()


def test_others_may_use_cores_that_the_run_leaves_idle() -> None:
    busy = machine(others=lambda t: 1.0, cores=2.0)
    assert disturbances(busy, [SPEED], cores=8) == ()
    assert disturbances(busy, [SPEED], cores=2)
    assert disturbances(busy, [SPEED])


def test_steal_is_named() -> None:
    (said,) = disturbances(machine(steal=lambda t: 0.08), [SPEED])
    assert said == "the hypervisor gave 8% of the CPU time to other machines during speed (short_chat)"
    assert disturbances(machine(steal=lambda t: 0.02), [SPEED]) == ()


def test_a_falling_clock_is_named_and_a_rise_from_idle_is_not() -> None:
    (said,) = disturbances(machine(clock=lambda t: 3.0e9 if t < 18 else 2.4e9), [SPEED])
    assert "fell by 20% for 7.1 s" in said
    assert disturbances(machine(clock=lambda t: 1.2e9 if t < 5 else 3e9), [SPEED]) == ()


def test_a_machine_that_kept_the_sampler_waiting_is_named() -> None:
    (said,) = disturbances(machine(read=lambda t: not 9 < t < 12), [SPEED])
    assert said == "the machine was not read for 3.0 s during speed (short_chat)"


def test_windows_that_have_not_ended_are_left_out_and_each_is_named() -> None:
    other = SPEED.model_copy(update={"subject": "long_answer"})
    found = disturbances(machine(others=lambda t: 1.0), [SPEED, other, SPEED.model_copy(update={"end_ns": None})])
    assert len(found) == 2
    assert ["short_chat" in found[0], "long_answer" in found[1]] == [True, True]


def test_thresholds_can_be_set_and_are_checked() -> None:
    assert disturbances(machine(others=lambda t: 0.3), [SPEED], thresholds=Thresholds(others_cores=0.5)) == ()
    with pytest.raises(ValidationError):
        Thresholds(others_cores=0)


def test_the_mean_of_a_rate_is_weighted_by_time() -> None:
    samples = [
        Sample(time_ns=t * S, phase=Phase.SPEED, values={"others_cpu_cores": value})
        for t, value in ((0, 9.0), (1, 1.0), (4, 0.0))
    ]
    assert mean_rate(samples, "others_cpu_cores", 0, 4 * S) == pytest.approx(0.25)
    assert mean_rate(samples, "load1", 0, 4 * S) is None
