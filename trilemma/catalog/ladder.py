"""What can be made of an artifact: the steps of a quantization ladder, with their sizes and what to know of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trilemma.catalog.header import GgufHeader
from trilemma.catalog.names import UNQUANTIZED, clean
from trilemma.catalog.sizes import LADDER, fallback_share, predicted_bytes
from trilemma.errors import QuantizeError
from trilemma.schema import Artifact


@dataclass(frozen=True)
class LadderStep:
    """One quantization that could be made of an artifact, or is there already."""

    quantization: str
    predicted_bytes: int
    existing: Artifact | None
    requantized: bool
    notes: tuple[str, ...] = ()


def ladder_of(artifact: Artifact, header: GgufHeader, artifacts: Sequence[Artifact]) -> list[LadderStep]:
    """Every step of :data:`LADDER` under ``artifact``; ``artifacts`` are those that the catalog has."""
    return [
        LadderStep(
            quantization=name,
            predicted_bytes=header.size_bytes if name == artifact.quantization else predicted_bytes(header, name),
            existing=existing(artifacts, artifact, name),
            requantized=name != artifact.quantization and is_quantized(artifact),
            notes=tuple(_notes(artifact, header, name)),
        )
        for name in LADDER
    ]


def checked(quantization: str) -> str:
    """``quantization``, if the ladder has it.

    Raises:
        QuantizeError: it has not.
    """
    if quantization not in LADDER:
        raise QuantizeError(f"{clean(quantization, 40)} cannot be made here.", f"Choose one of {', '.join(LADDER)}.")
    return quantization


def is_quantized(artifact: Artifact) -> bool:
    """Whether its weights went through a quantization, its own or an ancestor's."""
    return artifact.requantized or artifact.quantization not in UNQUANTIZED


def existing(artifacts: Sequence[Artifact], parent: Artifact, quantization: str) -> Artifact | None:
    """What was made of ``parent`` before, if its file is still there; the parent itself if it is that already."""
    return parent if parent.quantization == quantization else made_of(artifacts, parent, quantization, "quantise")


def made_of(artifacts: Sequence[Artifact], parent: Artifact, quantization: str, by: str) -> Artifact | None:
    """What ``by`` (quantise or convert) made of ``parent`` before, if it is still on this disk."""
    for artifact in artifacts:
        made = any(d.parent_id == parent.id and d.stated_by == by for d in artifact.derivations)
        if made and artifact.quantization == quantization and Path(artifact.path).exists():
            return artifact
    return None


def _notes(parent: Artifact, header: GgufHeader, quantization: str) -> Iterator[str]:
    if quantization == parent.quantization:
        yield "The artifact itself."
        return
    if is_quantized(parent):
        yield f"Made from an already quantized parent ({parent.quantization})."
        if predicted_bytes(header, quantization) >= header.size_bytes:
            yield "Larger than its parent and no more accurate: what the parent lost does not come back."
    share = fallback_share(header, quantization)
    if share >= 0.01:
        yield (
            f"{share:.0%} of the layers' weights get a type of more bits, because rows of {header.embedding_length} do "
            "not divide into blocks of 256."
        )
