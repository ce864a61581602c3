"""A PEFT adapter as GGUF: what llama.cpp then answers is what the merged weights answer."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from trilemma.catalog.catalog import Catalog
from trilemma.catalog.convert import convert_file
from trilemma.catalog.convert_adapter import convert_adapter
from trilemma.catalog.llama_family import Shape
from trilemma.errors import CatalogError, InvalidArtifactError
from trilemma.schema import Relation
from trilemma.settings import Settings
from trilemma.store import Store

pytestmark = pytest.mark.llama
Make = Callable[..., Path]
SHAPE = Shape("llama", 2, 4, 2, 16)
TOKENS = [int(token) for token in np.random.default_rng(3).integers(0, 262, 64)]


def permute(weights: np.ndarray, heads: int) -> np.ndarray:
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def logits(model_path: Path, adapter: Path | None = None) -> np.ndarray:
    """Of llama.cpp, for :data:`TOKENS`, with the adapter applied if there is one."""
    import llama_cpp as api

    model = api.llama_model_load_from_file(str(model_path).encode(), api.llama_model_default_params())
    assert model
    parameters = api.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 64
    context = api.llama_init_from_model(model, parameters)
    if adapter is not None:
        lora = api.llama_adapter_lora_init(model, str(adapter).encode())
        assert lora, "llama.cpp refuses the adapter"
        adapters = (api.llama_adapter_lora_p_ctypes * 1)(lora)
        assert api.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0)) == 0
    batch = api.llama_batch_init(64, 0, 1)
    batch.n_tokens = 64
    for i, token in enumerate(TOKENS):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    assert api.llama_decode(context, batch) == 0
    width = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    found = np.ctypeslib.as_array(api.llama_get_logits(context), shape=(64, width)).copy()
    api.llama_batch_free(batch)
    api.llama_free(context)
    api.llama_model_free(model)
    return found


def changes(folder: Path, scale: float, *, permuted: bool = True) -> dict[str, np.ndarray]:
    """What the adapter adds to the weights of a GGUF, computed from the PEFT folder."""
    tensors = load_file(folder / "adapter_model.safetensors")
    roles = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "mlp.down_proj": "ffn_down"}
    found = {}
    for name in tensors:
        if name.endswith(".lora_A.weight"):
            _, _, _, _, layer, *module, _, _ = name.split(".")
            role = roles[".".join(module)]
            change = scale * tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
            if permuted and role in ("attn_q", "attn_k"):
                change = permute(change, 4 if role == "attn_q" else 2)
            found[f"blk.{layer}.{role}.weight"] = change
    return found


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("rslora", [False, True])
def test_llama_cpp_answers_as_with_merged_weights(
    tmp_path: Path, random_gguf: Make, make_adapter: Make, architecture: str, rslora: bool
) -> None:
    options: dict[str, Any] = {"pre": "qwen2"} if architecture == "qwen2" else {}
    base = random_gguf(tmp_path / "base.gguf", architecture, dtype=np.float32, **options)
    folder = make_adapter(tmp_path / "law", rank=4, use_rslora=rslora)
    convert_adapter(folder, tmp_path / "law.gguf", SHAPE._replace(architecture=architecture))
    plus = changes(folder, 8 / 2 if rslora else 8 / 4, permuted=architecture == "llama")
    merged = random_gguf(tmp_path / "merged.gguf", architecture, dtype=np.float32, plus=plus, **options)
    expected, found = logits(merged), logits(base, tmp_path / "law.gguf")
    assert np.abs(logits(base) - expected).max() > 1, "the adapter changes next to nothing: the test tells nothing"
    assert np.abs(found - expected).max() < 0.05


def test_both_engines_get_the_same_change(tmp_path: Path, random_gguf: Make, make_adapter: Make) -> None:
    """Converted to Hugging Face's order, the merged weights differ from the base by what PEFT would add."""
    folder = make_adapter(tmp_path / "law")
    plus = changes(folder, 2.0)
    for name, change in (("base", None), ("merged", plus)):
        convert_file(random_gguf(tmp_path / f"{name}.gguf", dtype=np.float32, plus=change), tmp_path / name, "F32")
    base, merged = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "merged"))
    lora = load_file(folder / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers.1.self_attn.k_proj"
    expected = 2.0 * lora[f"{prefix}.lora_B.weight"] @ lora[f"{prefix}.lora_A.weight"]
    name = "model.layers.1.self_attn.k_proj.weight"
    assert np.allclose(merged[name] - base[name], expected, atol=1e-5)


def test_the_catalog_finds_the_base_and_keeps_the_ancestry(
    store: Store, settings: Settings, tmp_path: Path, random_gguf: Make, make_adapter: Make
) -> None:
    catalog = Catalog(store, settings)
    adapter = catalog.add_path(make_adapter(tmp_path / "law"))
    with pytest.raises(CatalogError, match="owner/Base-1B") as caught:
        catalog.convert(adapter)
    assert "Add it" in caught.value.hint
    base = random_gguf(tmp_path / "Base-1B-F16.gguf")
    catalog.add_path(base)
    made = catalog.convert(adapter)
    assert (made.format, made.kind, made.adapter_rank, made.quantization) == ("gguf", "adapter", 4, "F32")
    assert [(d.relation, d.parent_name) for d in made.derivations] == [
        (Relation.CONVERTED, adapter.label),
        (Relation.ADAPTER, "owner/Base-1B"),
    ]
    assert catalog.convert(adapter) == made
    assert np.abs(logits(base) - logits(base, Path(made.path))).max() > 1
    # The same file, added by somebody who does not know where it came from, still names its base.
    again = Catalog(store, Settings(home=tmp_path / "other")).source("folder").fetch(made.path)
    catalog.delete(made.id, remove_file=False)
    added = catalog.add("folder", str(again.path))
    assert (added.kind, added.derivations[0].parent_name) == ("adapter", "owner/Base-1B")


def test_a_base_in_safetensors_will_do(
    store: Store, settings: Settings, tmp_path: Path, random_gguf: Make, make_adapter: Make
) -> None:
    catalog = Catalog(store, settings)
    gguf = random_gguf(tmp_path / "a.gguf")
    convert_file(gguf, tmp_path / "Base-1B", "F16")
    catalog.add_path(tmp_path / "Base-1B")
    made = catalog.convert(catalog.add_path(make_adapter(tmp_path / "law")))
    assert np.abs(logits(gguf) - logits(gguf, Path(made.path))).max() > 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"alpha_pattern": {"q_proj": 3}}, "scaled one by one"),
        ({"bias": "all"}, "more than matrices"),
        ({"modules_to_save": ["lm_head"]}, "more than matrices"),
        ({"lora_alpha": "16"}, "lora_alpha"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 2}}, "differ in rank"),
        ({"hidden": 32}, "belongs to another model"),
        ({"layers": 3}, "changes no layer"),
    ],
)
def test_what_llama_cpp_cannot_apply_is_refused(
    tmp_path: Path, make_adapter: Make, config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArtifactError, match=reason):
        convert_adapter(make_adapter(tmp_path / "law", **config), tmp_path / "out" / "law.gguf", SHAPE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["base_model.model.lm_head", "base_model.model.model.embed_tokens", "q_proj"])
def test_other_tensors_and_halves_are_refused(tmp_path: Path, make_adapter: Make, name: str) -> None:
    folder = make_adapter(tmp_path / "law")
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(tensors | {f"{name}.lora_A.weight": np.ones((4, 64), np.float32)}, folder / "adapter_model.safetensors")
    with pytest.raises(InvalidArtifactError, match="changes no layer's matrix"):
        convert_adapter(folder, tmp_path / "law.gguf", SHAPE)
    del tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(InvalidArtifactError, match="one half"):
        convert_adapter(folder, tmp_path / "law.gguf", SHAPE)


def test_a_base_of_another_family_is_told(
    store: Store, settings: Settings, tmp_path: Path, make_folder: Make, make_adapter: Make
) -> None:
    catalog = Catalog(store, settings)
    catalog.add_path(make_folder(tmp_path / "Base-1B", model_type="mamba"))
    with pytest.raises(InvalidArtifactError, match="mamba"):
        catalog.convert(catalog.add_path(make_adapter(tmp_path / "law")))
    assert json.loads((tmp_path / "Base-1B" / "config.json").read_text())["model_type"] == "mamba"
