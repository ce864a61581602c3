"""Names of models and quantizations, as read from file names and headers; all of it is somebody else's text."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath

UNQUANTIZED = frozenset({"F64", "F32", "BF16", "F16"})
"""Schemes that keep each weight as a floating-point number."""

_QUANTIZATION = re.compile(
    r"(?:^|[-._ ])(?:UD-|i1-|imat-)?"
    r"(?P<name>(?:IQ|TQ|Q)[1-8](?:_[0-9A-Za-z]{1,3}){0,3}|BF16|F16|FP16|F32|FP32|F64|MXFP4(?:_MOE)?|NVFP4)$",
    re.IGNORECASE,
)
_SCHEME = re.compile(
    r"[-_.](gguf|safetensors|awq|gptq([-_]int\d)?|int\d|\d+bit|fp8([-_]dynamic)?|w\d+a\d+|quantized|bnb|fp?16|bf16)$",
    re.IGNORECASE,
)
"""What repositories append to a model's name to say how its weights are stored."""
_CONTAINERS = frozenset({"GGUF", "SAFETENSORS", "QUANTIZED"})
"""Of these, what says nothing of the quantization."""
_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")
_SIZE = re.compile(r"(?<![A-Za-z0-9])((?:\d+x)?\d+(?:\.\d+)?)([mb])(?![A-Za-z0-9])", re.IGNORECASE)
_GENERIC = frozenset({"", "ggml-model", "model", "weights", "ggml", "gguf", "unnamed", "checkpoint"})


def clean(text: object, limit: int = 200, *, multiline: bool = False) -> str:
    """``text`` without control, format and surrogate characters (which could forge lines, colours or the reading
    direction), its white space folded, cut to ``limit`` characters. With ``multiline`` (templates, which must stay what
    they are) only control characters other than line ends and tabs go.
    """
    raw = str(text)[: 4 * limit]
    if multiline:
        return "".join(c for c in raw if c in "\r\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))[:limit]
    raw = re.sub(r"\s", " ", raw)
    return " ".join("".join(c for c in raw if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).split())[:limit]


def split_file_name(name: str) -> tuple[str, str | None]:
    """The model's part of a file's name and its quantization, if the name tells it.

    ``SmolLM2-135M-Instruct.Q4_1.gguf`` gives ``("SmolLM2-135M-Instruct", "Q4_1")``.
    """
    stem = clean(PurePath(name).name)
    stem = re.sub(r"\.gguf(\.part\d+)?$", "", stem, flags=re.IGNORECASE)
    stem = _SHARD.sub("", stem)
    match = _QUANTIZATION.search(stem)
    if match is None:
        return stem, None
    quantization = match["name"].upper().replace("FP16", "F16").replace("FP32", "F32")
    return stem[: match.start()].rstrip("-._ "), quantization


def shards(name: str) -> int:
    """Of how many parts a file is one (``-00001-of-00003.gguf``); 1 if it is whole."""
    match = _SHARD.search(re.sub(r"\.gguf$", "", PurePath(name).name, flags=re.IGNORECASE))
    return max(1, int(match[1])) if match else 1


def tidy_model_name(name: str) -> str:
    """A model's name as people write it: hyphens for spaces, sizes in capitals, not all in lower case."""
    name = re.sub(r"\s+", "-", clean(name, 120))
    name = _SIZE.sub(lambda m: m[1] + m[2].upper(), name)
    if name and not any(c.isupper() for c in _SIZE.sub("", name)):
        name = name[0].upper() + name[1:]
    return name


def model_name(file_name: str, header_name: str | None, hint: str | None = None) -> str:
    """The name of the trained weights: from the file's name, since headers often carry a training label instead; from
    ``hint`` (the source's word for it) or the header where the file's name says nothing.
    """
    stem, _ = split_file_name(file_name)
    header_name = clean(header_name or "", 120)
    if stem.lower() in _GENERIC or not any(c.isalpha() for c in stem) or re.fullmatch(r"[0-9a-fA-F]{32,64}", stem):
        stem = hint or header_name or stem or "model"
    if header_name and _squash(header_name) == _squash(stem) and stem == stem.lower():
        stem = header_name
    return tidy_model_name(stem)


def repository_model_name(repository: str) -> str:
    """``owner/SmolLM2-135M-Instruct-GGUF`` is ``SmolLM2-135M-Instruct``, as is ``...-GPTQ-Int4``."""
    return split_repository(repository)[0]


def split_repository(repository: str) -> tuple[str, str | None]:
    """The model's part of a repository's name and the quantization, if the name tells it.

    ``owner/Qwen2.5-7B-Instruct-GPTQ-Int4`` gives ``("Qwen2.5-7B-Instruct", "GPTQ-Int4")``.
    """
    name = clean(repository).rpartition("/")[2]
    name = re.sub(r"[-_.]?(i1[-_.])?gguf$", "", name, flags=re.IGNORECASE)
    schemes: list[str] = []
    while match := _SCHEME.search(name):
        schemes.insert(0, match[1].upper().replace("FP16", "F16").replace("INT", "Int").replace("BIT", "bit"))
        name = name[: match.start()]
    stem, of_file = split_file_name(name)
    told = [one for one in schemes if one not in _CONTAINERS]
    return tidy_model_name(stem), "-".join(told) or of_file


def folder_name(path: PurePath) -> str:
    """The name that a folder's weights go by: its own, or the repository's in the cache of Hugging Face's tools
    (``models--owner--name/snapshots/<revision>``).
    """
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.rpartition("--")[2]
    return path.name


def slug(name: str) -> str:
    """``name`` as a harmless part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:100] or "model"


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
