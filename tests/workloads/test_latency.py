from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.records import RequestRecord
from trilemma.workloads import latency

MS = 1_000_000


def request(submitted_ms: float, times_ms: list[float], **more: object) -> RequestRecord:
    return RequestRecord(
        workload="short_chat",
        index=0,
        submitted_ns=int(submitted_ms * MS),
        token_times_ns=tuple(int(t * MS) for t in times_ms),
        **more,  # type: ignore[arg-type]
    )


def test_definitions_by_hand() -> None:
    record = request(100, [150, 160, 180, 190])
    assert latency.ttft_s(record) == pytest.approx(0.050)
    assert latency.tpot_s(record) == pytest.approx(0.040 / 3)  # the first token is not part of it
    assert latency.e2e_s(record) == pytest.approx(0.090)
    assert latency.itl_s([record]) == pytest.approx([0.010, 0.020, 0.010])


def test_window_leaves_warmup_and_failures_out() -> None:
    records = [
        request(0, [10, 20], warmup=True),
        request(100, [120, 150]),
        request(150, [170, 200]),
        request(200, [220, 990], error="dropped"),
        request(300, [310]),
    ]
    assert latency.steady_window(records) == (100 * MS, 200 * MS)
    assert latency.steady_window(records[:1]) is None


def test_under_load_the_window_begins_when_all_users_are_answered_and_ends_when_one_has_nothing_left_to_ask() -> None:
    records = [
        request(0, [10, 50]),
        request(0, [30, 60]),
        request(50, [70, 90]),
        request(60, [80, 120]),  # the last one submitted
        request(0, [1, 2], warmup=True),
    ]
    assert latency.steady_window(records, 2) == (30 * MS, 90 * MS)
    assert latency.tokens_between(records[:4], [30 * MS, 60 * MS, 90 * MS]).tolist() == [2, 4]
    # Two users who ask once each are never both waiting for another answer.
    assert latency.steady_window(records[:2], 2) == (30 * MS, 50 * MS)
    assert latency.steady_window([request(0, [10, 20]), request(0, [40, 60])], 2) is None
    assert latency.steady_window(records[:2], 3) is None


@given(st.lists(st.floats(1, 1e4), min_size=2, max_size=50))
def test_latency_adds_up(gaps_ms: list[float]) -> None:
    record = request(0, list(np.cumsum(gaps_ms)))
    n = len(gaps_ms)
    assert latency.ttft_s(record) + latency.tpot_s(record) * (n - 1) == pytest.approx(latency.e2e_s(record), rel=1e-6)
    assert latency.itl_s([record]).sum() == pytest.approx(latency.e2e_s(record) - latency.ttft_s(record), rel=1e-6)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=40))
def test_bootstrap_interval_holds_the_value_and_is_repeatable(values: list[float]) -> None:
    data = np.array(values)
    estimate = latency.bootstrap((data,), latency.statistic("mean"))
    assert estimate.low is not None
    assert estimate.high is not None
    assert data.min() - 1e-9 <= estimate.low <= estimate.high <= data.max() + 1e-9
    assert estimate == latency.bootstrap((data,), latency.statistic("mean"))


def test_one_observation_has_no_interval() -> None:
    estimate = latency.bootstrap((np.array([3.0]),), latency.statistic("median"))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (3.0, None, None, 1)


def test_percentiles_interpolate_linearly() -> None:
    assert latency.statistic("p90")(np.arange(11.0)) == pytest.approx(9.0)
    assert latency.statistic("p95")(np.array([0.0, 1.0])) == pytest.approx(0.95)
