"""Measured energy, as far as it can be tried without the hardware: what is found and what is said."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, EnergyMeter, Target
from trilemma.meters.counter import Counter
from trilemma.meters.zeus_energy import Hardware, ZeusMeter, _Source, explain, look_for_hardware
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
    without_zeus = explain(NOTHING._replace(rapl=True, rapl_readable=True), installed=False)
    assert without_zeus == (
        False,
        "RAPL: there, but zeus, which reads it, is not installed",
        "pip install 'trilemma[gpu]'",
    )
    assert "zeus[apple]" in explain(NOTHING._replace(apple=True), installed=False).remedy
    # A GPU has a meter of its own.
    assert explain(NOTHING._replace(nvidia=True)) == nothing


def test_a_device_that_no_longer_answers_is_a_meter_error() -> None:
    meter = ZeusMeter()
    readings = iter([0.0, None])
    meter._counters.append(_Source(Counter(PACKAGE), lambda: next(readings)))  # type: ignore[arg-type, return-value]
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
