"""Why a GPU's clock is held down, as bits and in words.

The bits are NVML's clocks event reasons (NVML API reference, ``nvmlClocksEventReasons``); AMD's violation status is
turned into the same. An idle GPU, clocks that somebody set and a display's clock are no throttling.
"""

from __future__ import annotations

POWER_CAP = 0x4
HARDWARE_SLOWDOWN = 0x8
SYNC_BOOST = 0x10
HEAT = 0x20
HARDWARE_HEAT = 0x40
POWER_BRAKE = 0x80
BOARD_LIMIT = 0x200
RELIABILITY = 0x400

CONFIGURED = POWER_CAP | BOARD_LIMIT
"""The card at its own power limit. Under load that is how most cards work, every time: no disturbance, but stated."""
NAMES = {
    POWER_CAP: "power cap",
    HARDWARE_SLOWDOWN: "hardware slowdown",
    SYNC_BOOST: "sync boost",
    HEAT: "heat",
    HARDWARE_HEAT: "heat, hardware slowdown",
    POWER_BRAKE: "power brake",
    BOARD_LIMIT: "board limit",
    RELIABILITY: "voltage limit",
}
CONFIGURED_NAMES = tuple(name for bit, name in NAMES.items() if bit & CONFIGURED)
THROTTLED = sum(NAMES)
"""All bits that hold the clock down."""


def reasons(bits: int) -> tuple[str, ...]:
    """The names of what ``bits`` say; empty when nothing holds the clock down."""
    if bits & (HARDWARE_HEAT | POWER_BRAKE):
        bits &= ~HARDWARE_SLOWDOWN  # set along with either, and less exact
    return tuple(name for bit, name in NAMES.items() if bits & bit)
