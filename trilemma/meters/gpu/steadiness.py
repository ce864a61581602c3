"""What disturbed a run on its GPUs: clocks held down, and others at work. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from trilemma.meters.gpu import throttle
from trilemma.meters.gpu.driver import label
from trilemma.meters.windows import channel
from trilemma.records import PhaseWindow, Sample

SHARE = 0.02
"""A clock held down for less than this share of the window is ignored."""
BUSY_BEFORE = 0.05
"""Mean utilisation before the run from which on somebody else was at work."""
LIMIT_DROP = 0.01
"""A power limit that falls by less than this share has not changed."""


def throttle_shares(samples: Sequence[Sample], start_ns: int, end_ns: int, gpu: str) -> dict[str, float] | None:
    """Share of a window in which ``gpu``'s clock was held down, by reason; ``any`` for all together.

    Each reading stands for the time until the next. None where the GPU does not say.
    """
    times, values = channel(samples, f"gpu_throttle_bits.{gpu}", start_ns, end_ns)
    if len(times) < 2:
        return None
    inside = np.clip(np.append(times, end_ns), start_ns, end_ns)
    spans = np.diff(inside)
    total = float(spans.sum())
    if total <= 0:
        return None
    found: dict[str, float] = {}
    for value, span in zip(values.astype(np.int64).tolist(), spans.tolist(), strict=True):
        names = throttle.reasons(value)
        for name in (*names, "any") if names else ():
            found[name] = found.get(name, 0.0) + span / total
    return found


def gpu_disturbances(
    samples: Sequence[Sample],
    windows: Sequence[PhaseWindow],
    gpus: Collection[str],
    idle: PhaseWindow | None = None,
) -> tuple[str, ...]:
    """What disturbed ``windows`` on the GPUs that the run used, a sentence each.

    A card at its own power limit is no disturbance: it is so each time, and is stated with ``gpu_throttled``. A limit
    that was lowered after the run began is one, and so is every other reason to hold the clock down.

    Args:
        samples: Of the whole run.
        windows: The phases whose speed and energy count; one that has not ended is left out.
        gpus: Ids of the GPUs.
        idle: When the run had not begun yet.
    """
    found = [sentence for gpu in sorted(gpus) for sentence in _busy_before(samples, gpu, idle)]
    for window in windows:
        if window.end_ns is None or window.end_ns <= window.start_ns:
            continue
        name = f"{window.phase.value} ({window.subject})" if window.subject else window.phase.value
        for gpu in sorted(gpus):
            shares = throttle_shares(samples, window.start_ns, window.end_ns, gpu) or {}
            for reason, share in shares.items():
                if reason != "any" and reason not in throttle.CONFIGURED_NAMES and share >= SHARE:
                    found.append(f"{label(gpu)} was throttled for {share:.0%} of {name}: {reason}")
            found += _limit_lowered(samples, window, gpu, name)
    return tuple(found)


def _busy_before(samples: Sequence[Sample], gpu: str, idle: PhaseWindow | None) -> list[str]:
    if idle is None or idle.end_ns is None:
        return []
    _, values = channel(samples, f"gpu_utilization.{gpu}", idle.start_ns, idle.end_ns)
    mean = float(np.mean(values)) if len(values) else 0.0
    return [f"{label(gpu)} was {mean:.0%} busy before the run began"] if mean >= BUSY_BEFORE else []


def _limit_lowered(samples: Sequence[Sample], window: PhaseWindow, gpu: str, name: str) -> list[str]:
    limit = f"gpu_power_limit_w.{gpu}"
    first = next((sample.values[limit] for sample in samples if limit in sample.values), None)
    _, watts = channel(samples, limit, window.start_ns, window.end_ns or window.start_ns)
    if first is None or not len(watts) or float(watts.min()) >= first * (1 - LIMIT_DROP):
        return []
    return [
        f"the power limit of {label(gpu)} was lowered from {first:.0f} W to {watts.min():.0f} W before or during {name}"
    ]
