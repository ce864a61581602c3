"""Token ids out of a GGUF file's tokenizer: those of llama.cpp, text for text."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from trilemma import registry
from trilemma.catalog.gguf_format import read_head
from trilemma.catalog.gguf_tokenizer import TOKENIZER_ARRAYS, read_tokenizer
from trilemma.engines.base import LoadedModel
from trilemma.errors import InvalidArtifactError
from trilemma.schema import Artifact, SuiteSpec

pytestmark = pytest.mark.llama
ROOT = Path(__file__).parents[2]
PIECES = [
    " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\x85", "a", "Word", " word", "é", "ß", "ſ", "İ", "1", "12345",
    "٣", "½", "Ⅷ", "²", "中文", "日本", "한국", "العربية", "हिन्दी", "😀", "👍🏽", "❤️", "\u200b", "\u200d", "\ufeff",
    "'s", "'LL", "'re", "!", "...", "#", "$", "_", "-", "—", "“", "<", ">", "|", "<|im_start|>", "<|im_end|>",
    "<|endoftext|>", "<|im_", "\x00", "\x07", "\x14", "e\u0301", "\U000a4e6f", "\ue000", "\U00010000",
]  # fmt: skip
"""Letters, digits, signs and gaps that cutters of words treat each in its own way."""
MIXED = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(smollm2_folder / "tokenizer.json"))


def ids(tokenizer: Tokenizer, text: str, *, parse_special: bool = True) -> list[int]:
    tokenizer.encode_special_tokens = not parse_special
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def corpus() -> Iterator[str]:
    for name in ("hellaswag", "piqa"):
        for item in registry.load("trilemma.suites", name)().items(SuiteSpec(name=name)):
            yield from texts(item)
    for path in [*ROOT.glob("trilemma/*.py"), *ROOT.glob("docs/*.md"), ROOT / "LICENSE"]:
        yield path.read_text(encoding="utf-8")


def texts(item: Any) -> Iterator[str]:
    """The texts in a suite's item, whatever its shape."""
    if isinstance(item, str):
        yield item
    else:
        for value in vars(item).values() if hasattr(item, "__dict__") else item if isinstance(item, tuple) else ():
            yield from texts(value)


def test_questions_code_and_prose_are_read_alike(smollm2: LoadedModel, tokenizer: Tokenizer) -> None:
    found = list(dict.fromkeys(corpus()))
    assert len(found) > 1000
    for text in found:
        assert ids(tokenizer, text) == smollm2.tokenize(text, add_special=False, parse_special=True)


@settings(max_examples=500)
@given(MIXED)
def test_any_text_is_read_alike(smollm2: LoadedModel, tokenizer: Tokenizer, text: str) -> None:
    for special in (True, False):
        ours = ids(tokenizer, text, parse_special=special)
        assert ours == smollm2.tokenize(text, add_special=False, parse_special=special)


@settings(max_examples=200)
@given(st.text(alphabet="abc é12中😀\n'", max_size=40))
def test_text_comes_back(smollm2: LoadedModel, tokenizer: Tokenizer, text: str) -> None:
    found = ids(tokenizer, text)
    assert tokenizer.decode(found) == smollm2.detokenize(found) == text


class OnlyVocabulary:
    """A GGUF file of which llama.cpp loads the tokenizer alone."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self._api = llama_cpp
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert self._model
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        buffer = (self._api.llama_token * (len(data) + 8))()
        count = self._api.llama_tokenize(self._vocabulary, data, len(data), buffer, len(buffer), False, True)
        assert count >= 0
        return list(buffer[:count])

    def close(self) -> None:
        self._api.llama_model_free(self._model)


def with_pre_tokenizer(source: Path, target: Path, name: str) -> Path:
    """The head of ``source`` with another pre-tokenizer, followed by as much nothing as there were weights."""
    head = read_head(source)
    data = source.read_bytes()[: head.data_offset]
    key = b"tokenizer.ggml.pre" + struct.pack("<I", 8)
    at = data.index(key) + len(key)
    (length,) = struct.unpack_from("<Q", data, at)
    data = data[:at] + struct.pack("<Q", len(name)) + name.encode() + data[at + 8 + length :]
    target.write_bytes(data)
    with target.open("rb+") as file:
        file.truncate(head.file_bytes + 64)
    return target


@pytest.fixture(scope="module", params=["llama-bpe", "qwen2", "gpt-2", "starcoder", "refact", "deepseek-r1-qwen"])
def pair(
    request: pytest.FixtureRequest, smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tokenizer, OnlyVocabulary]]:
    """SmolLM2's vocabulary under another pre-tokenizer, in both."""
    path = with_pre_tokenizer(smollm2_path, tmp_path_factory.mktemp("pre") / "vocabulary.gguf", request.param)
    vocabulary = OnlyVocabulary(path)
    yield read_tokenizer(read_head(path, keep=TOKENIZER_ARRAYS).metadata, path.name).tokenizer, vocabulary
    vocabulary.close()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MIXED)
def test_every_pre_tokenizer_cuts_alike(pair: tuple[Tokenizer, OnlyVocabulary], text: str) -> None:
    tokenizer, vocabulary = pair
    assert ids(tokenizer, text) == vocabulary.tokenize(text)


@pytest.fixture(scope="module", params=[False, True], ids=["as it is", "with a gap before the first word"])
def sentencepiece(
    request: pytest.FixtureRequest, gemma_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tokenizer, OnlyVocabulary]]:
    """Gemma 3's vocabulary in both: SentencePiece, with tokens of white space that its header defines."""
    path = tmp_path_factory.mktemp("sentencepiece") / "vocabulary.gguf"
    head = read_head(gemma_path)
    data = gemma_path.read_bytes()[: head.data_offset]
    key = b"tokenizer.ggml.add_space_prefix" + struct.pack("<I", 7)
    assert data.count(key + b"\x00") == 1
    path.write_bytes(data.replace(key + b"\x00", key + bytes([request.param])))
    os.truncate(path, head.file_bytes)
    vocabulary = OnlyVocabulary(path)
    yield read_tokenizer(read_head(path, keep=TOKENIZER_ARRAYS).metadata, path.name).tokenizer, vocabulary
    vocabulary.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MIXED)
def test_sentencepiece_reads_alike(sentencepiece: tuple[Tokenizer, OnlyVocabulary], text: str) -> None:
    tokenizer, vocabulary = sentencepiece
    assert ids(tokenizer, text) == vocabulary.tokenize(text)


def test_sentencepiece_reads_prose_alike(sentencepiece: tuple[Tokenizer, OnlyVocabulary]) -> None:
    tokenizer, vocabulary = sentencepiece
    for text in [(ROOT / "docs" / name).read_text() for name in ("architecture.md", "extending.md")]:
        assert ids(tokenizer, text) == vocabulary.tokenize(text)
        assert tokenizer.decode(tokenizer.encode(text.split("\n")[2]).ids) == text.split("\n")[2]


def test_special_tokens_are_named(smollm2_path: Path) -> None:
    found = read_tokenizer(read_head(smollm2_path, keep=TOKENIZER_ARRAYS).metadata, "a.gguf")
    assert found.special == {
        "bos": (1, "<|im_start|>"),
        "eos": (2, "<|im_end|>"),
        "unk": (0, "<|endoftext|>"),
        "pad": (2, "<|im_end|>"),
    }
    assert not found.add_bos


def test_another_kind_and_damage_are_refused(smollm2_path: Path, gemma_path: Path) -> None:
    sentences = read_head(gemma_path, keep=TOKENIZER_ARRAYS).metadata
    with pytest.raises(InvalidArtifactError, match="scores are missing"):
        read_tokenizer({k: v for k, v in sentences.items() if not k.endswith(".scores")}, "gemma.gguf")
    good = read_head(smollm2_path, keep=TOKENIZER_ARRAYS).metadata
    with pytest.raises(InvalidArtifactError, match="missing"):
        read_tokenizer(read_head(smollm2_path).metadata, "a.gguf")
    tokens, merges = good["tokenizer.ggml.tokens"], good["tokenizer.ggml.merges"]
    assert isinstance(tokens, list)
    assert isinstance(merges, list)
    with pytest.raises(InvalidArtifactError, match="pre-tokenizer tekken"):
        read_tokenizer(good | {"tokenizer.ggml.pre": "tekken"}, "a.gguf")
    with pytest.raises(InvalidArtifactError, match="merges are missing"):
        read_tokenizer({k: v for k, v in good.items() if not k.endswith(".merges")}, "a.gguf")
    for damage in (
        {"tokenizer.ggml.tokens": ["the", *tokens[1:]]},
        {"tokenizer.ggml.token_type": [1, 2, 3]},
        {"tokenizer.ggml.merges": [*merges, "nosuch token"]},
        {"tokenizer.ggml.merges": [*merges, "nospace"]},
    ):
        with pytest.raises(InvalidArtifactError, match="damaged"):
            read_tokenizer(good | damage, "a.gguf")  # type: ignore[operator]


def test_other_files_have_no_tokenizer_to_convert(smollm2_artifact: Artifact) -> None:
    with pytest.raises(InvalidArtifactError, match="model None"):
        read_tokenizer({}, smollm2_artifact.label)
