"""Prompts by use case, and the arithmetic of latency."""

from trilemma.workloads.prompts import PROMPT_SETS, UseCase

__all__ = ["PROMPT_SETS", "UseCase"]
