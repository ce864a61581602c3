"""What a run asks of the machine that measures it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trilemma.base import Frozen

MACHINE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"
"""Names of machines: they become names of Ray's resources, and stand in charts."""

MachineName = Annotated[str, Field(pattern=MACHINE_NAME)]


class Needs(Frozen):
    """Where a run may be measured; nothing asked means on any machine.

    Only a cluster can choose between machines. What is taken from one counts as taken while the run lasts.
    """

    machine: str = Field(default="", pattern=rf"^$|{MACHINE_NAME}", description="The machine of this name.")
    gpus: int = Field(default=0, ge=0, le=1024, description="GPUs of its own.")
    gpu_type: str = Field(default="", max_length=64, description="As Ray names the type, such as A100.")
    cpus: int = Field(default=0, ge=0, le=65536, description="Logical CPUs of its own.")
    memory_bytes: int = Field(default=0, ge=0, lt=1 << 53, description="Memory of its own.")

    @property
    def label(self) -> str:
        """In words; empty where nothing is asked."""
        gpus = f"{self.gpus or 1} {self.gpu_type} GPU{'' if self.gpus in (0, 1) else 's'}".replace("  ", " ")
        parts = [
            f"machine {self.machine}" if self.machine else "",
            gpus if self.gpus or self.gpu_type else "",
            f"{self.cpus} CPU{'' if self.cpus == 1 else 's'}" if self.cpus else "",
            f"{self.memory_bytes / 2**30:.3g} GiB" if self.memory_bytes else "",
        ]
        return ", ".join(part for part in parts if part)


ANYWHERE = Needs()
"""Nothing is asked."""


def has(machine: str, needs: Needs) -> bool:
    """Whether the machine of this name has what is needed, where no cluster says what machines offer."""
    return needs in (ANYWHERE, Needs(machine=machine))


class EngineNeeds(Needs):
    """What a run asks where a machine was found to lack its engine: then it matters which has it."""

    engine: str = Field(description="As :func:`engine_of` names it.")

    @property
    def label(self) -> str:
        """In words."""
        return ", ".join(filter(None, [self.engine, super().label]))


def engine_of(name: str, version: str) -> str:
    """An engine and its version; any where none is asked for."""
    return f"{name} ({version})" if version else name
