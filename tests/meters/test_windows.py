"""Energy, memory and CPU of a window of samples."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trilemma.meters.base import EnergyDomain
from trilemma.meters.windows import (
    EnergyWindow,
    cpu_cores,
    cpu_seconds,
    energy_window,
    idle_power,
    peak_memory,
    peak_rss,
    total_energy,
)
from trilemma.records import Sample
from trilemma.schema import Method, Phase

S = 1_000_000_000
PACKAGE = EnergyDomain("energy_j.rapl.package-0", "rapl", "package", Method.MEASURED)
GPU = EnergyDomain("energy_j.nvml.0", "nvml", "GPU", Method.MEASURED)
MODELLED = EnergyDomain("energy_j.modelled", "modelled", "process tree", Method.MODELLED)


def samples_of(times_s: list[float], phase: Phase = Phase.SPEED, **channels: list[float]) -> list[Sample]:
    """Samples at ``times_s``; ``__`` in a channel's name stands for a dot."""
    return [
        Sample(
            time_ns=round(t * S),
            phase=phase,
            values={name.replace("__", "."): series[i] for name, series in channels.items()},
        )
        for i, t in enumerate(times_s)
    ]


def steady(watts: float, length_s: float = 12.0, domain: EnergyDomain = PACKAGE, hz: float = 10.0) -> list[Sample]:
    """A counter at constant power, the CPU busy with one core."""
    times = [i / hz for i in range(round(length_s * hz) + 1)]
    return [
        Sample(time_ns=round(t * S), phase=Phase.SPEED, values={domain.channel: watts * t, "cpu_s": t}) for t in times
    ]


def reasons(window: EnergyWindow) -> str:
    return " | ".join(window.provenance.reasons)


def refused(window: EnergyWindow) -> bool:
    return window[:3] == (None, None, None) and not window.provenance.valid and bool(window.provenance.reasons)


def test_net_is_gross_less_idle_power_over_the_window() -> None:
    window = energy_window(steady(30.0), 1 * S, 11 * S, PACKAGE, idle_power_w=10.0)
    assert window.gross_j == pytest.approx(300.0)
    assert window.net_j == pytest.approx(200.0)
    assert window.mean_power_w == pytest.approx(20.0)
    assert window.provenance.idle_subtracted is True
    assert window.provenance.window_s == 10.0
    assert (window.provenance.scope, window.provenance.source) == ("package", "rapl")


def test_ends_between_two_readings_are_interpolated() -> None:
    window = energy_window(steady(30.0, hz=1.0), round(1.25 * S), round(9.75 * S), PACKAGE, 0.0)
    assert window.gross_j == pytest.approx(30.0 * 8.5)


def test_the_process_tree_has_no_idle_power_to_subtract() -> None:
    window = energy_window(steady(30.0, domain=MODELLED), 1 * S, 11 * S, MODELLED, idle_power_w=10.0)
    assert window.net_j == window.gross_j == pytest.approx(300.0)
    assert window.provenance.idle_subtracted is False
    assert "process tree: no idle power in it" in window.provenance.reasons
    assert window.provenance.method is Method.MODELLED


def test_without_idle_power_only_gross_energy_is_known() -> None:
    window = energy_window(steady(30.0), 1 * S, 11 * S, PACKAGE, None)
    assert window.net_j is None
    assert window.mean_power_w is None
    assert window.gross_j == pytest.approx(300.0)
    assert "idle power is not known" in reasons(window)


def test_idle_power_is_gross_power() -> None:
    assert idle_power(steady(12.0), 1 * S, 4 * S, PACKAGE) == pytest.approx(12.0)
    assert idle_power(steady(12.0), 1 * S, 4 * S, GPU) is None


def test_a_process_tree_at_rest_draws_nothing_and_that_is_valid() -> None:
    times = [i / 10 for i in range(51)]
    at_rest = samples_of(times, energy_j__modelled=[0.0] * 51, cpu_s=[0.0] * 51)
    assert idle_power(at_rest, 1 * S, 4 * S, MODELLED) == 0.0


@pytest.mark.parametrize("domain", [PACKAGE, MODELLED])
def test_a_zero_where_work_was_done_is_refused(domain: EnergyDomain) -> None:
    window = energy_window(steady(0.0, domain=domain), 1 * S, 11 * S, domain, 0.0)
    assert refused(window)
    assert "stood still" in reasons(window)


def test_a_gap_is_refused_and_named() -> None:
    kept = [s for s in steady(30.0) if not 4.0 < s.time_ns / S < 7.5]
    window = energy_window(kept, 1 * S, 11 * S, PACKAGE, 0.0)
    assert refused(window)
    assert "3.5 s" in reasons(window)
    # The same gap outside the window does no harm.
    assert energy_window(kept, 8 * S, 11 * S, PACKAGE, 0.0).gross_j == pytest.approx(90.0)


def test_a_gap_of_one_channel_counts_though_others_were_read() -> None:
    holed = [
        s if not 4.0 < s.time_ns / S < 7.5 else s.model_copy(update={"values": {"cpu_s": s.values["cpu_s"]}})
        for s in steady(30.0)
    ]
    assert refused(energy_window(holed, 1 * S, 11 * S, PACKAGE, 0.0))


def test_a_missing_domain_is_refused() -> None:
    window = energy_window(steady(30.0), 1 * S, 11 * S, GPU, 0.0)
    assert refused(window)
    assert reasons(window) == "energy_j.nvml.0 was not read"


@pytest.mark.parametrize(
    ("start_s", "end_s", "said"), [(-1, 11, "before the start"), (1, 13, "after the end"), (5, 5, "empty")]
)
def test_a_window_that_the_readings_do_not_reach_is_refused(start_s: int, end_s: int, said: str) -> None:
    window = energy_window(steady(30.0), start_s * S, end_s * S, PACKAGE, 0.0)
    assert refused(window)
    assert said in reasons(window)


def test_a_window_of_a_few_counter_updates_is_refused_and_says_how_many() -> None:
    # A counter that the device renews once a second, read ten times a second.
    times = [i / 10 for i in range(121)]
    coarse = samples_of(times, energy_j__nvml__0=[30.0 * int(t) for t in times], cpu_s=times)
    window = energy_window(coarse, 2 * S, 5 * S, GPU, 0.0)
    assert refused(window)
    assert "3.00 s holds" in reasons(window)
    assert "energy_j.nvml.0" in reasons(window)
    assert energy_window(coarse, 1 * S, 11 * S, GPU, 0.0).gross_j == pytest.approx(300.0, rel=0.1)


def test_power_that_disagrees_is_said_and_then_refused() -> None:
    def checked(watts: float) -> EnergyWindow:
        read = [s.model_copy(update={"values": s.values | {"power_w.rapl.package-0": watts}}) for s in steady(30.0)]
        return energy_window(read, 1 * S, 11 * S, PACKAGE, 0.0)

    assert checked(30.5).provenance.reasons == ()
    noted = checked(33.0)
    assert noted.gross_j == pytest.approx(300.0)
    assert "10% apart" in reasons(noted)
    assert refused(checked(60.0))


def test_domains_are_added_and_one_that_is_missing_spoils_the_sum() -> None:
    both = [s.model_copy(update={"values": s.values | {GPU.channel: 100.0 * s.time_ns / S}}) for s in steady(30.0)]
    windows = [energy_window(both, 1 * S, 11 * S, domain, 10.0) for domain in (PACKAGE, GPU)]
    total = total_energy(windows)
    assert total.gross_j == pytest.approx(1300.0)
    assert total.net_j == pytest.approx(1100.0)
    assert total.mean_power_w == pytest.approx(110.0)
    assert total.provenance.scope == "package + GPU"
    assert total.provenance.idle_subtracted is True
    assert refused(total_energy([windows[0], energy_window(steady(30.0), 1 * S, 11 * S, GPU, 10.0)]))
    assert refused(total_energy([]))


def test_less_than_idle_is_no_net_energy() -> None:
    total = total_energy([energy_window(steady(30.0), 1 * S, 11 * S, PACKAGE, 31.0)])
    assert total.net_j is None
    assert total.gross_j == pytest.approx(300.0)
    assert "net energy is not above zero" in total.provenance.reasons


def test_cpu_of_a_window() -> None:
    assert cpu_seconds(steady(1.0), 2 * S, 5 * S) == pytest.approx(3.0)
    assert cpu_cores(steady(1.0), 2 * S, 5 * S) == pytest.approx(1.0)
    assert cpu_cores(steady(1.0), 2 * S, 15 * S) is None


def test_peak_memory_is_the_highest_pss_of_the_phases_asked_for() -> None:
    def sample(t: int, phase: Phase, **values: float) -> Sample:
        return Sample(time_ns=t * S, phase=phase, values=values)

    samples = [
        sample(0, Phase.LOAD, rss_bytes=900.0, pss_bytes=500.0, uss_bytes=400.0),
        sample(1, Phase.SPEED, rss_bytes=1200.0),
        sample(2, Phase.SPEED, rss_bytes=1000.0, pss_bytes=800.0),
        sample(3, Phase.PERFORMANCE, rss_bytes=9000.0, pss_bytes=8000.0),
    ]
    serving = (Phase.LOAD, Phase.SPEED)
    assert peak_memory(samples, serving) == (800, "pss", 2)
    # Resident memory was higher between two readings of PSS: that stands beside it.
    assert peak_rss(samples, serving) == (1200, "rss", 3)
    assert peak_memory(samples[1:2], serving) == (1200, "rss", 1)
    assert peak_memory(samples, (Phase.UNLOAD,)) is None


few = settings(max_examples=60)
rising = st.lists(
    st.tuples(st.floats(0.05, 2.5), st.floats(0.01, 500.0)), min_size=8, max_size=60
)  # seconds and joules of each step


def build(steps: list[tuple[float, float]], others: dict[str, float] | None = None) -> list[Sample]:
    t = joules = 0.0
    samples = []
    for seconds, step in steps:
        t += seconds
        joules += step
        samples.append(
            Sample(time_ns=round(t * S), phase=Phase.SPEED, values={PACKAGE.channel: joules} | (others or {}))
        )
    return samples


@few
@given(steps=rising, cut=st.floats(0.1, 0.9))
def test_energy_of_adjacent_windows_adds_up(steps: list[tuple[float, float]], cut: float) -> None:
    samples = build(steps)
    start, end = samples[0].time_ns, samples[-1].time_ns
    middle = round(start + (end - start) * cut)
    whole, first, second = (
        energy_window(samples, a, b, PACKAGE, 3.0).gross_j for a, b in ((start, end), (start, middle), (middle, end))
    )
    assert whole is not None
    assume(first is not None and second is not None)
    assert first is not None
    assert second is not None
    assert first + second == pytest.approx(whole, rel=1e-6)


@few
@given(steps=rising, at=st.integers(1, 7), fall=st.floats(0.001, 1e6))
def test_a_counter_that_goes_back_is_never_a_number(steps: list[tuple[float, float]], at: int, fall: float) -> None:
    samples = build([*steps[:at], (steps[at][0], -fall), *steps[at + 1 :]])
    window = energy_window(samples, samples[0].time_ns, samples[-1].time_ns, PACKAGE, 0.0)
    assert refused(window)
    assert "went back" in reasons(window)


@few
@given(steps=rising, at=st.integers(1, 7), gap=st.floats(3.01, 1000.0))
def test_a_long_gap_is_never_a_number(steps: list[tuple[float, float]], at: int, gap: float) -> None:
    samples = build([*steps[:at], (gap, steps[at][1]), *steps[at + 1 :]])
    assert refused(energy_window(samples, samples[0].time_ns, samples[-1].time_ns, PACKAGE, 0.0))


@few
@given(steps=rising, names=st.permutations(["cpu_s", "rss_bytes", "load1", "energy_j.nvml.0"]))
def test_other_channels_and_their_order_do_not_matter(steps: list[tuple[float, float]], names: list[str]) -> None:
    alone = build(steps)
    among = [
        s.model_copy(update={"values": dict.fromkeys(names[:2], 1.0) | s.values | dict.fromkeys(names[2:], 2.0)})
        for s in alone
    ]
    ends = (alone[0].time_ns, alone[-1].time_ns)
    assert energy_window(alone, *ends, PACKAGE, 1.0) == energy_window(among, *ends, PACKAGE, 1.0)


@few
@given(steps=rising, bad=st.sampled_from([float("nan"), float("inf")]))
def test_a_reading_that_is_not_a_number_is_refused(steps: list[tuple[float, float]], bad: float) -> None:
    samples = build(steps)
    samples[3] = samples[3].model_copy(update={"values": {PACKAGE.channel: bad}})
    assert refused(energy_window(samples, samples[0].time_ns, samples[-1].time_ns, PACKAGE, 0.0))
