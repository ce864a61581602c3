"""Units that a column of another tool's table may be in, and what they are of ours."""

from __future__ import annotations

from trilemma.errors import InteropError
from trilemma.figures import figure

_UNITS: dict[str, dict[str, float]] = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0},
    "B": {
        "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    },
    "J": {"J": 1.0, "mJ": 1e-3, "kJ": 1e3, "Wh": 3600.0, "kWh": 3.6e6},
    "W": {"W": 1.0, "mW": 1e-3, "kW": 1e3},
    "": {"": 1.0, "%": 0.01},
    "-": {"-": 1.0, "%": 0.01},
}  # fmt: skip


def factor(name: str, unit: str | None) -> float:
    """What a number in ``unit`` is multiplied with to be in the unit of the figure ``name``; 1 for its own or None.

    Raises:
        InteropError: the figure is never in that unit.
    """
    own = figure(name).unit
    known = _UNITS.get(own, {own: 1.0})
    if unit is None:
        return 1.0
    if unit not in known:
        raise InteropError(
            f"{name} cannot be in {unit[:20]!r}.", f"Its units: {', '.join(one or 'none' for one in known)}."
        )
    return known[unit]
