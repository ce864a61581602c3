"""CUDA_VISIBLE_DEVICES, as CUDA reads it; throttle bits, as NVML and AMD SMI give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trilemma.errors import MeterError
from trilemma.meters.gpu import throttle
from trilemma.meters.gpu.nvml import in_first_pid_namespace
from trilemma.meters.gpu.rocm import bits_of
from trilemma.meters.gpu.visible import Card, visible

A, B = Card("A100", "GPU-aaaa1111"), Card("A100", "GPU-bbbb2222")
SLICED = Card("A100", "GPU-cccc3333", ("MIG-1", "MIG-2"))
T4 = Card("T4", "GPU-dddd4444")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, [(0, None), (1, None), (2, 0), (2, 1)]),
        ("", []),
        ("1,0", [(1, None), (0, None)]),
        (" 1 , 1", [(1, None)]),
        ("0,-1,1", [(0, None)]),
        ("0,9,1", [(0, None)]),
        ("GPU-bbbb", [(1, None)]),
        ("GPU-", []),
        ("MIG-2", [(2, 1)]),
        ("MIG-2,MIG-1", [(2, 1), (2, 0)]),
        ("2", [(2, 0), (2, 1)]),
        ("nonsense", []),
    ],
)
def test_what_is_visible(text: str | None, found: list[tuple[int, int | None]]) -> None:
    environment = {} if text is None else {"CUDA_VISIBLE_DEVICES": text}
    assert visible([A, B, SLICED], environment) == found


def test_numbers_of_different_cards_are_refused_unless_their_order_is_known() -> None:
    with pytest.raises(MeterError, match="PCI_BUS_ID"):
        visible([A, T4], {"CUDA_VISIBLE_DEVICES": "0"})
    ordered = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible([A, T4], ordered) == [(1, None)]
    assert visible([A, T4], {"CUDA_VISIBLE_DEVICES": T4.uuid}) == [(1, None)]


def test_throttle_reasons_have_names_and_idling_is_none() -> None:
    assert throttle.reasons(0) == throttle.reasons(0x1) == throttle.reasons(0x2 | 0x100) == ()
    assert throttle.reasons(0x4 | 0x20) == ("power cap", "heat")
    assert throttle.reasons(0x8 | 0x40) == ("heat, hardware slowdown",)
    assert throttle.reasons(0x8) == ("hardware slowdown",)
    pynvml = pytest.importorskip("pynvml")
    assert pynvml.nvmlClocksThrottleReasonAll == throttle.THROTTLED | 0x1 | 0x2 | 0x100


def test_amds_violations_become_the_same_bits() -> None:
    assert bits_of({"active_ppt_pwr": True, "active_vr_thrm": False}) == throttle.POWER_CAP
    assert bits_of({"active_vr_thrm": True, "active_hbm_thrm": True}) == throttle.HEAT
    assert bits_of({"active_ppt_pwr": False}) == 0
    assert bits_of({"active_ppt_pwr": "N/A"}) is None


def test_the_first_pid_namespace_is_told_by_its_inode(tmp_path: Path) -> None:
    (tmp_path / "pid").touch()
    assert not in_first_pid_namespace(tmp_path / "pid")
    assert not in_first_pid_namespace(tmp_path / "nothing")
    if Path("/proc/self/ns/pid").exists():
        first = str(Path("/proc/self/ns/pid").readlink()) == "pid:[4026531836]"
        assert in_first_pid_namespace() == first
