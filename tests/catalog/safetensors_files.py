"""Small folders of safetensors, written with the safetensors package as any trainer would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512}


def model(
    folder: Path,
    tensors: dict[str, np.ndarray] | None = None,
    *,
    shards: int = 1,
    documents: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A folder with ``tensors`` over so many files, ``config`` beside the usual, and other JSON ``documents``."""
    folder.mkdir(parents=True, exist_ok=True)
    if tensors is None:
        rng = np.random.default_rng(0)
        tensors = {f"layer.{i}.weight": rng.standard_normal((8, 16)).astype(np.float16) for i in range(4)}
    names = list(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
    else:
        places = {}
        for number in range(shards):
            file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
            own = names[number::shards]
            save_file({name: tensors[name] for name in own}, folder / file)
            places |= dict.fromkeys(own, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    for name, content in {"config.json": CONFIG | config, **(documents or {})}.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def adapter(folder: Path, *, rank: int = 4, seed: int = 0, layers: int = 2, hidden: int = 64, **config: Any) -> Path:
    """A PEFT folder: a LoRA of queries, keys and one feed-forward matrix; ``config`` overrides."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(layers):
        for name, n_out, n_in in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", hidden // 2, hidden),
            ("mlp.down_proj", hidden, hidden * 3 // 2),
        ):
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{prefix}.lora_A.weight"] = rng.standard_normal((rank, n_in)).astype(np.float32) * 0.2
            tensors[f"{prefix}.lora_B.weight"] = rng.standard_normal((n_out, rank)).astype(np.float32) * 0.2
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "owner/Base-1B",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj", "k_proj", "down_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings | config))
    return folder
