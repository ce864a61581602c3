"""What derives from what: as headers, cards and users say, linked to the artifacts that the catalog has."""

from __future__ import annotations

from collections.abc import Sequence

from trilemma.catalog.header import WeightsHeader
from trilemma.catalog.names import UNQUANTIZED, clean
from trilemma.errors import CatalogError
from trilemma.schema import Artifact, Derivation, Relation


def header_derivations(header: WeightsHeader) -> tuple[Derivation, ...]:
    """Ancestry as the file states it: one base model is fine-tuned, several are merged, the model's own name is what
    was converted or quantized; an adapter belongs to its base model.
    """
    found = []
    for base in header.base_models:
        if header.kind == "adapter":
            relation = Relation.ADAPTER
        elif base.name.lower() == header.name.lower():
            relation = Relation.CONVERTED if header.quantization in UNQUANTIZED else Relation.QUANTIZED
        else:
            relation = Relation.MERGED if len(header.base_models) > 1 else Relation.FINETUNED
        found.append(Derivation(relation=relation, parent_name=base.repository or base.name, stated_by="file header"))
    return tuple(found)


def linked(derivations: Sequence[Derivation], artifacts: Sequence[Artifact]) -> tuple[Derivation, ...]:
    """``derivations`` with the parent's id where exactly one artifact bears its name and keeps the original weights."""
    return tuple(d if d.parent_id else _link(d, artifacts) for d in derivations)


def _link(derivation: Derivation, artifacts: Sequence[Artifact]) -> Derivation:
    name = derivation.parent_name.rpartition("/")[2].lower()
    parents = [a for a in artifacts if a.model.lower() == name and a.quantization in UNQUANTIZED and not a.requantized]
    return derivation.model_copy(update={"parent_id": parents[0].id}) if len(parents) == 1 else derivation


def stated(artifact: Artifact, relation: Relation, parent: Artifact | str, artifacts: Sequence[Artifact]) -> Derivation:
    """A derivation as the user states it.

    Raises:
        CatalogError: the parent is the artifact itself or one that derives from it, or has no name.
    """
    if isinstance(parent, str):
        name = clean(parent)
        if not name:
            raise CatalogError("The parent has no name.", "Give a model's name or choose an artifact.")
        return Derivation(relation=relation, parent_name=name)
    if parent.id == artifact.id or artifact.id in _ancestors(parent, artifacts):
        raise CatalogError(
            f"{parent.label} cannot be the parent of {artifact.label}: it derives from it.", "Choose another parent."
        )
    return Derivation(relation=relation, parent_name=parent.label, parent_id=parent.id)


def _ancestors(artifact: Artifact, artifacts: Sequence[Artifact]) -> set[str]:
    known = {a.id: a for a in artifacts}
    seen: set[str] = set()
    waiting = [artifact.id]
    while waiting:
        current = known.get(waiting.pop())
        for derivation in current.derivations if current else ():
            if derivation.parent_id and derivation.parent_id not in seen:
                seen.add(derivation.parent_id)
                waiting.append(derivation.parent_id)
    return seen
