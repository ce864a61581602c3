"""Measured energy, as far as it can be tried without the hardware: what is found, what is said, how counters count."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, EnergyMeter, Target
from trilemma.meters.zeus_energy import Counter, Hardware, ZeusMeter, explain, look_for_hardware
from trilemma.schema import EnergyCoefficients, Method

PACKAGE = EnergyDomain("energy_j.rapl.package-0", "rapl", "package", Method.MEASURED)
NOTHING = Hardware(nvidia=False, amd=False, rapl=False, rapl_readable=False, apple=False, jetson=False)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A machine with RAPL, as the kernel lays it out."""
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "energy_uj").write_text("123456789\n")
    return tmp_path


def counter(*millijoules: float | None, watts: list[float] | None = None, wraps: bool = False) -> Counter:
    energy = iter(millijoules)
    power = iter(watts or [])
    return Counter(
        PACKAGE,
        (lambda: next(energy)) if millijoules else None,  # type: ignore[arg-type, return-value]
        (lambda: next(power) * 1e3) if watts else None,
        wraps=wraps,
    )


def test_rapl_is_found_where_the_kernel_or_a_container_has_it(sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEUSD_SOCK_PATH", raising=False)
    found = look_for_hardware(sysfs)
    assert (found.rapl, found.rapl_readable) == (True, True)
    (sysfs / "zeus_sys/class/powercap").mkdir(parents=True)
    (sysfs / "sys/class/powercap/intel-rapl:0").rename(sysfs / "moved")
    assert look_for_hardware(sysfs).rapl is False
    (sysfs / "zeus_sys/class/powercap/intel-rapl").mkdir()
    (sysfs / "moved").rename(sysfs / "zeus_sys/class/powercap/intel-rapl/intel-rapl:0")
    assert look_for_hardware(sysfs).rapl is True


def test_counters_that_only_root_may_read_are_said_to_be(sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEUSD_SOCK_PATH", raising=False)
    zone = sysfs / "sys/class/powercap/intel-rapl:0/energy_uj"
    zone.unlink()
    zone.mkdir()  # unreadable even for root, as whom tests may run
    found = look_for_hardware(sysfs)
    assert (found.rapl, found.rapl_readable) == (True, False)
    answer = explain(found)
    assert answer.available is False
    assert "zeusd" in answer.remedy
    assert "trilemma[gpu]" in explain(found, installed=False).remedy
    monkeypatch.setenv("ZEUSD_SOCK_PATH", "/run/zeusd.sock")
    assert look_for_hardware(sysfs).rapl_readable is True


def test_graphics_cards_are_found_by_their_device_files(tmp_path: Path) -> None:
    assert not look_for_hardware(tmp_path).nvidia
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert look_for_hardware(tmp_path).nvidia
    (tmp_path / "dev/kfd").touch()
    assert look_for_hardware(tmp_path).amd


def test_what_is_missing_is_said_with_what_would_help() -> None:
    nothing = explain(NOTHING)
    assert nothing.available is False
    assert "modelled" in nothing.detail
    without_zeus = explain(NOTHING._replace(nvidia=True, rapl=True, rapl_readable=True), installed=False)
    assert without_zeus == (
        False,
        "NVIDIA GPU, RAPL: there, but zeus, which reads it, is not installed",
        "pip install 'trilemma[gpu]'",
    )
    assert "zeus[apple]" in explain(NOTHING._replace(apple=True), installed=False).remedy
    # A card can be read though RAPL cannot: that is worth measuring, and saying.
    half = explain(NOTHING._replace(nvidia=True, rapl=True))
    assert half.available is True
    assert "root only" in half.detail
    assert "zeusd" in half.remedy


def test_a_counter_counts_from_its_first_reading_in_joules() -> None:
    it = counter(5_000_000.0, 5_002_500.0, 5_002_500.0)
    assert [it.read(0.1) for _ in range(3)] == [{PACKAGE.channel: 0.0}, {PACKAGE.channel: 2.5}, {PACKAGE.channel: 2.5}]


def test_a_wrap_that_is_not_noticed_yet_is_left_out() -> None:
    it = counter(1_000.0, 9_000.0, 500.0, 11_000.0, wraps=True)
    assert [it.read(0.1).get(PACKAGE.channel) for _ in range(4)] == [0.0, 8.0, None, 10.0]
    # Elsewhere going back is a fault that must show.
    plain = counter(1_000.0, 9_000.0, 500.0)
    assert [plain.read(0.1)[PACKAGE.channel] for _ in range(3)] == [0.0, 8.0, -0.5]


def test_power_is_handed_on_and_integrated_where_there_is_no_counter() -> None:
    both = counter(0.0, watts=[42.0])
    assert both.read(0.1) == {PACKAGE.channel: 0.0, "power_w.rapl.package-0": 42.0}
    alone = counter(watts=[10.0, 20.0, 20.0])
    assert [alone.read(2.0)[PACKAGE.channel] for _ in range(3)] == [0.0, 30.0, 70.0]


def test_a_device_that_no_longer_answers_is_a_meter_error() -> None:
    meter = ZeusMeter()
    meter._counters.append(counter(0.0, None))
    assert isinstance(meter, EnergyMeter)
    assert meter.domains() == [PACKAGE]
    meter.read(0.1)
    with pytest.raises(MeterError, match=r"energy_j\.rapl\.package-0"):
        meter.read(0.1)


def test_starting_without_counters_says_why_and_asking_imports_nothing() -> None:
    loaded = "zeus" in sys.modules
    available, detail, remedy = ZeusMeter.availability()
    assert detail
    assert ("zeus" in sys.modules) == loaded
    if available:
        pytest.skip("this machine has counters")
    assert remedy
    meter = ZeusMeter()
    expected = "zeus is not installed" if find_spec("zeus") is None else "No energy counter can be read"
    with pytest.raises(MeterError, match=expected):
        meter.start(Target(None, EnergyCoefficients()))
    assert meter.domains() == []
