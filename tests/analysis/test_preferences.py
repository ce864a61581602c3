"""Figures and limits as presets name them, found among what a study has measured."""

from __future__ import annotations

import pytest

from trilemma.analysis.limits import Limit
from trilemma.analysis.preferences import axis_keys, find_figure, limit_words, read_limit
from trilemma.errors import TrilemmaError
from trilemma.schema import Axis

KEYS = [
    "peak_memory_bytes", "ttft_s.mean@short_chat", "ttft_s.median@short_chat", "ttft_s.p95@short_chat",
    "ttft_s.p95@short_chat x8", "ttft_s.median@long_answer", "decode_tps@short_chat", "accuracy@own:0123456789ab",
    "accuracy@gsm8k x4", "accuracy_norm@hellaswag", "accuracy@hellaswag", "kl_divergence.mean@divergence",
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "subjects", "found"),
    [
        ("peak_memory_bytes", (), "peak_memory_bytes"),
        ("ttft_s", (), "ttft_s.median@short_chat"),
        ("ttft_s", ("long_answer",), "ttft_s.median@long_answer"),
        ("ttft_s.p95", (), "ttft_s.p95@short_chat"),
        ("ttft_s.p95@short_chat x8", (), "ttft_s.p95@short_chat x8"),
        ("ttft_s.p95@short_chat x4", (), None),
        ("ttft_s.p99", (), None),
        ("kl_divergence.mean", (), "kl_divergence.mean@divergence"),
        ("accuracy@own", (), "accuracy@own:0123456789ab"),
        ("accuracy@gsm8k", (), "accuracy@gsm8k x4"),
        ("accuracy", ("hellaswag",), "accuracy@hellaswag"),
        ("accuracy@mmlu", ("hellaswag",), None),
        ("beauty", (), None),
    ],
)
def test_what_a_name_leaves_open_is_chosen(wanted: str, subjects: tuple[str, ...], found: str | None) -> None:
    assert find_figure(wanted, KEYS, subjects) == found


def test_an_axis_has_its_first_preference_else_the_usual_figure() -> None:
    found = axis_keys({Axis.SPEED: ("e2e_s", "ttft_s.p95"), Axis.PERFORMANCE: ("f1@squad",)}, KEYS)
    assert found == {
        Axis.EFFICIENCY: "peak_memory_bytes",
        Axis.SPEED: "ttft_s.p95@short_chat",
        Axis.PERFORMANCE: "accuracy_norm@hellaswag",
    }
    assert Axis.PERFORMANCE not in axis_keys({}, KEYS[:7])


def test_a_limit_is_read_on_what_there_is() -> None:
    stated = read_limit("ttft_s.p95 <= 0.5 s", KEYS)
    assert stated.limit == Limit("ttft_s.p95@short_chat", "<=", 0.5)
    assert read_limit("peak memory ≤ 2 GiB", KEYS).limit == Limit("peak_memory_bytes", "<=", float(2 << 30))
    assert limit_words(Limit("peak_memory_bytes", "<=", float(2 << 30))) == "peak memory ≤ 2 GiB"


@pytest.mark.parametrize("text", ["goodput >= 5 req/s", "Goodput >= 5", "e2e_s.p99@short_chat <= 500 ms"])
def test_a_figure_that_was_not_measured_is_told_from_one_that_does_not_exist(text: str) -> None:
    assert read_limit(text, KEYS).limit is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("beauty >= 5", "no figure"),
        ("peak memory", "is not a limit"),
        ("", "is not a limit"),
        ("<= 5", "is not a limit"),
        ("goodput >= 5 GiB", "not a unit"),
        ("ttft_s.p95 <= 5 GiB", "not a unit"),
        ("peak_memory_bytes <= 4..5 GiB", "not a number"),
    ],
)
def test_what_is_no_limit_is_an_error(text: str, says: str) -> None:
    with pytest.raises(TrilemmaError) as caught:
        read_limit(text, KEYS)
    assert says in str(caught.value)
