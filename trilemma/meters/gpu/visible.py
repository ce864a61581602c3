"""Which GPUs ``CUDA_VISIBLE_DEVICES`` means (CUDA C++ Programming Guide, "CUDA Environment Variables")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trilemma.errors import MeterError


class Card(NamedTuple):
    """A GPU as NVML numbers it, with its MIG instances."""

    name: str
    uuid: str
    instances: tuple[str, ...] = ()
    """Their UUIDs, by instance number."""


def visible(cards: Sequence[Card], environment: Mapping[str, str]) -> list[tuple[int, int | None]]:
    """Card and instance number (None for a whole card) of each visible device, in CUDA's order.

    As in CUDA, what comes after an entry that means nothing is not visible. A card with instances is all of them: which
    one a process takes is seen from where it holds memory.

    Raises:
        MeterError: numbers are used, and NVML may number the cards otherwise than CUDA.
    """
    text = environment.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return [device for card in range(len(cards)) for device in _whole(cards, card)]
    found: list[tuple[int, int | None]] = []
    for entry in (part.strip() for part in text.split(",")):
        devices = _named(cards, entry, environment)
        if not devices:
            break
        found += [device for device in devices if device not in found]
    return found


def _whole(cards: Sequence[Card], card: int) -> list[tuple[int, int | None]]:
    return [(card, instance) for instance in range(len(cards[card].instances))] or [(card, None)]


def _named(cards: Sequence[Card], entry: str, environment: Mapping[str, str]) -> list[tuple[int, int | None]]:
    if entry.isdecimal():
        kinds = {card.name for card in cards}
        if len(kinds) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            raise MeterError(
                "CUDA numbers GPUs of different kinds by their speed: which ones CUDA_VISIBLE_DEVICES means cannot be "
                "told.",
                "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPUs by UUID.",
            )
        return _whole(cards, int(entry)) if int(entry) < len(cards) else []
    if entry.startswith("MIG-"):
        hits = [(c, i) for c, card in enumerate(cards) for i, uuid in enumerate(card.instances) if uuid == entry]
        return [*hits]
    if entry.startswith("GPU-"):  # a prefix is enough if only one has it
        matching = [c for c, card in enumerate(cards) if card.uuid.startswith(entry)]
        return _whole(cards, matching[0]) if len(matching) == 1 else []
    return []
