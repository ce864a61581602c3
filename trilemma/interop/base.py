"""What an importer is, and what it makes of another tool's file.

An importer takes a figure only where its definition equals that of :mod:`trilemma.figures`, after a conversion of units
if need be; what it leaves out it names, with the reason. It invents nothing: no interval that the file has no data for,
no memory, no energy, and no machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple, Protocol

from pydantic import Field, JsonValue

from trilemma.errors import InteropError
from trilemma.records import HostInfo
from trilemma.schema import Artifact, DeviceProfile, Frozen, Measurement

NOT_STATED = "not stated"
"""What a name is where the file has none."""

MAX_RUNS = 5000
"""Of one file."""


class Given(NamedTuple):
    """A file as it was given: its name without folders, its content (unpacked), and which columns are what."""

    name: str
    data: bytes
    mapping: Mapping[str, str] = {}


class LeftOut(Frozen):
    """Something in the file that was not taken, and why."""

    what: str
    why: str


class ImportedRun(Frozen):
    """What a file tells of one configuration, measured once. Texts are as the file has them, but for unsafe characters.

    All measurements have the method ``imported``.
    """

    model: str
    quantization: str = NOT_STATED
    engine: str
    engine_version: str = ""
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="What tells it from the file's others.")
    machine: str = Field(default="", description="Where it was measured, as far as the file says.")
    architecture: str = ""
    parameters: int = 0
    size_bytes: int = 0
    bits_per_weight: float = 0.0
    artifact: Artifact | None = Field(default=None, description="The weights, where the file names them by their hash.")
    profile: DeviceProfile | None = None
    host: HostInfo | None = None
    finished_at: datetime | None = None
    disturbances: tuple[str, ...] = ()
    facts: dict[str, JsonValue] = Field(default_factory=dict, description="What else is worth keeping.")
    measurements: tuple[Measurement, ...]


class Imported(Frozen):
    """What an importer read."""

    tool: str
    version: str = Field(default="", description="The tool's own; empty where the file does not say.")
    runs: tuple[ImportedRun, ...] = Field(max_length=MAX_RUNS)
    left_out: tuple[LeftOut, ...] = ()


class Importer(Protocol):
    """Reads one tool's files; one small class a tool, found in the entry points ``trilemma.importers``."""

    name: ClassVar[str]
    title: ClassVar[str]

    def sniff(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (the first 64 KiB) is this tool's."""
        ...

    def read(self, given: Given) -> Imported:
        """What the file says.

        Raises:
            InteropError: it is not this tool's, or damaged; the message says where.
        """
        ...


def once(left_out: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
    """Each thing once, in the order in which they were met."""
    return tuple({(one.what, one.why): one for one in left_out}.values())


def limited(runs: Sequence[ImportedRun]) -> tuple[ImportedRun, ...]:
    """The runs of a file.

    Raises:
        InteropError: there are more than :data:`MAX_RUNS`.
    """
    if len(runs) > MAX_RUNS:
        raise InteropError(f"The file has more than {MAX_RUNS:,} runs.", "Give a part of it.")
    return tuple(runs)
