"""ARC-Easy: the science questions that simple methods already answer (Clark et al. 2018, arXiv:1803.05457)."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.arc_challenge import ArcChallenge
from trilemma.suites.data import Dataset


class ArcEasy(ArcChallenge):
    """Worded as ARC-Challenge. No package has its questions: they come from the hub."""

    name: ClassVar[str] = "arc_easy"
    title: ClassVar[str] = "ARC-Easy"
    dataset: ClassVar[Dataset] = Dataset("", "allenai/ai2_arc", "ARC-Easy", "test")
