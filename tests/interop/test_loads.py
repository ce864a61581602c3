"""Load generators' files as their options make them: warm-up, samples, groups of tokens, many results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trilemma.errors import InteropError
from trilemma.interop import read_data
from trilemma.interop.base import Imported
from trilemma.interop.load import CHUNKS

DATA = Path(__file__).parent / "data"


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return found


def read(told: dict[str, Any]) -> Imported:
    return read_data("result.json", json.dumps(told).encode())[0]


def figures(imported: Imported) -> dict[str, float | None]:
    (run,) = imported.runs
    return {one.key.partition("@")[0]: one.value for one in run.measurements}


def reasons(imported: Imported) -> dict[str, str]:
    return {one.what: one.why for one in imported.left_out}


@pytest.mark.parametrize("measured_to", [10, 12], ids=["warm-up and cool-down", "warm-up"])
def test_guidellm_what_was_sent_before_or_after_it_measured_is_not_counted(measured_to: int) -> None:
    told = document("guidellm-synchronous.json")
    (benchmark,) = told["benchmarks"]
    requests = benchmark["requests"]["successful"]
    assert len(requests) == 12
    benchmark["start_time"] = requests[5]["request_start_time"]
    benchmark["warmup_duration"] = 77.0
    if measured_to < 12:
        benchmark["end_time"] = requests[measured_to - 1]["request_end_time"]
        benchmark["cooldown_duration"] = 2.0
    benchmark["requests"]["errored"] = [requests[0]]
    imported = read(told)
    kept = [one["time_to_first_token_ms"] / 1e3 for one in requests[5:measured_to]]
    found = figures(imported)
    assert found["ttft_s.mean"] == pytest.approx(np.mean(kept))
    assert found["ttft_s.mean"] < 1 < np.mean([one["time_to_first_token_ms"] / 1e3 for one in requests])
    assert "failed_share" not in found, "what failed did so in the warm-up"
    assert reasons(imported)[f"{13 - len(kept)} requests"] == "they were sent in the warm-up or the cool-down"
    tokens = sum(one["output_tokens"] for one in requests[5:measured_to])
    seconds = requests[measured_to - 1]["info"]["timings"]["last_token_iteration"] - requests[5]["request_start_time"]
    assert found["output_tps"] == pytest.approx(tokens / seconds)


def test_guidellm_a_sample_of_the_requests_tells_no_throughput() -> None:
    told = document("guidellm-synchronous.json")
    (benchmark,) = told["benchmarks"]
    benchmark["scheduler_metrics"]["requests_made"] = {"successful": 90, "errored": 10, "incomplete": 0, "total": 100}
    imported = read(told)
    found = figures(imported)
    assert not {"output_tps", "request_rate"} & set(found)
    assert {"ttft_s.mean", "decode_tps", "prefill_tps"} <= set(found), "each request tells of itself"
    assert found["failed_share"] == 0.1
    (share,) = [one for one in imported.runs[0].measurements if one.figure == "failed_share"]
    assert share.n == 100
    assert reasons(imported)["throughput"] == "a sample of 12 of 100 requests is in the file"


def test_vllm_gaps_between_groups_of_tokens_are_no_inter_token_latency() -> None:
    told = document("vllm-serve-summary.json")
    assert "itl_s.median" in figures(read(told)), "a token at a time"
    told |= {name: 2 * value for name, value in told.items() if name.endswith("_itl_ms")}
    imported = read(told)
    assert not [key for key in figures(imported) if key.startswith("itl_s")]
    assert reasons(imported)["inter-token latency"] == CHUNKS
    del told["mean_tpot_ms"]
    assert not [key for key in figures(read(told)) if key.startswith("itl_s")], "nothing to compare it with"
    without = {name: value for name, value in told.items() if not name.endswith("_itl_ms")}
    assert "inter-token latency" not in reasons(read(without))


def test_vllm_appended_results_are_a_run_each() -> None:
    one, other = document("vllm-serve-summary.json"), document("vllm-serve-tokens.json")
    unanswered = one | {"completed": 0}
    lines = "\n".join(json.dumps(result) for result in (one, unanswered, other))
    imported, file = read_data("results.json", lines.encode())
    assert file.importer == "vllm-bench-serve"
    assert [run.measurements for run in imported.runs] == [read(told).runs[0].measurements for told in (one, other)]
    assert reasons(imported)["Line 2"] == "No request of this benchmark was answered."
    with pytest.raises(InteropError, match="Line 2 is no JSON"):
        read_data("results.json", f"{json.dumps(one)}\n{{\n".encode())
    with pytest.raises(InteropError, match="answered"):
        read(unanswered)
    pretty, _ = read_data("results.json", json.dumps(one, indent=1).encode())
    assert pretty.runs == read(one).runs


def test_vllm_may_have_had_no_tokenizer() -> None:
    told = document("vllm-serve-summary.json") | {"tokenizer_id": None}
    assert read(told).runs[0].facts["tokenizer_id"] == ""
