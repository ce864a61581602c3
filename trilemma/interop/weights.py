"""Which weights another tool's figures are of: what the name of a repository tells, and what they were loaded with."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import JsonValue

from trilemma.catalog.names import clean, split_repository, tidy_model_name
from trilemma.interop.reading import number_of

SECRET = re.compile(r"key|token(?!iz)|secret|password|auth|url|header", re.IGNORECASE)
"""Names of arguments that are not for others' eyes."""

_FOUR_BIT = ("AWQ", "BNB")
"""Schemes that the catalog names without their bits where these are four."""
_WORDS = {"true": True, "false": False, "none": None}
_WHOLE = 1 << 53


class Weights(NamedTuple):
    """What a model's name there says."""

    model: str
    quantization: str
    """Empty where the name does not tell."""
    settings: dict[str, JsonValue]
    """The whole name where it is more than the model's: others' weights of that model are not the same ones."""


def weights_of(model_id: str) -> Weights:
    """The weights that a repository, a folder or a served model's name stands for."""
    told = clean(model_id).rstrip("/")
    model, quantization = split_repository(told)
    return Weights(model, quantization or "", {} if tidy_model_name(told) == model else {"model_id": told})


def scheme(method: str, bits: JsonValue = None, kind: JsonValue = None) -> str:
    """A quantization by the names of the catalog: ``AWQ``, ``GPTQ-Int4``, ``BNB-Int8``; else with its ``kind``."""
    name = clean(method, 30).upper()
    name = "BNB" if name == "BITSANDBYTES" else name
    if isinstance(bits, int) and 1 <= bits <= 64:
        return name if bits == 4 and name in _FOUR_BIT else f"{name}-Int{bits}"
    return f"{name} {clean(kind, 30)}" if isinstance(kind, str) else name


def argument(value: object) -> JsonValue:
    """What something was set to, the same whether JSON or a cell of a table tells it."""
    if isinstance(value, str):
        number = number_of(value)
        value = _WORDS.get(value.lower(), value) if number is None else number
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return int(value)
    return value if value is None or isinstance(value, bool | int | float) else clean(value, 200)
