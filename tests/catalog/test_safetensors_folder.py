from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trilemma.catalog.catalog import Catalog
from trilemma.catalog.safetensors_folder import folder_digest, is_weights_folder, read_folder
from trilemma.catalog.safetensors_format import TensorSpec
from trilemma.catalog.safetensors_scheme import count_weights, scheme_of
from trilemma.errors import CatalogError, InvalidArtifactError
from trilemma.schema import Relation
from trilemma.settings import Settings
from trilemma.store import Store

Make = Callable[..., Path]
INDEX = "model.safetensors.index.json"


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidArtifactError) as caught:
        read_folder(folder)
    assert caught.value.hint
    return caught.value.message


def test_a_model_is_described_by_its_headers(tmp_path: Path, make_folder: Make) -> None:
    settings = {"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d\x1b{{ x }}"}]}
    folder = make_folder(tmp_path / "a", documents={"tokenizer_config.json": settings, "notes.json": {}})
    (folder / "extra.py").write_text("raise SystemExit")
    header = read_folder(folder)
    assert (header.format, header.kind, header.architecture) == ("safetensors", "model", "LlamaForCausalLM")
    assert (header.parameters, header.tensor_bytes, header.bits_per_weight) == (512, 1024, 16.0)
    assert header.size_bytes == (folder / "model.safetensors").stat().st_size
    assert (header.quantization, header.context_length, header.chat_template) == ("F16", 512, "d{{ x }}")
    assert header.files == ("config.json", "model.safetensors", "tokenizer_config.json")


def test_a_template_of_its_own_comes_first(tmp_path: Path, make_folder: Make) -> None:
    documents = {"chat_template.jinja": "own", "tokenizer_config.json": {"chat_template": "other"}}
    assert read_folder(make_folder(tmp_path / "a", documents=documents)).chat_template == "own"
    documents = {"chat_template.json": {"chat_template": "json"}}
    assert read_folder(make_folder(tmp_path / "b", documents=documents)).chat_template == "json"


def test_what_a_model_that_sees_says_of_language_is_in_its_text_config(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "a", text_config={"max_position_embeddings": 4096})
    assert read_folder(folder).context_length == 4096


def test_shards_count_together_and_stray_files_do_not(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "a", shards=3)
    (folder / "consolidated.safetensors").write_bytes(b"not read")
    header = read_folder(folder)
    assert header.parameters == 512
    assert header.files == (
        "config.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        INDEX,
    )
    assert "consolidated.safetensors" not in read_folder(make_folder(folder, shards=1)).files


def test_an_index_cannot_lead_out_or_lie(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "a", shards=2)
    good = json.loads((folder / INDEX).read_text())["weight_map"]
    outside = make_folder(tmp_path / "outside") / "model.safetensors"

    def refused_with(weight_map: object) -> str:
        (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
        return refusal(folder)

    for way in ("../outside/model.safetensors", str(outside), "sub/x.safetensors", ".hidden.safetensors", "a.bin", ""):
        assert "no safetensors file in it" in refused_with(good | {"layer.0.weight": way})
    assert "is missing" in refused_with(good | {"layer.0.weight": "model-00009-of-00009.safetensors"})
    assert "do not hold the tensors" in refused_with(good | {"layer.9.weight": good["layer.0.weight"]})
    assert "no weight_map" in refused_with([1])
    assert "no weight_map" in refused_with({"a": 1})
    (folder / INDEX).write_text("{")
    assert "no JSON object" in refusal(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": good}))
    assert read_folder(folder).parameters == 512


def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path, make_folder: Make) -> None:
    assert "holds no model" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "gone")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    assert "pickles" in refusal(tmp_path)
    folder = make_folder(tmp_path / "a")
    (folder / "config.json").write_text("[]")
    assert "config.json is no JSON object" in refusal(folder)
    (folder / "config.json").write_text("{}")
    assert "which architecture" in refusal(folder)
    cut = make_folder(tmp_path / "b") / "model.safetensors"
    os.truncate(cut, cut.stat().st_size - 2)
    assert "where its header describes" in refusal(cut.parent)


def test_a_changed_file_is_read_again(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "a")
    assert read_folder(folder).context_length == 512
    make_folder(folder, max_position_embeddings=1024)
    assert read_folder(folder).context_length == 1024


def test_the_id_is_what_a_shell_computes(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "a", shards=2, documents={"tokenizer.json": {}})
    header = read_folder(folder)
    ours = folder_digest(header, lambda name: hashlib.sha256((folder / name).read_bytes()).hexdigest())
    command = "sha256sum " + " ".join(reversed(header.files)) + " | LC_ALL=C sort -k 2 | sha256sum"
    assert subprocess.check_output(["sh", "-c", command], cwd=folder, text=True).split()[0] == ours


def packed(name: str, dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, dtype, shape)


EMBEDDING = packed("model.embed_tokens.weight", "F16", 100, 64)


@pytest.mark.parametrize(
    ("quantization", "tensors", "name"),
    [
        ({"quant_method": "awq", "bits": 4}, [packed("q.qweight", "I32", 64, 8), packed("q.scales", "F16", 1, 64),
                                              packed("q.qzeros", "I32", 1, 8)], "AWQ"),
        ({"quant_method": "gptq", "bits": 4}, [packed("q.qweight", "I32", 8, 64), packed("q.g_idx", "I32", 64)],
         "GPTQ-Int4"),
        ({"quant_method": "gptq", "bits": 8}, [packed("q.qweight", "I32", 16, 64)], "GPTQ-Int8"),
        ({"quant_method": "fp8"}, [packed("q.weight", "F8_E4M3", 64, 64), packed("q.weight_scale_inv", "F32", 1)],
         "FP8"),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
            "weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8, "type": "int"}}}},
         [packed("q.weight", "I8", 64, 64), packed("q.weight_scale", "F16", 64, 1)], "W8A8"),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
            "weights": {"num_bits": 4, "type": "int"}, "input_activations": None}}},
         [packed("q.weight_packed", "I32", 64, 8), packed("q.weight_shape", "I64", 2)], "W4A16"),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
            "weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8, "type": "float"}}}},
         [packed("q.weight", "F8_E4M3", 64, 64), packed("q.input_scale", "F32", 1)], "FP8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True},
         [packed("q.weight", "U8", 2048, 1), packed("q.weight.absmax", "U8", 64),
          packed("q.weight.quant_state.bitsandbytes__nf4", "U8", 80)], "BNB"),
        ({"quant_method": "mxfp4"}, [packed("q_blocks", "U8", 64, 32), packed("q_scales", "U8", 64, 2)], "MXFP4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"},
         [packed("q.weight", "U8", 64, 32), packed("q.weight_scale", "F8_E4M3", 64, 4)], "NVFP4"),
        ({"quant_method": "new\x1bthing"}, [packed("q.weight", "F16", 64, 64)], "NEWTHING"),
        ({}, [packed("q.weight", "F16", 64, 64)], "quantized"),
        (None, [packed("q.weight", "BF16", 640, 64), packed("n", "F32", 64)], "BF16"),
    ],
)  # fmt: skip
def test_schemes_are_named_and_their_weights_counted(
    quantization: dict[str, Any] | None, tensors: list[TensorSpec], name: str
) -> None:
    config = {} if quantization is None else {"quantization_config": quantization}
    assert scheme_of(config, [EMBEDDING, *tensors]) == name
    expected = 640 * 64 + 64 if quantization is None else 64 * 64
    assert count_weights(config, [EMBEDDING, *tensors]) == 100 * 64 + expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["quant_method", "bits", "config_groups", "weights", "num_bits", "g"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["quant_method", "bits", "w_bit", "config_groups", "quant_algo"]), JSON))
def test_any_configuration_names_some_scheme(quantization: dict[str, Any]) -> None:
    config = {"quantization_config": quantization}
    assert scheme_of(config, [EMBEDDING])
    assert count_weights(config, [EMBEDDING, packed("q.qweight", "I32", 4)]) >= 6400


def test_adapters_name_their_base(tmp_path: Path, make_adapter: Make) -> None:
    header = read_folder(make_adapter(tmp_path / "a", rank=4))
    assert (header.kind, header.adapter_rank, header.quantization) == ("adapter", 4, "F32")
    assert header.base_models[0].repository == "owner/Base-1B"
    assert header.files == ("adapter_config.json", "adapter_model.safetensors")
    local = make_adapter(tmp_path / "b", base_model_name_or_path="/home/me/models/Base-1B")
    (base,) = read_folder(local).base_models
    assert (base.name, base.repository) == ("Base-1B", "")
    assert "Only LoRA" in str(refusal_of(make_adapter(tmp_path / "c", peft_type="IA3")))
    assert "Only LoRA" in str(refusal_of(make_adapter(tmp_path / "d", r=0)))


def refusal_of(folder: Path) -> InvalidArtifactError:
    with pytest.raises(InvalidArtifactError) as caught:
        read_folder(folder)
    return caught.value


def test_folders_are_recognised_by_their_files() -> None:
    assert is_weights_folder(["config.json", "model.safetensors"])
    assert is_weights_folder(["adapter_config.json", "adapter_model.safetensors"])
    assert not is_weights_folder(["config.json", "model.bin"])
    assert not is_weights_folder(["adapter_config.json", "adapter_model.bin"])
    assert not is_weights_folder(["model.safetensors"])


@pytest.fixture
def catalog(store: Store, settings: Settings) -> Catalog:
    return Catalog(store, settings)


def test_a_folder_is_added_where_it_is(catalog: Catalog, tmp_path: Path, make_folder: Make) -> None:
    card = "---\nlicense: mit\nbase_model: owner/Teacher-7B\n---\nText"
    folder = make_folder(tmp_path / "SmolLM2-135M-Instruct-GPTQ-Int4", documents={"README.md": card})
    artifact = catalog.add_path(folder)
    assert (artifact.model, artifact.format, artifact.source) == ("SmolLM2-135M-Instruct", "safetensors", "folder")
    assert (artifact.licence, artifact.path) == ("mit", str(folder))
    assert (artifact.derivations[0].relation, artifact.derivations[0].parent_name) == (
        Relation.FINETUNED,
        "owner/Teacher-7B",
    )
    (folder / "README.md").write_text("changed: no part of the model")
    assert catalog.add_path(folder).id == artifact.id
    assert catalog.refresh()[0].present
    (folder / "tokenizer.json").write_text("{}")
    assert catalog.add_path(folder).id != artifact.id
    assert catalog.delete(artifact.id, remove_file=True) is False
    assert (folder / "model.safetensors").exists()


def test_deleting_a_folder_leaves_folders_in_it(catalog: Catalog, settings: Settings, make_folder: Make) -> None:
    artifact = catalog.add_path(make_folder(settings.artifacts_dir))
    other = make_folder(settings.artifacts_dir / "converted" / "other")
    assert catalog.delete(artifact.id, remove_file=True)
    assert [path.name for path in settings.artifacts_dir.iterdir()] == ["converted"]
    assert read_folder(other).parameters == 512


def test_a_folder_that_changed_or_went_is_reported(catalog: Catalog, tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "a")
    catalog.add_path(folder)
    make_folder(folder, {"layer.0.weight": np.zeros((2, 2), np.float16)})
    assert "another folder now" in catalog.refresh()[0].note
    (folder / "model.safetensors").unlink()
    assert "holds no model" in catalog.refresh()[0].note
    (folder / "config.json").unlink()
    folder.rmdir()
    (listing,) = catalog.refresh()
    assert not listing.present
    assert "is gone" in listing.note


def test_one_file_of_a_folder_is_not_enough(catalog: Catalog, tmp_path: Path, make_folder: Make) -> None:
    with pytest.raises(InvalidArtifactError, match="one file of a model") as caught:
        catalog.add_path(make_folder(tmp_path / "a") / "model.safetensors")
    assert "folder" in caught.value.hint


def test_an_adapter_is_linked_to_its_base(
    catalog: Catalog, tmp_path: Path, make_folder: Make, make_adapter: Make
) -> None:
    base = catalog.add_path(make_folder(tmp_path / "Base-1B"))
    adapter = catalog.add_path(make_adapter(tmp_path / "Base-1B-law", rank=8))
    assert (adapter.kind, adapter.adapter_rank, adapter.model) == ("adapter", 8, "Base-1B-law")
    (derivation,) = adapter.derivations
    assert (derivation.relation, derivation.parent_name, derivation.parent_id) == (
        Relation.ADAPTER,
        "owner/Base-1B",
        base.id,
    )
    for call in (catalog.ladder, lambda artifact: catalog.quantise(artifact, "Q8_0")):
        with pytest.raises(CatalogError, match="no model in GGUF"):
            call(adapter)
