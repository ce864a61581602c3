"""optimum-benchmark by its documented format: files made by this test, not by the tool (see data/README.md)."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from trilemma.errors import InteropError
from trilemma.interop import read_data

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
    row = flattened(document())
    table = io.StringIO()
    csv.DictWriter(table, list(row)).writeheader()
    csv.DictWriter(table, list(row)).writerow(row)
    flat, _ = read_data("llm-perf.csv", table.getvalue().encode())
    assert flat.runs == nested.runs
    found = {one.key.partition("@")[0]: one.value for one in nested.runs[0].measurements}
    assert found["engine_prefill_tps"] == pytest.approx(64 / 0.11)
    assert found["tpot_s.median"] == pytest.approx(0.6 / 15)
    assert found["decode_tps"] == pytest.approx(15 / 0.6)
    assert found["load_s"] == 2.0
    assert not any("memory" in key for key in found)
    assert "memory" in {one.what for one in nested.left_out}


def test_a_batch_of_several_is_no_user() -> None:
    with pytest.raises(InteropError, match="batch"):
        read_data("benchmark.json", json.dumps(document(batch_size=4)).encode())
