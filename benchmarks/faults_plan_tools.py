"""What the fault campaign has to try, and on which grounds it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.faults_tools import Fault

FAULTS = 500
_EACH_S = {"cluster": 40.0}
"""What a fault takes on grounds where it is much longer than the usual second or two."""
NAMED: Mapping[str, tuple[str, ...]] = {
    "kill -9 of any process": (
        "worker killed",
        "run killed",
        "worker and run killed",
        "engine killed",
        "dashboard killed",
        "serve killed",
        "worker of serve killed",
    ),
    "disk full at any write": ("disk full",),
    "a database that locks": ("database locked", "database locked for long", "tables locked"),
    "a database that drops": ("connections dropped",),
    "a database that is restarted": ("server crashed", "server restarted"),
    "clock jumps": ("clock jump",),
    "a node that vanishes and returns": (
        "node vanished and returned",
        "idle node vanished and returned",
        "node cut off for a while",
        "node cut off for long",
    ),
    "OOM kill": ("out of memory, killed by the kernel",),
    "a hung engine": ("hung engine",),
    "two workers started by mistake": ("second worker",),
    "power-cut durability of the store": ("power cut",),
}
"""What the campaign is asked to try, and the kinds of faults that are it, whether or not any ground has them."""
GROUNDS: dict[str, Mapping[str, int]] = {
    "sqlite": {
        "worker killed": 36,
        "run killed": 30,
        "worker and run killed": 24,
        "stopped and continued": 34,
        "second worker": 26,
        "database locked": 36,
        "database locked for long": 2,
        "clock jump": 40,
    },
    "postgres": {
        "worker killed": 8,
        "run killed": 8,
        "connections dropped": 30,
        "server crashed": 14,
        "server restarted": 10,
        "tables locked": 16,
    },
    "full disk": {"disk full": 60},
    "engine": {
        "worker killed": 6,
        "run killed": 8,
        "engine killed": 24,
        "stopped and continued": 6,
        "stopped for too long": 4,
        "hung engine": 12,
        "out of memory, killed by the kernel": 10,
        "out of memory, refused": 6,
    },
    "serve": {"dashboard killed": 6, "serve killed": 6, "worker of serve killed": 6},
    "power": {"power cut": 120},
    "cluster": {
        "node vanished and returned": 5,
        "idle node vanished and returned": 1,
        "node cut off for a while": 2,
        "node cut off for long": 2,
    },
    "llama.cpp": {"engine killed": 3, "run killed": 3, "stopped and continued": 2},
}


def chosen(share: float, only: str) -> dict[str, dict[str, int]]:
    """How many faults of each kind hit each ground."""
    return {
        name: {kind: max(1, round(count * share)) for kind, count in counts.items()}
        for name, counts in GROUNDS.items()
        if only in name
    }


def missing(faults: Iterable[Fault]) -> list[str]:
    """The kinds of which there was no fault, those of grounds and those that are asked for."""
    kinds = {kind for named in NAMED.values() for kind in named} | {kind for on in GROUNDS.values() for kind in on}
    return sorted(kinds - {fault.kind for fault in faults})


def longest_first(plan: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Grounds in the order in which they are begun, so that none is left alone at the end."""
    return sorted(plan, key=lambda name: -sum(plan[name].values()) * _EACH_S.get(name, 1.5))
