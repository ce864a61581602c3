"""What a model card (the YAML at the head of a README, and the hub's tags) says of licence and ancestry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml  # type: ignore[import-untyped]

from trilemma.catalog.names import UNQUANTIZED, clean
from trilemma.schema import Derivation, Relation

MAX_CARD_CHARS = 256 * 1024
_RELATIONS = {
    "quantized": Relation.QUANTIZED,
    "finetune": Relation.FINETUNED,
    "adapter": Relation.ADAPTER,
    "merge": Relation.MERGED,
}
_REPOSITORY = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain data only, and no merge keys (``<<``): a few nested ones make more entries than any memory holds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse what would be merged."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(None, None, "a merge key", node.start_mark)


def read_card(text: str) -> dict[str, Any]:
    """The metadata of a model card; empty if there is none or it is malformed."""
    match = re.match(r"\A﻿?---\s*\n(.*?)\n---\s*(\n|\Z)", text[:MAX_CARD_CHARS], re.DOTALL)
    if match is None:
        return {}
    try:
        data = yaml.load(match[1], Loader=_Loader)  # noqa: S506 -- as safe as the one that it extends
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        # PyYAML lets through whatever its constructors trip over: IndexError for `!!int ""`, and so on.
        return {}
    return data if isinstance(data, dict) else {}


def licence(card: dict[str, Any]) -> str | None:
    """The licence's name: ``license_name`` where ``license`` is ``other``."""
    value = card.get("license")
    if isinstance(value, list):
        value = value[0] if value else None
    if value == "other" and isinstance(card.get("license_name"), str):
        value = card["license_name"]
    return clean(value, 80) or None if isinstance(value, str) else None


def derivations(
    card: dict[str, Any],
    tags: Iterable[str] = (),
    quantization: str = "",
    stated_by: str = "hub card",
    *,
    unquantized: Relation = Relation.CONVERTED,
) -> tuple[Derivation, ...]:
    """The base models with their relations: as the card says; else as the hub's own tags say
    (``base_model:quantized:owner/name``); else what a base model usually means: several are merged, one is quantized
    or, where the weights are floating-point numbers, ``unquantized`` (converted in GGUF, fine-tuned in safetensors).
    """
    bases = card.get("base_model")
    names = [b for b in (bases if isinstance(bases, list) else [bases]) if isinstance(b, str)]
    names = [n for n in names if _REPOSITORY.fullmatch(n)][:16]
    tagged = {}
    for tag in tags:
        kind, _, rest = str(tag).partition(":")
        relation_name, _, name = rest.partition(":")
        if kind == "base_model" and relation_name in _RELATIONS and _REPOSITORY.fullmatch(name):
            tagged[name] = _RELATIONS[relation_name]
    stated = _RELATIONS.get(str(card.get("base_model_relation")))
    usual = unquantized if quantization.upper() in UNQUANTIZED else Relation.QUANTIZED
    if len(names) > 1:
        usual = Relation.MERGED
    return tuple(
        Derivation(relation=stated or tagged.get(name) or usual, parent_name=name, stated_by=stated_by)
        for name in (names or list(tagged)[:16])
    )
