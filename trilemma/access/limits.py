"""What one person may take of the queue, the device and the disk."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from trilemma.access.rules import Limits
from trilemma.analysis.format import format_duration, format_figure
from trilemma.catalog.files import is_inside
from trilemma.effort import run_seconds
from trilemma.errors import LimitError
from trilemma.records import Usage

DAY = timedelta(days=1)
_ASK = "Ask an administrator for more."


def queue_check(limits: Limits, pace: float) -> Callable[[Usage], None]:
    """Refuses what makes too many runs wait, or the device busy for too long.

    Args:
        limits: Of the person.
        pace: How much longer runs take here than is guessed.
    """

    def check(usage: Usage) -> None:
        count, most = len(usage.open_runs), limits.queued_runs
        if most is not None and count > most:
            raise LimitError(f"That makes {count:,} runs of yours in the queue; {most:,} are allowed.", _ASK)
        if limits.device_hours_a_day is None:
            return
        expected = sum(run_seconds(artifact, run) for run, artifact in usage.open_runs if artifact is not None) * pace
        if usage.device_s + expected > limits.device_hours_a_day * 3600:
            raise LimitError(
                f"Your runs had the device for {format_duration(usage.device_s)} in the last day, and with these "
                f"would take about {format_duration(expected)} more; {limits.device_hours_a_day:g} h are allowed.",
                f"Wait, or measure less. {_ASK}",
            )

    return check


def check_used(limits: Limits, usage: Usage) -> None:
    """Refuse to one whose runs have had the device for as long as is allowed.

    Raises:
        LimitError: so it is.
    """
    if limits.device_hours_a_day is not None and usage.device_s >= limits.device_hours_a_day * 3600:
        raise LimitError(
            f"Your runs had the device for {format_duration(usage.device_s)} in the last day; "
            f"{limits.device_hours_a_day:g} h are allowed.",
            f"Wait. {_ASK}",
        )


def disk_bytes(usage: Usage, artifacts_dir: Path) -> int:
    """What the person's weights in Trilemma's own folder, and the files that they brought, take."""
    kept = [a for a in usage.artifacts if is_inside(path := Path(a.path), artifacts_dir) and path.exists()]
    return sum(artifact.size_bytes for artifact in kept) + usage.files_bytes


class Reservations:
    """Bytes that are being fetched or made by person; what several ask for at once does not pass one by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()

    def take(self, who: str, more: int, taken: int, limits: Limits) -> None:
        """Put ``more`` bytes aside for one who has ``taken`` bytes already.

        Raises:
            LimitError: that would be too many.
        """
        with self._lock:
            whole = taken + self._bytes[who] + more
            if limits.disk_gb is not None and more and whole > limits.disk_gb * 1e9:
                raise LimitError(
                    f"Your files would take {format_figure(whole, 'B')} of the disk; "
                    f"{format_figure(limits.disk_gb * 1e9, 'B')} are allowed.",
                    f"Delete weights that you need no more. {_ASK}",
                )
            self._bytes[who] += more

    def give_back(self, who: str, more: int) -> None:
        """The bytes are on the disk, or not needed any more."""
        with self._lock:
            self._bytes[who] -= more
