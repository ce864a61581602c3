from __future__ import annotations

import pytest

from trilemma.bench.speed import speed_measurements
from trilemma.bench.under_load import Load
from trilemma.records import RequestRecord
from trilemma.schema import Measurement

MS = 1_000_000


def steady_requests(count: int, *, prefill_ms: int = 50, gap_ms: int = 10, tokens: int = 11) -> list[RequestRecord]:
    length = prefill_ms + gap_ms * (tokens - 1)
    return [
        RequestRecord(
            workload="chat",
            index=i,
            submitted_ns=i * length * MS,
            token_times_ns=tuple((i * length + prefill_ms + gap_ms * k) * MS for k in range(tokens)),
            prompt_tokens=100,
            prefilled_tokens=100,
            output_tokens=tokens,
            engine_prefill_s=0.040,
            engine_decode_s=0.009 * (tokens - 1),
        )
        for i in range(count)
    ]


def by_key(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {m.key: m for m in measurements}


def test_figures_by_hand() -> None:
    found = by_key(speed_measurements("chat", steady_requests(4)))
    assert found["ttft_s.median@chat"].value == pytest.approx(0.050)
    assert found["tpot_s.median@chat"].value == pytest.approx(0.010)
    assert found["prefill_tps@chat"].value == pytest.approx(2000)
    assert found["decode_tps@chat"].value == pytest.approx(100)
    assert found["engine_prefill_tps@chat"].value == pytest.approx(2500)
    assert found["engine_decode_tps@chat"].value == pytest.approx(1 / 0.009)
    assert found["loop_overhead_s@chat"].value == pytest.approx(0.001)
    assert found["output_tps@chat"].value == pytest.approx(11 / 0.150)
    assert found["request_rate@chat"].value == pytest.approx(1 / 0.150)


@pytest.mark.parametrize(("count", "known"), [(9, "median"), (10, "p90"), (20, "p95"), (100, "p99")])
def test_percentiles_that_the_sample_is_too_small_for_are_blank(count: int, known: str) -> None:
    order = ["median", "p90", "p95", "p99"]
    found = by_key(speed_measurements("chat", steady_requests(count)))
    for kind in order:
        measurement = found[f"ttft_s.{kind}@chat"]
        if order.index(kind) <= order.index(known):
            assert measurement.value == pytest.approx(0.050)
        else:
            assert measurement.value is None
            assert not measurement.provenance.valid
            assert "requests" in measurement.provenance.reasons[0]


def test_an_engine_that_does_not_tell_its_time_has_no_engine_figures() -> None:
    silent = [r.model_copy(update={"engine_decode_s": None}) for r in steady_requests(3)]
    found = by_key(speed_measurements("chat", silent))
    assert "decode_tps@chat" in found
    assert not any(key.startswith(("engine_", "loop_")) for key in found)


def test_nothing_complete_gives_nothing() -> None:
    assert speed_measurements("chat", [r.model_copy(update={"warmup": True}) for r in steady_requests(3)]) == []


def crowd(users: int, rounds: int, *, prefill_ms: int = 50, gap_ms: int = 10, tokens: int = 11) -> list[RequestRecord]:
    """Users in step, a millisecond apart, each asking ``rounds`` times."""
    one = steady_requests(rounds, prefill_ms=prefill_ms, gap_ms=gap_ms, tokens=tokens)
    return [
        r.model_copy(
            update={
                "submitted_ns": r.submitted_ns + user * MS,
                "token_times_ns": tuple(t + user * MS for t in r.token_times_ns),
            }
        )
        for r in one
        for user in range(users)
    ]


def test_under_load_throughput_is_that_of_the_steady_window() -> None:
    found = by_key(speed_measurements("chat x4", crowd(4, 10), Load(4)))
    # Each user gets 11 tokens every 150 ms.
    assert found["output_tps@chat x4"].value == pytest.approx(4 * 11 / 0.150, rel=0.05)
    assert found["request_rate@chat x4"].value == pytest.approx(4 / 0.150, rel=0.1)
    interval = found["output_tps@chat x4"]
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < (interval.value or 0) < interval.high
    assert found["ttft_s.median@chat x4"].value == pytest.approx(0.050)
    # What one request does alone cannot be told.
    assert not {"decode_tps@chat x4", "prefill_tps@chat x4", "engine_decode_tps@chat x4"} & set(found)


def test_too_few_requests_for_a_steady_window_say_so() -> None:
    found = by_key(speed_measurements("chat x4", crowd(3, 1), Load(4)))
    assert found["output_tps@chat x4"].value is None
    assert "4 users never asked at once" in found["output_tps@chat x4"].provenance.reasons[0]
