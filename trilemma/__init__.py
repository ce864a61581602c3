"""Trilemma: what a language model costs, how fast it is and how well it answers, measured in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trilemma.api import Results

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(home_or_url: str | Path | None = None) -> Results:
    """What was measured, to read.

    Args:
        home_or_url: The data folder, or the database's SQLAlchemy URL; None for the one that the settings name.

    Raises:
        StoreError: there is no database, or it cannot be used.
    """
    # The command and the measured process import this package, and need none of it.
    from trilemma.api import open_results  # noqa: PLC0415

    return open_results(home_or_url)
