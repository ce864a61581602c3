"""Energy of two GPUs over a window: valid alone and together, or not, with the reason; throttling in sentences."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trilemma.meters.base import EnergyDomain
from trilemma.meters.gpu.steadiness import gpu_disturbances, throttle_shares
from trilemma.meters.windows import EnergyWindow, energy_window, total_energy
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Method, Phase

S = 1_000_000_000
GPUS = [EnergyDomain(f"energy_j.nvml.{i}", "nvml", f"GPU {i}", Method.MEASURED, device=str(i)) for i in (0, 1)]
WINDOW = PhaseWindow(phase=Phase.SPEED, subject="short_chat", start_ns=1 * S, end_ns=11 * S)
Change = Callable[[float, dict[str, float]], None]


def samples(change: Change = lambda t, values: None, hz: float = 10.0, length_s: float = 12.0) -> list[Sample]:
    """GPU 0 at 300 W and GPU 1 at 200 W, counters moving every 100 ms, power sampled beside them."""
    found = []
    for tick in range(round(length_s * hz) + 1):
        t = tick / hz
        counted = int(t * 10 + 1e-6) / 10
        values = {"energy_j.nvml.0": 300 * counted, "energy_j.nvml.1": 200 * counted, "cpu_s": t}
        values |= {"power_w.nvml.0": 300.0, "power_w.nvml.1": 200.0}
        change(t, values)
        found.append(Sample(time_ns=round(t * S), phase=Phase.SPEED, values=values))
    return found


def both(found: list[Sample], start: float = 1, end: float = 11) -> EnergyWindow:
    return total_energy([energy_window(found, round(start * S), round(end * S), gpu, 50.0) for gpu in GPUS])


def test_two_gpus_add_up_with_their_scopes() -> None:
    window = both(samples())
    assert window.gross_j == pytest.approx(5000)
    assert window.net_j == pytest.approx(4000)
    assert window.provenance.scope == "GPU 0 + GPU 1"
    assert window.provenance.idle_subtracted is True


def lose(t: float, values: dict[str, float]) -> None:
    if t > 5:
        del values["energy_j.nvml.1"]


def gap(t: float, values: dict[str, float]) -> None:
    if 4 < t < 7.5:
        del values["energy_j.nvml.1"]


def back(t: float, values: dict[str, float]) -> None:
    if t > 5:
        values["energy_j.nvml.1"] -= 900


def stuck(t: float, values: dict[str, float]) -> None:
    values["energy_j.nvml.1"] = 77.0


def contradict(t: float, values: dict[str, float]) -> None:
    values["power_w.nvml.1"] = 20.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lose, "energy_j.nvml.1 was not read after the end of the window"),
        (lambda t, values: values.pop("energy_j.nvml.1"), "energy_j.nvml.1 was not read"),
        (gap, "energy_j.nvml.1 was not read for 3."),
        (back, "energy_j.nvml.1 went back by"),
        (stuck, "energy_j.nvml.1 stood still while work was done"),
        (contradict, "integrated power 200 J"),
    ],
)
def test_one_gpu_at_fault_makes_the_sum_unknown_and_says_which(change: Change, reason: str) -> None:
    window = both(samples(change))
    assert (window.net_j, window.gross_j, window.provenance.valid) == (None, None, False)
    assert reason in " | ".join(window.provenance.reasons)


def test_a_window_of_a_few_counter_updates_is_too_short() -> None:
    found = samples(hz=50)
    window = both(found, 5.0, 5.3)
    assert not window.provenance.valid
    assert "updates of energy_j.nvml.0" in window.provenance.reasons[0]
    assert both(found, 5.0, 6.0).gross_j == pytest.approx(500, rel=0.05)


def test_a_counter_whose_joules_are_not_the_runs_is_no_energy() -> None:
    shared = EnergyDomain("energy_j.nvml.0", "nvml", "GPU 0", Method.MEASURED, device="0", fault="shared")
    window = energy_window(samples(), 1 * S, 11 * S, shared, 50.0)
    assert (window.gross_j, window.provenance.reasons) == (None, ("shared",))


def bits(value: float, start: float, end: float, gpu: str = "1") -> Change:
    def change(t: float, values: dict[str, float]) -> None:
        values["gpu_throttle_bits.0"] = 0.0
        values["gpu_throttle_bits.1"] = 0.0
        values["gpu_power_limit_w.1"] = 400.0
        if start <= t < end:
            values[f"gpu_throttle_bits.{gpu}"] = value

    return change


def test_heat_is_a_disturbance_with_its_share_and_name() -> None:
    found = samples(bits(0x20, 2.0, 5.4))
    assert gpu_disturbances(found, [WINDOW], ("0", "1")) == ("GPU 1 was throttled for 34% of speed (short_chat): heat",)
    assert gpu_disturbances(found, [WINDOW], ("0",)) == (), "the run did not use GPU 1"


def test_what_lies_outside_the_window_or_is_short_does_not_count() -> None:
    assert gpu_disturbances(samples(bits(0x20, 11.2, 12.0)), [WINDOW], ("1",)) == ()
    assert gpu_disturbances(samples(bits(0x20, 5.0, 5.1)), [WINDOW], ("1",)) == ()
    assert gpu_disturbances(samples(bits(0x1, 2.0, 9.0)), [WINDOW], ("1",)) == ()
    assert throttle_shares(samples(), 1 * S, 11 * S, "1") is None


def test_a_power_cap_is_stated_but_no_disturbance_unless_the_limit_was_lowered() -> None:
    capped = samples(bits(0x4, 2.0, 9.0))
    assert throttle_shares(capped, 1 * S, 11 * S, "1") == pytest.approx({"power cap": 0.7, "any": 0.7})
    assert gpu_disturbances(capped, [WINDOW], ("1",)) == ()

    def lowered(t: float, values: dict[str, float]) -> None:
        bits(0x4, 6.0, 12.0)(t, values)
        if t >= 6:
            values["gpu_power_limit_w.1"] = 250.0

    (sentence,) = gpu_disturbances(samples(lowered), [WINDOW], ("1",))
    assert "power limit of GPU 1 was lowered from 400 W to 250 W" in sentence


def test_a_gpu_that_was_busy_before_the_run_is_told() -> None:
    idle = [
        Sample(time_ns=i * S // 10, phase=Phase.IDLE, values={"gpu_utilization.0": 0.2, "gpu_utilization.1": 0.0})
        for i in range(10)
    ]
    before = PhaseWindow(phase=Phase.IDLE, start_ns=0, end_ns=S)
    assert gpu_disturbances(idle, [], ("0", "1"), before) == ("GPU 0 was 20% busy before the run began",)
