"""Device profiles: a smaller machine's cores, memory and context, that a configuration can be measured under.

Each is a TOML file: those in ``data/`` come with Trilemma, a team's own are in the folder ``profiles`` of the data
folder and win over one of the same name. Emulation limits cores, memory and context; it makes no core and no memory
slower, so that speeds are an upper bound of the real device's and fitting is what is told best.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ByteSize, Field

from trilemma import registry
from trilemma.errors import ProfileError
from trilemma.limits import cpu_count
from trilemma.schema import Artifact, Configuration, DeviceProfile, Frozen
from trilemma.toml_files import read_folders, read_toml

NO_DEVICE = "this machine"
"""Stands for the machine as it is wherever a device is named."""


class ProfileFile(Frozen):
    """What a profile's file holds; its name is the file's."""

    title: str = Field(min_length=1, max_length=80)
    stands_for: str = Field(max_length=400, description="The device, in a sentence.")
    source: str = Field(max_length=400, description="Where the figures come from.")
    cores: int | None = Field(default=None, ge=1, le=4096)
    memory: ByteSize | None = Field(default=None, gt=0, lt=1 << 53, description="What the device has: 4 GiB.")
    system: ByteSize = Field(default=ByteSize(0), ge=0, description="What its system keeps of that.")
    context: int | None = Field(default=None, ge=8, le=1 << 31)


class Profile(Frozen):
    """A profile with what people need to know of it."""

    device: DeviceProfile
    title: str
    stands_for: str
    source: str
    own: bool = Field(description="The team's own, not one that comes with Trilemma.")

    @property
    def obstacle(self) -> str:
        """Why this machine cannot emulate it; empty when it can."""
        return obstacle(self.device)


def obstacle(device: DeviceProfile) -> str:
    """Why this machine cannot emulate ``device``; empty when it can."""
    if device.cores is None:
        return ""
    if sys.platform != "linux":
        return f"{device.name} limits the cores, which needs Linux."
    if device.cores > (here := cpu_count()):
        return f"{device.name} has {device.cores} cores, and this machine lets a process use {here}."
    return ""


def read_profile(path: Path, *, own: bool = True) -> Profile:
    """The profile of one file.

    Raises:
        ProfileError: it cannot be read, or a field is missing, unknown or out of range; the message names file and
            field.
    """

    advice = "Mend or remove the file; docs/user-guide.md shows one."

    def made(content: Mapping[str, Any]) -> Profile:
        found = ProfileFile.model_validate(content)
        budget = None if found.memory is None else int(found.memory) - int(found.system)
        if budget is not None and budget <= 0:
            raise ProfileError(f"The device profile {path.name}: system takes all of its memory.", advice)
        device = DeviceProfile(name=path.stem, cores=found.cores, memory_bytes=budget, context=found.context)
        about = found.model_dump(include={"title", "stands_for", "source"})
        return Profile(device=device, own=own, **about)

    return read_toml(path, made, what="device profile", error=ProfileError, advice=advice)


def load_profiles(home: Path | None) -> tuple[dict[str, Profile], list[str]]:
    """All profiles by name, smallest memory first, and what is wrong with files that could not be read.

    Args:
        home: The data folder; None for the built-in ones alone.
    """
    own = None if home is None else home / "profiles"
    found, problems = read_folders(__name__, own, lambda path, is_own: read_profile(path, own=is_own))
    order = sorted(found.values(), key=lambda p: (p.device.memory_bytes or 1 << 60, p.device.name))
    return {profile.device.name: profile for profile in order}, problems


def find_profile(name: str, home: Path | None = None) -> DeviceProfile:
    """The device of that name.

    Raises:
        ProfileError: there is none, or its file is wrong.
    """
    known, problems = load_profiles(home)
    if name in known:
        return known[name].device
    broken = [problem for problem in problems if f" {name}.toml" in problem]
    raise ProfileError(
        broken[0] if broken else f"There is no device profile named {name[:60]!r}.",
        f"Known: {', '.join(known)}; {NO_DEVICE!r} measures without one.",
    )


def effective_context(configuration: Configuration, artifact: Artifact) -> int | None:
    """The context that a configuration gets, tokens; None where the engine has no such setting or it is not known."""
    fields = registry.load("trilemma.engines", configuration.engine).settings_type.model_fields
    if "context" not in fields:
        return None
    context = configuration.settings.get("context", fields["context"].default)
    return context if isinstance(context, int) else artifact.context_length or None


def on_devices(
    configurations: Sequence[Configuration], devices: Sequence[DeviceProfile | None], artifacts: Sequence[Artifact]
) -> tuple[Configuration, ...]:
    """Every configuration under every device; None is the machine as it is.

    A context that nobody set (the engine's default, or "the longest") and that is above the device's is lowered to it,
    as a setting of the configuration; one that was set stays, and planning refuses it.

    Raises:
        TrilemmaError: an engine is unknown.
    """
    by_id = {artifact.id: artifact for artifact in artifacts}
    made: list[Configuration] = []
    for configuration in configurations:
        for device in devices or [None]:
            one = _on_device(configuration, device, by_id.get(configuration.artifact_id)) if device else configuration
            # Two contexts that were lowered to the same one are one configuration.
            if device is None or one not in made:
                made.append(one)
    return tuple(made)


def _on_device(configuration: Configuration, device: DeviceProfile, artifact: Artifact | None) -> Configuration:
    settings = dict(configuration.settings)
    if device.context and artifact and settings.get("context") is None:
        context = effective_context(configuration, artifact)
        if context is not None and context > device.context:
            settings["context"] = device.context
    return configuration.model_copy(update={"profile": device, "settings": settings})


def check_device(configuration: Configuration, artifact: Artifact, *, here: bool = True) -> None:
    """Refuse a device that cannot be emulated, and a context above the device's.

    Args:
        configuration: With the device, if any.
        artifact: What it measures.
        here: Whether this is the machine that shall emulate it.

    Raises:
        ProfileError: saying which, and what to do.
    """
    device = configuration.profile
    if device is None:
        return
    if artifact.format == "endpoint":
        raise ProfileError(
            f"{artifact.label} runs in a server of its own, which cannot be limited.", "Measure it without a device."
        )
    if here and (why := obstacle(device)):
        raise ProfileError(why, "Choose a smaller device, or measure on a machine with more cores.")
    context = effective_context(configuration, artifact)
    if device.context and context and context > device.context:
        raise ProfileError(
            f"A context of {context} tokens is longer than the {device.context} of {device.name}.",
            f"Set the context to at most {device.context}, or leave it to the device.",
        )
