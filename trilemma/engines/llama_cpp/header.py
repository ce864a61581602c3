"""The sizes of a GGUF file's network, read without the tokenizer: enough to say what memory a context takes.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from trilemma.engines.llama_cpp.settings import CacheType

Value = int | float | str | list[int]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 20
"""Longer strings and arrays than this are no sizes; reading stops."""

BYTES_PER_VALUE: dict[CacheType, float] = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""llama.cpp's block formats: 32 values and a two-byte scale."""


def read_sizes(path: Path) -> dict[str, Value]:
    """The metadata in front of the tokenizer's, keys without the architecture's prefix.

    Empty or partial for a file that is no GGUF or is damaged: llama.cpp gives the reason when it loads it.
    """
    found: dict[str, Value] = {}
    try:
        with path.open("rb") as file:
            magic, version, _tensors, count = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version < 2:
                return {}
            for _ in range(count):
                key = _string(file)
                if key.startswith("tokenizer."):
                    break
                found[key] = _value(file, *struct.unpack("<I", file.read(4)))
    except (OSError, struct.error, ValueError, MemoryError):
        pass
    prefix = f"{found.get('general.architecture', '')}."
    return {key.removeprefix(prefix): value for key, value in found.items()}


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST:
        raise ValueError("a string that long is no size")
    return file.read(length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        inner, length = struct.unpack("<IQ", file.read(12))
        if length > _LONGEST:
            raise ValueError("an array that long is no size")
        values = [_value(file, inner) for _ in range(length)]
        return [value for value in values if isinstance(value, int)]
    if kind not in _SCALARS:
        raise ValueError(f"unknown value type {kind}")
    form = "<" + _SCALARS[kind]
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return value if isinstance(value, float) else int(value)


def least_cache_bytes(sizes: dict[str, Value], context: int, cache_type: CacheType) -> int:
    """The least that keys and values of ``context`` tokens take; 0 where the header does not say.

    Layers x context x key-value heads x (key + value length) x bytes per value. Of a model with a sliding window all
    layers are counted at the window's length, which is less than it will take.
    """

    def number(key: str, default: int = 0) -> int:
        value = sizes.get(key, default)
        return value if isinstance(value, int) else default

    layers, heads = number("block_count"), number("attention.head_count")
    if not layers or not heads:
        return 0
    per_layer = sizes.get("attention.head_count_kv", heads)
    kv_heads = (
        sum(per_layer) if isinstance(per_layer, list) else layers * (per_layer if isinstance(per_layer, int) else 0)
    )
    head = number("embedding_length") // heads
    width = number("attention.key_length", head) + number("attention.value_length", head)
    tokens = min(context, number("attention.sliding_window") or context)
    return int(tokens * kv_heads * width * BYTES_PER_VALUE[cache_type])
