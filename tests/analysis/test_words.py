from __future__ import annotations

import math

import numpy as np
import pytest

from tests.analysis import constructed
from tests.factory import DEMO, fill_store, points_of
from trilemma.analysis.distributions import ecdf, latencies, percentile
from trilemma.analysis.format import (
    Scale,
    axis_title,
    digits,
    find_key,
    format_duration,
    format_figure,
    key_title,
    scale_for,
    short_titles,
)
from trilemma.analysis.headline import default_axes, headline_keys, in_order
from trilemma.analysis.limits import parse_limit, within
from trilemma.analysis.text import best_sentences, caveats, front_headline, pareto_text
from trilemma.analysis.traces import rate, run_traces
from trilemma.errors import TrilemmaError
from trilemma.records import RequestRecord, Sample
from trilemma.schema import Axis, Phase
from trilemma.store import Store

KEYS = ["energy_per_token_j@short_chat", "accuracy_norm@hellaswag", "peak_memory_bytes"]


@pytest.mark.parametrize(
    ("value", "unit", "low", "high", "text"),
    [
        (94.13, "tok/s", 92.9, 95.3, "94.1 tok/s ±1.2"),
        (0.01234, "s", None, None, "12.3 ms"),
        (0.000_45, "J/tok", None, None, "450 µJ/tok"),
        (190_000_000, "B", 189_000_000, 191_000_000, "181 MiB ±0.95"),
        (0.42, "", 0.33, 0.51, "0.420 ±0.090"),
        (7.71 * 2**30, "B", 7.7099 * 2**30, 7.7101 * 2**30, "7.71 GiB ±<0.01"),
        (310.0, "tok/s", 309.8, 310.2, "310 tok/s ±0.20"),
        (0.9996, "", None, None, "1.00"),
        (999.6, "tok/s", None, None, "1,000 tok/s"),
        (1234567.0, "tok/s", None, None, "1,230,000 tok/s"),
        (1.0, "nat", 0.99, 1.5, "1.00 nat (0.990 to 1.50)"),
        (0.0, "nat", 0.0, 0.0, "0 nat ±0"),
        (-0.004, "s", None, None, "-4.00 ms"),
        (None, "s", None, None, "–"),
        (float("nan"), "s", None, None, "–"),
    ],
)
def test_figures_have_three_digits_a_fitting_prefix_and_an_interval(
    value: float | None, unit: str, low: float | None, high: float | None, text: str
) -> None:
    assert format_figure(value, unit, low, high) == text


def test_one_prefix_suits_a_whole_axis() -> None:
    assert scale_for([0.05, 0.5, 0.06], "J/tok") == Scale(1e-3, "mJ/tok")
    assert scale_for([None, float("nan"), 0.0], "s") == Scale(1.0, "s")
    assert scale_for([1e-15], "s").unit == "ns"
    assert digits(1e-9) == "1.00e-09"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.500 s"), (42.4, "42 s"), (59.9, "60 s"), (200, "3 min 20 s"), (3900, "1 h 5 min"), (None, "–")],
)
def test_durations_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


def test_titles_say_statistic_and_subject_and_which_way_is_better() -> None:
    assert key_title("ttft_s.p95@short_chat") == "Time to first token, p95, short chat"
    assert key_title("their_own@x") == "their_own@x"
    assert axis_title("peak_memory_bytes", Scale(2**20, "MiB")) == "Peak memory, MiB (less is better: axis reversed)"
    assert axis_title("accuracy@piqa", Scale(1, "")) == "Accuracy, piqa (more is better)"
    assert list(short_titles(["accuracy@a", "accuracy@b", "load_s"]).values()) == [
        "Accuracy, a",
        "Accuracy, b",
        "Time to load",
    ]


def test_a_figure_is_found_by_key_title_or_name_if_it_is_the_only_one() -> None:
    keys = ["peak_memory_bytes", "accuracy@a", "accuracy@b"]
    assert find_key("Peak  Memory", keys) == "peak_memory_bytes"
    assert find_key("accuracy, a", keys) == "accuracy@a"
    with pytest.raises(TrilemmaError, match="could be any of accuracy@a, accuracy@b"):
        find_key("accuracy", keys)
    with pytest.raises(TrilemmaError, match="No figure"):
        find_key("beauty", keys)


@pytest.mark.parametrize(
    ("text", "value", "op"),
    [
        ("peak_memory_bytes <= 400 MiB", 400 * 2**20, "<="),
        ("peak memory<=4e8B", 4e8, "<="),
        ("Peak memory ≤ 1,024 KiB", 2**20, "<="),
        ("energy_per_token_j < 0.1", 0.1, "<="),
        ("energy per token <= 100 mJ", 0.1, "<="),
        ("energy per token <= 100 mJ/tok", 0.1, "<="),
        ("accuracy_norm@hellaswag >= 40%", 0.4, ">="),
        ("accuracy_norm > .4", 0.4, ">="),
    ],
)
def test_limits_are_read_with_their_units(text: str, value: float, op: str) -> None:
    keys = [*KEYS[1:], "energy_per_token_j"]
    limit = parse_limit(text, keys)
    assert (limit.value, limit.op) == (pytest.approx(value), op)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "peak memory",
        "peak memory <= many",
        "peak memory <= 4 s",
        "accuracy_norm >= 4 MiB",
        "x <= 1",
        "<= 1",
        "a" * 5000,
    ],
)
def test_what_is_no_limit_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(TrilemmaError) as caught:
        parse_limit(text, KEYS)
    assert caught.value.hint


def test_limits_let_pass_what_keeps_them_and_is_known(store: Store) -> None:
    fill_store(store, DEMO[:4], 1, detail=False)
    points = points_of(store, *KEYS, "perplexity@nowhere")
    kept = within(points, [parse_limit("peak memory <= 260 MiB", KEYS)])
    assert points.meta["quantization"][kept].tolist() == ["Q8_0", "Q6_K", "Q4_K_M"]
    assert not within(points, [parse_limit("perplexity@nowhere <= 1000", points.keys)]).any()


def test_the_picture_in_words(store: Store) -> None:
    fill_store(store, detail=False)
    points = points_of(store, *KEYS)
    text = pareto_text(points, KEYS[:2])
    on = int(points.front(KEYS[:2]).sum())
    assert text.startswith(f"{on} of 9 configurations are on the front.")
    assert "Lowest energy per token, short chat: SmolLM2-135M-Instruct Q2_K (" in text
    assert "modelled, not measured" in text
    assert "Energy per token" in " ".join(caveats(points, KEYS[:1]))
    assert caveats(points, KEYS[2:]) == []
    assert (
        front_headline(points.select(np.zeros(9, dtype=bool)), KEYS)
        == "No configuration has all of the chosen figures."
    )


def test_who_is_as_good_as_the_best_is_not_left_out() -> None:
    rows = {"Q8_0": (300.0, 90.0, 0.48), "Q6_K": (250.0, math.nan, 0.48), "Q2_K": (200.0, 80.0, 0.48)}
    found = constructed.points(rows)
    lowest, fastest, best = best_sentences(found, found.keys)
    assert lowest.startswith("Lowest peak memory: M Q2_K (200 B")
    assert fastest.startswith("Highest decode speed, short chat: M Q8_0 (90.0 tok/s")
    assert best.startswith("Highest accuracy, hellaswag: M Q8_0 and 2 more (0.480")


def test_percentiles_are_blank_where_the_sample_is_too_small() -> None:
    values = np.arange(1.0, 101.0)
    assert percentile(values, 99) == pytest.approx(99.01)
    assert percentile(values[:99], 99) is None
    assert percentile(values[:20], 95) == pytest.approx(19.05)
    assert percentile(values[:19], 95) is None
    assert percentile([], 50) is None


def test_latencies_leave_out_warm_up_and_failures() -> None:
    def request(index: int, **more: object) -> RequestRecord:
        times = (1_100_000_000, 1_200_000_000, 1_400_000_000)
        return RequestRecord.model_validate(
            {"workload": "w", "index": index, "submitted_ns": 1_000_000_000, "token_times_ns": times} | more
        )

    found = latencies([request(0), request(1, warmup=True), request(2, error="lost"), request(3, token_times_ns=(5,))])
    assert found["w"]["ttft_s"].tolist() == [0.1]
    assert found["w"]["tpot_s"] == pytest.approx([0.15])
    assert found["w"]["itl_s"] == pytest.approx([0.1, 0.2])
    at, share = ecdf([3.0, 1.0, np.nan, 2.0])
    assert (at.tolist(), share.tolist()) == ([1, 2, 3], pytest.approx([1 / 3, 2 / 3, 1]))


def test_a_counter_becomes_a_rate_and_a_restart_a_gap() -> None:
    seconds = np.arange(0, 4, 0.1)
    counter = 20 * seconds
    counter[20:] -= counter[20]
    at, watts = rate(seconds, counter)
    assert watts[:5] == pytest.approx(20)
    assert watts[-5:] == pytest.approx(20)
    assert np.isnan(watts).sum() == 5, "only what spans the restart is unknown"
    assert at[0] == pytest.approx(0.25)
    assert rate(seconds[:1], counter[:1])[1].size == 0


def test_traces_are_named_by_what_they_are() -> None:
    samples = [
        Sample(
            time_ns=i * 10**8,
            phase=Phase.SPEED,
            values={"rss_bytes": 5.0, "energy_j.modelled": i * 2.0, "cpu_s": i * 0.2},
        )
        for i in range(20)
    ]
    traces, start, end = run_traces(samples, [])
    assert [(t.row, t.modelled) for t in traces] == [("memory", False), ("power", True), ("cpu", False)]
    assert traces[0].main, "without PSS, RSS is the line to look at"
    assert (start, end) == (0, pytest.approx(1.9))
    assert run_traces([], []) == ([], 0, 0.0)


def test_default_axes_and_headlines(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    keys = in_order(store.figure_keys())
    assert default_axes(keys, ["short_chat"]) == tuple(KEYS)
    assert default_axes(["load_s"]) == ("load_s", "load_s", None)
    assert default_axes(["perplexity", "load_s"])[:2] == ("load_s", "perplexity")
    found = headline_keys(keys)
    assert found[Axis.EFFICIENCY][0] == "peak_memory_bytes"
    assert found[Axis.SPEED][:2] == ["decode_tps@short_chat", "ttft_s.median@short_chat"]
    assert found[Axis.PERFORMANCE][0] == "accuracy_norm@hellaswag"
