from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.analysis.shrinkage import expected, shrunk

COUNT = 4000


def drawn(value: np.ndarray, sigma: float, models: list[str], bits: list[float]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return shrunk(value + rng.normal(0, sigma, (COUNT, len(value))), value, expected(models, bits), rng)


def test_where_noise_is_small_nothing_changes() -> None:
    value = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert drawn(value, 0.01, ["m"] * 5, [np.nan] * 5).mean(axis=0) == pytest.approx(value, abs=0.005)


def test_scatter_that_noise_explains_regresses_to_the_mean() -> None:
    value = np.random.default_rng(1).normal(0.5, 0.05, 40)
    means = drawn(value, 0.05, ["m"] * 40, [np.nan] * 40).mean(axis=0)
    assert np.std(means) < 0.5 * np.std(value)
    assert means.mean() == pytest.approx(value.mean(), abs=0.005)


def test_models_and_bits_are_no_luck() -> None:
    """Two models far apart, each losing as bits shrink: nothing of that is taken back, whatever the noise."""
    bits = [16.0, 8.0, 6.0, 4.0, 3.0, 2.0] * 2
    models = ["a"] * 6 + ["b"] * 6
    value = np.array([0.3] * 6 + [0.7] * 6) - 0.4 * 2.0 ** -np.array(bits)
    assert drawn(value, 0.05, models, bits).mean(axis=0) == pytest.approx(value, abs=0.005)


def test_too_few_configurations_are_left_alone() -> None:
    value = np.array([1.0, 2.0, 3.0])
    rng = np.random.default_rng(0)
    draws = value + rng.normal(size=(10, 3))
    assert shrunk(draws, value, expected(["m"] * 3, [4.0, 3.0, 2.0]), rng) is draws


def test_no_noise_is_left_alone() -> None:
    value = np.arange(6.0)
    draws = np.tile(value, (10, 1))
    assert shrunk(draws, value, expected(["m"] * 6, [np.nan] * 6), np.random.default_rng(0)) is draws


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.lists(st.floats(1, 32), min_size=12, max_size=12),
)
def test_the_projection_keeps_means_of_models(models: list[str], bits: list[float]) -> None:
    projection = expected(models, bits[: len(models)])
    figures = np.random.default_rng(0).normal(size=(5, len(models)))
    assert projection.of(projection.of(figures)) == pytest.approx(projection.of(figures), abs=1e-6)
    shifted = np.array([float(ord(model)) for model in models])
    assert projection.of(shifted) == pytest.approx(shifted, abs=1e-5)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.lists(st.one_of(st.sampled_from([2.0, 4.0, 8.0, 16.0]), st.just(np.nan)), min_size=12, max_size=12),
)
def test_the_projection_is_least_squares(models: list[str], bits: list[float]) -> None:
    """Against the pseudo-inverse of the design: a column a model, and one of 2^-bits where all are known."""
    known = bits[: len(models)]
    columns = [[float(model == one) for model in models] for one in dict.fromkeys(models)]
    if np.isfinite(known).all():
        columns.append([2.0**-one for one in known])
    design = np.array(columns).T
    square = design @ np.linalg.pinv(design)
    projection = expected(models, known)
    assert projection.of(np.eye(len(models))) == pytest.approx(square, abs=1e-6)
    assert projection.leverage == pytest.approx(np.diag(square), abs=1e-6)
    assert projection.rank == round(float(np.trace(square)))
