"""Likelihoods and divergences against their textbook definitions, computed apart with SciPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, rel_entr, softmax

from trilemma.engines.base import FloatArray
from trilemma.suites.distributions import (
    chunk_interval,
    divergences,
    negative_log_likelihoods,
    quantile_interval,
)

LOGITS = hnp.arrays(np.float32, (3, 17), elements=st.floats(-60, 60, width=32))


@given(LOGITS, LOGITS)
def test_divergence_is_the_sum_of_relative_entropies(reference: FloatArray, other: FloatArray) -> None:
    found, agreed = divergences(reference, other)
    p, q = (softmax(array.astype(np.float64), axis=1) for array in (reference, other))
    assert found == pytest.approx(rel_entr(p, q).sum(axis=1), rel=1e-4, abs=1e-5)
    assert (found >= 0).all()
    assert agreed.tolist() == (reference.argmax(axis=1) == other.argmax(axis=1)).tolist()


@given(LOGITS)
def test_divergence_from_itself_is_exactly_nothing(logits: FloatArray) -> None:
    found, agreed = divergences(logits, logits.copy())
    assert found.tolist() == [0.0] * 3
    assert agreed.all()


@given(LOGITS, st.floats(-1000, 1000, width=32))
def test_divergence_does_not_feel_a_shift_of_all_logits(logits: FloatArray, shift: float) -> None:
    found, _ = divergences(logits, (logits + np.float32(shift)).astype(np.float32))
    # Adding the shift itself rounds: 1000 + x keeps x to about 6e-5.
    assert found == pytest.approx(0, abs=1e-6)


def test_a_token_that_the_reference_rules_out_adds_nothing() -> None:
    reference = np.array([[0.0, 1.0, -np.inf]], dtype=np.float32)
    for last in (-np.inf, 2.0):
        other = np.array([[1.0, 0.0, last]], dtype=np.float32)
        expected = rel_entr(softmax(reference.astype(float)), softmax(other.astype(float))).sum()
        assert divergences(reference, other)[0][0] == pytest.approx(expected, rel=1e-5)


@given(LOGITS, st.lists(st.integers(0, 16), min_size=3, max_size=3))
def test_losses_are_the_negative_log_softmax(logits: FloatArray, targets: list[int]) -> None:
    expected = -log_softmax(logits.astype(np.float64), axis=1)[range(3), targets]
    assert negative_log_likelihoods(logits, targets) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[3e38, 0.0], [-3e38, -3e38]], dtype=np.float32)
    assert negative_log_likelihoods(logits, [0, 0]) == pytest.approx([0.0, np.log(2)], rel=1e-6)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        divergences(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


def test_the_interval_over_chunks_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    chunks = 2.0 + rng.normal(0, 0.3, size=(2000, 8))
    hits = 0
    for means in chunks:
        low, high = chunk_interval((means * 50).tolist(), [50] * 8)
        assert low is not None
        assert high is not None
        hits += low <= 2.0 <= high
    assert 0.935 < hits / len(chunks) < 0.965


def test_one_chunk_tells_no_interval() -> None:
    assert chunk_interval([3.0], [10]) == (None, None)
    assert quantile_interval([np.array([1.0, 2.0])], 0.99) == (None, None)


def test_the_interval_of_a_quantile_brackets_it_and_is_seeded() -> None:
    rng = np.random.default_rng(1)
    chunks = [rng.exponential(size=255) for _ in range(8)]
    interval = quantile_interval(chunks, 0.99)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low <= np.quantile(np.concatenate(chunks), 0.99) <= interval.high
    assert interval == quantile_interval(chunks, 0.99)
