"""The tokenizer of a GGUF file as ``tokenizer.json``, with the token ids of llama.cpp.

Byte-level BPE (``tokenizer.ggml.model`` ``gpt2``) with the pre-tokenizers that are known here, and SentencePiece's BPE
(``llama``). How text is cut into words follows llama.cpp (``llama-vocab.cpp``), not the model's original tokenizer,
where the two differ (normalisation, exotic letters), so that both engines read the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gguf.constants import TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from trilemma.catalog.gguf_format import Value
from trilemma.catalog.names import clean
from trilemma.errors import InvalidArtifactError

TOKENIZER_ARRAYS = tuple(f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges", "scores"))
"""The long arrays of a GGUF header that a tokenizer is made of."""

_WORDS = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class _Pre(NamedTuple):
    """How text is cut into words before byte pairs are merged."""

    words: str = ""
    """A pattern; empty for GPT-2's, which the byte-level pre-tokenizer has built in."""
    single_digits: bool = False
    ignore_merges: bool = False
    """A word that is a token is that token, whatever the merges would make of it."""
    add_bos: bool = False
    """Unless the header says otherwise."""


_SENTENCEPIECE = _Pre(add_bos=True)
_DIGITS = _Pre(single_digits=True)
_LLAMA3 = _Pre(words=_WORDS % 3, ignore_merges=True, add_bos=True)
_QWEN2 = _Pre(words=_WORDS % 1)
_PRE_TOKENIZERS = {
    "gpt-2": _Pre(),
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}
_MAX_TOKEN = 4096
"""Characters; each way to cut a token in two is looked at. The longest of real vocabularies have some hundred."""
_SPECIAL = {"bos": "bos", "eos": "eos", "eot": "eot", "unk": "unknown", "pad": "padding"}


class GgufTokenizer(NamedTuple):
    """A tokenizer, and what a model's configuration has to know of it."""

    tokenizer: Tokenizer
    special: dict[str, tuple[int, str]]
    """Id and text of bos, eos, eot, unk and pad, as far as the header names them."""
    add_bos: bool


def read_tokenizer(metadata: Mapping[str, Value], file_name: str) -> GgufTokenizer:
    """The tokenizer that a GGUF header (read with :data:`TOKENIZER_ARRAYS`) describes.

    Raises:
        InvalidArtifactError: it is of a kind that is not converted, or damaged.
    """
    kind, pre_name = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    pre = {"llama": _SENTENCEPIECE, "gpt2": _PRE_TOKENIZERS.get(str(pre_name))}.get(str(kind))
    if pre is None:
        raise InvalidArtifactError(
            f"The tokenizer of {file_name} (model {clean(kind, 40)}, pre-tokenizer {clean(pre_name, 40)}) cannot be "
            "converted.",
            f"SentencePiece can, and byte-level BPE with one of these pre-tokenizers: {', '.join(_PRE_TOKENIZERS)}. "
            "Otherwise fetch the model's own safetensors from the hub.",
        )
    tokens, types, merges, scores = (metadata.get(key) for key in TOKENIZER_ARRAYS)
    if not isinstance(tokens, list) or not isinstance(types, list) or len(types) != len(tokens):
        raise _damaged(file_name, "its tokens or their types are missing")
    texts = [str(token) for token in tokens]
    if max(map(len, texts), default=0) > _MAX_TOKEN:
        raise _damaged(file_name, f"a token is longer than {_MAX_TOKEN:,} characters")
    vocabulary = {text: index for index, text in enumerate(texts)}
    if len(vocabulary) < len(texts):
        raise _damaged(file_name, "a token occurs twice")
    special = _special(metadata, texts, {"bos": 1, "eos": 2, "unk": 0} if kind == "llama" else {})
    add_bos = bool(metadata.get("tokenizer.ggml.add_bos_token", pre.add_bos)) and "bos" in special
    add_eos = bool(metadata.get("tokenizer.ggml.add_eos_token", False)) and "eos" in special
    try:
        if kind == "llama":
            tokenizer = _sentencepiece(metadata, vocabulary, _numbers(scores, len(texts)), special["unk"][1])
        else:
            tokenizer = _byte_level(pre, vocabulary, merges)
        tokenizer.add_tokens(list(_added(texts, types)))
        ends = [special[name] for name, wanted in (("bos", add_bos), ("eos", add_eos)) if wanted]
        if ends:
            around = [special["bos"][1]] * add_bos + ["$A"] + [special["eos"][1]] * add_eos
            tokenizer.post_processor = processors.TemplateProcessing(
                single=around, special_tokens=[(text, index) for index, text in ends]
            )
    except Exception as error:  # The library raises nothing more specific.
        raise _damaged(file_name, clean(error)) from error
    return GgufTokenizer(tokenizer, special, add_bos)


def _byte_level(pre: _Pre, vocabulary: dict[str, int], merges: Value | None) -> Tokenizer:
    if not isinstance(merges, list):
        raise ValueError("its merges are missing")
    pairs = [_pair(str(merge)) for merge in merges]
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre.ignore_merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(pre, vocabulary)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(
    metadata: Mapping[str, Value], vocabulary: dict[str, int], scores: Sequence[float], unknown: str
) -> Tokenizer:
    """Any two neighbours are merged that make a token, the one with the best score first; what is left and no token
    becomes bytes.
    """
    merges = []
    for token, index in vocabulary.items():
        for left, right in ((token[:at], token[at:]) for at in range(1, len(token))):
            if left in vocabulary and right in vocabulary:
                merges.append((-scores[index], vocabulary[left], vocabulary[right], left, right))
    pairs = [(left, right) for *_, left, right in sorted(merges)]
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=pairs, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    gap = "\u2581"
    normal = [normalizers.Prepend(gap)] * prefix + [normalizers.Replace(" ", gap)]
    tokenizer.normalizer = normalizers.Sequence(normal)
    steps = [decoders.Replace(gap, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * prefix)
    return tokenizer


def _special(
    metadata: Mapping[str, Value], texts: Sequence[str], usual: Mapping[str, int]
) -> dict[str, tuple[int, str]]:
    special = {}
    for name, key in _SPECIAL.items():
        index = metadata.get(f"tokenizer.ggml.{key}_token_id", usual.get(name))
        if isinstance(index, int) and 0 <= index < len(texts):
            special[name] = (index, texts[index])
    return special


def _numbers(values: Value | None, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError("its scores are missing")
    return [float(value) for value in values]


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge[1:].partition(" ")  # The first character may itself be a space.
    return merge[:1] + left, right


def _pre_tokenizer(pre: _Pre, vocabulary: Mapping[str, int]) -> pre_tokenizers.PreTokenizer:
    steps: list[pre_tokenizers.PreTokenizer] = []
    if pre.single_digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if pre.words:
        steps.append(pre_tokenizers.Split(Regex(pre.words), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pre.words))
    # Bytes that no token stands for are left out, and what was beside them must not be merged.
    missing = "".join(sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(vocabulary)))
    if missing:
        steps.append(pre_tokenizers.Split(Regex(f"[{re.escape(missing)}]"), "removed"))
    return pre_tokenizers.Sequence(steps)


def _added(texts: list[str], types: Sequence[object]) -> Iterator[AddedToken]:
    """The tokens that are found in the text as they stand, before it is cut into words."""
    for text, kind in zip(texts, types, strict=True):
        if kind in (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED):
            yield AddedToken(text, special=kind != TokenType.USER_DEFINED, normalized=False)


def _damaged(file_name: str, what: str) -> InvalidArtifactError:
    return InvalidArtifactError(
        f"The tokenizer of {file_name} is damaged: {what}.", "Fetch or convert the file again with a current llama.cpp."
    )
