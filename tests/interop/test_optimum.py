"""optimum-benchmark by its documented format: files made by this test.

Those that the tool itself writes are read by ``make bench NAME=importers``.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from trilemma.errors import InteropError
from trilemma.interop import base, read_data
from trilemma.interop.studies import whole_study

PREFILL, DECODE = [0.1, 0.12, 0.11], [0.6, 0.5, 0.7]


def document(**shapes: Any) -> dict[str, Any]:
    def latency(values: list[float]) -> dict[str, Any]:
        return {"latency": {"unit": "s", "values": values, "count": len(values), "mean": float(np.mean(values))}}

    return {
        "config": {
            "backend": {"name": "pytorch", "model": "org/Tiny-Model", "torch_dtype": "float16", "device": "cpu"},
            "scenario": {
                "input_shapes": {"batch_size": 1, "sequence_length": 64, **shapes},
                "generate_kwargs": {"max_new_tokens": 16},
            },
            "environment": {"cpu": " A CPU", "optimum_benchmark_version": "0.6.0"},
        },
        "report": {
            "load_model": latency([2.0]),
            "prefill": {**latency(PREFILL), "memory": {"unit": "MB", "max_ram": 900.0}},
            "decode": latency(DECODE),
            "generate": latency([a + b for a, b in zip(PREFILL, DECODE, strict=True)]),
        },
    }


def flattened(value: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {at: value}
    return {key: cell for name, one in value.items() for key, cell in flattened(one, f"{at}.{name}".strip(".")).items()}


def test_it_is_read_nested_and_flattened_alike() -> None:
    nested, file = read_data("benchmark.json", json.dumps(document()).encode())
    assert file.importer == "optimum-benchmark"
    flat, _ = read_data("llm-perf.csv", table(document()))
    assert flat.runs == nested.runs
    found = {one.key.partition("@")[0]: one.value for one in nested.runs[0].measurements}
    assert found["engine_prefill_tps"] == pytest.approx(64 / 0.11)
    assert found["tpot_s.median"] == pytest.approx(0.6 / 15)
    assert found["decode_tps"] == pytest.approx(15 / 0.6)
    assert found["load_s"] == 2.0
    assert not any("memory" in key for key in found)
    assert "memory" in {one.what for one in nested.left_out}


def table(*documents: dict[str, Any]) -> bytes:
    rows = [flattened(one) for one in documents]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


LOADED: list[tuple[dict[str, Any], str]] = [
    ({"torch_dtype": "float16"}, "float16"),
    ({"torch_dtype": "float16", "attn_implementation": "eager"}, "float16"),
    ({"torch_dtype": "float16", "attn_implementation": "sdpa"}, "float16"),
    ({"torch_dtype": "float16", "torch_compile": True}, "float16"),
    ({"torch_dtype": "float16", "cache_implementation": "static"}, "float16"),
    ({"quantization_scheme": "bnb", "quantization_config": {"load_in_4bit": True}}, "BNB"),
    ({"quantization_scheme": "bnb", "quantization_config": {"load_in_8bit": True}}, "BNB-Int8"),
    ({"quantization_scheme": "awq", "quantization_config": {"bits": 4, "version": "gemm"}}, "AWQ"),
    ({"quantization_scheme": "awq", "quantization_config": {"bits": 4, "version": "gemv"}}, "AWQ"),
    (
        {"quantization_scheme": "awq", "quantization_config": {"version": "exllama", "exllama_config": {"version": 1}}},
        "AWQ",
    ),
    (
        {"quantization_scheme": "awq", "quantization_config": {"version": "exllama", "exllama_config": {"version": 2}}},
        "AWQ",
    ),
    (
        {"quantization_scheme": "gptq", "quantization_config": {"bits": 4, "exllama_config": {"version": 1}}},
        "GPTQ-Int4",
    ),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4, "exllama_config": {"version": 2}}}, "GPTQ-Int4"),
    (
        {"quantization_config": {"quant_method": "torchao", "quant_type": "int4_weight_only"}},
        "TORCHAO int4_weight_only",
    ),
    ({"model": "org/Tiny-Model-AWQ", "torch_dtype": "float16"}, "AWQ"),
]
"""How one model is loaded, as LLM-Perf does it, and what that is called."""


def test_what_is_loaded_in_another_way_is_another_configuration() -> None:
    documents = []
    for loaded, quantization in LOADED:
        told = document()
        told["config"]["backend"] = {"name": "pytorch", "model": "org/Tiny-Model", "device": "cuda", **loaded}
        told["config"]["backend"] |= {"torch_compile": loaded.get("torch_compile", False), "autocast_dtype": None}
        documents.append(told)
        (run,) = read_data("benchmark.json", json.dumps(told).encode())[0].runs
        assert (run.model, run.quantization) == ("Tiny-Model", quantization), loaded
        assert "autocast_dtype" not in run.settings
    imported, file = read_data("llm-perf.csv", table(*documents))
    assert [run.quantization for run in imported.runs] == [quantization for _, quantization in LOADED]
    study = whole_study(imported, file)
    assert len(study.study.spec.configurations) == len(LOADED)
    assert imported.runs[9].settings["quantization_config.exllama_config.version"] == 1


def test_a_table_tells_the_same_settings_as_json() -> None:
    told = document()
    told["config"]["backend"] |= {
        "attn_implementation": "sdpa", "torch_compile": True, "to_bettertransformer": False, "device_ids": "0",
        "quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm"}, "hub_token": "sesame",
    }  # fmt: skip
    (nested,) = read_data("benchmark.json", json.dumps(told).encode())[0].runs
    told["config"]["backend"]["quantization_config"]["bits"] = 4.0  # as a table with empty cells has it
    (flat,) = read_data("llm-perf.csv", table(told))[0].runs
    assert flat == nested
    assert nested.settings == {
        "model_id": "org/Tiny-Model", "torch_dtype": "float16", "device": "cpu", "attn_implementation": "sdpa",
        "torch_compile": True, "device_ids": 0, "quantization_config.bits": 4, "quantization_config.version": "gemm",
    }  # fmt: skip


def test_a_cell_may_hold_more_than_a_csv_reader_takes_by_itself() -> None:
    told = document()
    told["report"]["decode"]["latency"]["values"] = DECODE * 10_000
    data = table(told)
    assert max(map(len, data.splitlines())) > 131_072
    (run,) = read_data("llm-perf.csv", data)[0].runs
    assert {one.key: one.n for one in run.measurements}["decode_tps@in64_out16"] == 30_000


def test_more_runs_than_a_study_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_RUNS", 2)
    assert len(read_data("llm-perf.csv", table(document(), document()))[0].runs) == 2
    with pytest.raises(InteropError, match="more than 2 runs"):
        read_data("llm-perf.csv", table(document(), document(), document()))


def test_a_batch_of_several_is_no_user() -> None:
    with pytest.raises(InteropError, match="batch"):
        read_data("benchmark.json", json.dumps(document(batch_size=4)).encode())
