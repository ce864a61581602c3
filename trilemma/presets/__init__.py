"""Use-case presets: what a kind of deployment asks for, as a starting point that every user may change.

Each is a TOML file: those in ``data/`` come with Trilemma, a team's own are in the folder ``presets`` of the data
folder and win over one of the same name. Its numbers are where a discussion begins; none is a standard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from trilemma.analysis.preferences import read_limit
from trilemma.errors import PresetError, TrilemmaError
from trilemma.figures import FIGURES
from trilemma.presets.study_text import study_options
from trilemma.schema import Axis, Frozen, SuiteSpec, WorkloadSpec, split_key
from trilemma.settings import Settings
from trilemma.toml_files import read_folders, read_toml
from trilemma.workloads import PROMPT_SETS


class PresetFile(Frozen):
    """What a preset's file holds; its name is the file's."""

    title: str = Field(min_length=1, max_length=60)
    question: str = Field(min_length=1, max_length=200, description="What a stakeholder would ask.")
    about: str = Field(default="", max_length=800, description="For whom it is, and why these numbers.")
    weights: dict[Axis, float] = Field(description="Of each axis; only their proportion counts.")
    axes: dict[Axis, tuple[str, ...]] = Field(
        default_factory=dict, description="By axis, figures in order: the first that a study has stands for the axis."
    )
    limits: tuple[str, ...] = Field(default=(), max_length=20)
    workloads: tuple[WorkloadSpec, ...] = Field(default=(), max_length=20)
    suites: tuple[SuiteSpec, ...] = Field(default=(), max_length=20)
    devices: tuple[str, ...] = Field(default=(), max_length=20, description="Device profiles to measure under.")

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, weights: dict[Axis, float]) -> dict[Axis, float]:
        if set(weights) != set(Axis):
            raise ValueError(f"give a weight to each of {', '.join(Axis)}")
        if any(not math.isfinite(value) or value < 0 for value in weights.values()) or not sum(weights.values()):
            raise ValueError("weights must not be negative, and one must be above 0")
        return {axis: weights[axis] for axis in Axis}

    @field_validator("axes")
    @classmethod
    def _figures_of_their_axis(cls, axes: dict[Axis, tuple[str, ...]]) -> dict[Axis, tuple[str, ...]]:
        for axis, names in axes.items():
            for name in names:
                figure = FIGURES.get(split_key(name)[0])
                if figure is None or figure.axis is not axis:
                    raise ValueError(f"{name!r} is no figure of {axis}")
        return axes

    @field_validator("limits")
    @classmethod
    def _readable_limits(cls, limits: tuple[str, ...]) -> tuple[str, ...]:
        for text in limits:
            try:
                read_limit(text, [])
            except TrilemmaError as error:
                raise ValueError(str(error)) from error
        return limits

    @field_validator("workloads", mode="before")
    @classmethod
    def _usual_fields(cls, tables: Any) -> Any:
        if not isinstance(tables, list | tuple):
            return tables
        return [_workload(table) if isinstance(table, Mapping) else table for table in tables]


def _workload(table: Mapping[str, Any]) -> dict[str, Any]:
    """A workload's table with what it leaves out as the use case has it."""
    name = str(table.get("name", ""))
    if name not in PROMPT_SETS:
        raise ValueError(f"there is no workload named {name[:40]!r}; known: {', '.join(PROMPT_SETS)}")
    return PROMPT_SETS[name].defaults().model_dump() | dict(table)


class Preset(PresetFile):
    """A preset with its name, and whose it is."""

    name: str = Field(max_length=60, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    own: bool = Field(default=False, description="The team's own, not one that comes with Trilemma.")

    @property
    def shares(self) -> dict[Axis, float]:
        """The weights, with a sum of 1."""
        largest = max(self.weights.values())
        parts = {axis: self.weights[axis] / largest for axis in Axis}  # the sum of large ones may be too large
        total = sum(parts.values())
        return {axis: part / total for axis, part in parts.items()}

    @property
    def subjects(self) -> tuple[str, ...]:
        """The workloads and suites whose figures it means where it names none."""
        loads = [level.subject for spec in self.workloads for level in spec.levels()]
        return (*loads, *(suite.subject for suite in self.suites))

    @property
    def study_options(self) -> tuple[str, ...]:
        """What ``trilemma study`` measures a study for it with: options and their values, in turn."""
        return study_options(self.workloads, self.suites, self.devices)


def read_preset(path: Path, *, own: bool = True) -> Preset:
    """The preset of one file.

    Raises:
        PresetError: it cannot be read, or a field is missing, unknown or out of range; the message names file and
            field.
    """

    def made(content: Mapping[str, Any]) -> Preset:
        return Preset(name=path.stem, own=own, **dict(PresetFile.model_validate(content)))

    advice = "Mend or remove the file; docs/user-guide.md shows one."
    return read_toml(path, made, what="preset", error=PresetError, advice=advice)


def load_presets(home: Path | None) -> tuple[dict[str, Preset], list[str]]:
    """All presets by name, a team's own last, and what is wrong with files that could not be read.

    Args:
        home: The data folder; None for the built-in ones alone.
    """
    own = None if home is None else home / "presets"
    found, problems = read_folders(__name__, own, lambda path, is_own: read_preset(path, own=is_own))
    order = sorted(found.values(), key=lambda preset: (preset.own, preset.title.casefold(), preset.name))
    return {preset.name: preset for preset in order}, problems


def presets(settings: Settings) -> dict[str, Preset]:
    """All presets that can be read, by name: the built-in ones, then those in the data folder."""
    return load_presets(settings.home)[0]


def find_preset(name: str, home: Path | None = None) -> Preset:
    """The preset of that name.

    Raises:
        PresetError: there is none, or its file is wrong.
    """
    known, problems = load_presets(home)
    if name in known:
        return known[name]
    broken = [problem for problem in problems if f" {name}.toml" in problem]
    raise PresetError(
        broken[0] if broken else f"There is no preset named {name[:60]!r}.", f"Known: {', '.join(known)}."
    )
