"""All surfaces, and how one of them is tried with so many inputs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import hypothesis

from tests.fuzz.surface import Surface

MODULES = (
    "weights", "naming", "templates", "files", "archives", "results", "studies", "streams", "served", "answers",
    "shown", "shares", "parameters", "visits",
)  # fmt: skip


def surfaces() -> dict[str, tuple[str, Surface]]:
    """By name, with the module each is in."""
    found = {}
    for module in MODULES:
        for surface in importlib.import_module(f"tests.fuzz.{module}").SURFACES:
            assert surface.name not in found, surface.name
            found[surface.name] = (module, surface)
    return found


def examples(surface: Surface) -> None:
    """Try what once was a finding, and the worst cases."""
    for value in surface.examples:
        surface.run(value)


def tried(surface: Surface, count: int, seed: int, before: Callable[[Any], None] = lambda _: None) -> None:
    """Try ``count`` inputs; a finding is raised with the smallest input that shows it.

    Args:
        surface: What is tried.
        count: How many inputs; fewer where there are no more different ones.
        seed: Decides which.
        before: Is told each input before it is tried.
    """

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck), phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )  # fmt: skip
    @hypothesis.given(surface.inputs)
    def run(value: Any) -> None:
        before(value)
        hypothesis.note(f"{value!r:.4000}")
        surface.run(value)

    run()
