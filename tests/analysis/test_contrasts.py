"""Configurations against a first one: the arithmetic, and that it is right about luck."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.factory import DEMO, fill_store, points_of
from trilemma.analysis.contrasts import STUDENT, Verdict, contrasts, shared_keys
from trilemma.analysis.draws import draw
from trilemma.analysis.paired import MCNEMAR, paired
from trilemma.analysis.points import META, Points
from trilemma.analysis.uncertainty import mean_errors
from trilemma.schema import Method
from trilemma.store import Store

SPEED, WAIT, PLAIN, SCORE, SIZE = "decode_tps", "ttft_s.median", "perplexity", "accuracy@hellaswag", "weights_bytes"
few = settings(max_examples=30)


def made(columns: dict[str, list[tuple[float, float]]], df: float = np.inf, method: str = "measured") -> Points:
    """Points out of values and standard errors by key, one pair a configuration."""
    names = [f"c{row}" for row in range(len(next(iter(columns.values()))))]

    def table(of: object) -> pd.DataFrame:
        return pd.DataFrame({key: [of(pair) for pair in pairs] for key, pairs in columns.items()}, index=names)  # type: ignore[operator]

    value, error = table(lambda pair: pair[0]).astype(float), table(lambda pair: pair[1]).astype(float)
    return Points(
        meta=pd.DataFrame({name: 8.0 if name == "bits" else "" for name in META}, index=names),
        value=value,
        low=value - 1.96 * error,
        high=value + 1.96 * error,
        error=error,
        df=table(lambda _: df).astype(float),
        n=table(lambda _: 1),
        runs=table(lambda _: 2),
        method=table(lambda _: method).astype(object),
        source=table(lambda _: "test").astype(object),
        disturbed=table(lambda _: False),
        left_out=table(lambda _: 0),
        invalid={},
    )


def test_with_a_common_variance_it_is_the_t_test_of_two_groups() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal([[10.0], [12.0]], 1.0, (2, 4))
    errors = mean_errors(values, np.full((2, 4), np.nan))
    points = made({PLAIN: list(zip(values.mean(axis=1), errors.error, strict=True))}, df=float(errors.df[0]))
    (found,) = contrasts(points, [PLAIN])
    wanted = stats.ttest_ind(values[1], values[0], equal_var=True)
    assert found.p == pytest.approx(float(wanted.pvalue))
    interval = wanted.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert found.difference == pytest.approx(values[1].mean() - values[0].mean())
    assert found.test == STUDENT
    assert not found.relative


@pytest.mark.parametrize("df", [np.inf, 12.0])
def test_the_interval_is_the_one_that_draws_give(df: float) -> None:
    points = made({SPEED: [(100.0, 4.0), (90.0, 6.0)], PLAIN: [(20.0, 0.5), (21.0, 0.2)]}, df=df)
    drawn = draw(points, [SPEED, PLAIN], count=40_000).values
    speed, plain = contrasts(points, [SPEED, PLAIN])
    share = np.quantile(drawn[:, 1, 0] / drawn[:, 0, 0] - 1, [0.025, 0.975])
    assert speed.relative
    assert [speed.low, speed.high] == pytest.approx(share.tolist(), abs=0.008)
    apart = np.quantile(drawn[:, 1, 1] - drawn[:, 0, 1], [0.025, 0.975])
    assert [plain.low, plain.high] == pytest.approx(apart.tolist(), abs=0.05)


def test_the_same_measured_twice_differs_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(2)
    hits = trials = 0
    for _ in range(300):
        values = rng.lognormal(4.0, 0.03, (5, 2))
        errors = mean_errors(np.log(values), np.full((5, 2), np.nan))
        means = values.mean(axis=1)
        points = made({SPEED: list(zip(means, errors.error * means, strict=True))}, df=float(errors.df[0]))
        found = contrasts(points, [SPEED])
        hits += sum(one.p is not None and one.p < 0.05 for one in found[:1])
        trials += 1
        assert all(one.corrected >= one.p for one in found if one.p is not None and one.corrected is not None)
    assert 0.02 <= hits / trials <= 0.09


@few
@given(
    st.lists(
        st.tuples(st.floats(1.0, 1e6), st.floats(0.01, 1e5), st.floats(1.0, 1e6), st.floats(0.01, 1e5)),
        min_size=1, max_size=4,
    ),
    st.sampled_from([2.0, 7.0, np.inf]),
)  # fmt: skip
def test_the_other_way_round_everything_changes_its_sign(rows: list[tuple[float, ...]], df: float) -> None:
    keys = [SPEED, WAIT, PLAIN, "energy_j"][: len(rows)]
    there = made({key: [(a, b), (c, d)] for key, (a, b, c, d) in zip(keys, rows, strict=True)}, df=df)
    back = made({key: [(c, d), (a, b)] for key, (a, b, c, d) in zip(keys, rows, strict=True)}, df=df)
    turned = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    for one, other in zip(contrasts(there, keys), contrasts(back, keys), strict=True):
        assert one.difference == pytest.approx(-(other.difference or 0.0))
        assert one.p == pytest.approx(other.p)
        assert one.corrected == pytest.approx(other.corrected)
        assert other.verdict is turned.get(one.verdict, one.verdict)
        assert one.low is not None
        assert one.high is not None
        assert one.low <= (one.share if one.share is not None else one.difference or 0.0) <= one.high


def test_less_is_better_where_it_is() -> None:
    points = made({SPEED: [(100.0, 0.1), (50.0, 0.1)], WAIT: [(2.0, 0.01), (1.0, 0.01)]})
    assert [one.verdict for one in contrasts(points, [SPEED, WAIT])] == [Verdict.WORSE, Verdict.BETTER]


def test_a_verdict_wants_the_corrected_p() -> None:
    one = made({SPEED: [(100.0, 1.0), (103.2, 1.0)]})
    assert contrasts(one, [SPEED])[0].verdict is Verdict.BETTER
    many = made({f"decode_tps@w{number}": [(100.0, 1.0), (103.2, 1.0)] for number in range(9)})
    found = contrasts(many, many.keys)
    assert {one.verdict for one in found} == {Verdict.UNTOLD}
    assert found[0].corrected == pytest.approx(9 * (found[0].p or 0.0))


def test_what_nothing_can_be_said_of_says_why() -> None:
    nan = float("nan")
    points = made(
        {SPEED: [(1.0, 0.1), (nan, nan)], WAIT: [(nan, nan), (1.0, 0.1)], PLAIN: [(1.0, nan), (2.0, nan)],
         "saturation_users": [(8.0, 0.0), (16.0, 0.0)], "energy_j": [(1.0, 0.01), (3.0, 0.01)]}
    )  # fmt: skip
    points.method.loc["c0", "energy_j"] = Method.MODELLED.value
    found = contrasts(points, points.keys)
    assert {one.verdict for one in found} == {Verdict.UNKNOWN}
    assert [one.reason for one in found] == [
        "it lacks this figure", "the first one lacks it", "its error is not known",
        "its error is not known: no two repeats differ", "one is modelled, the other measured",
    ]  # fmt: skip
    assert all(one.p is None for one in found)
    assert [one.difference for one in found] == [None, None, 1.0, 8.0, 2.0]


def test_what_is_counted_needs_no_test() -> None:
    points = made({SIZE: [(100.0, float("nan")), (60.0, float("nan")), (100.0, float("nan"))]})
    found = contrasts(points, [SIZE])
    assert [one.verdict for one in found] == [Verdict.BETTER, Verdict.SAME]
    assert [one.share for one in found] == [pytest.approx(-0.4), 0.0]
    assert [one.p for one in found] == [None, None]


def test_scores_are_compared_item_by_item_where_they_are_the_mean_of_their_items() -> None:
    first = {f"i{row}": float(row % 2) for row in range(40)}
    second = {f"i{row}": float(row % 2 or row < 16) for row in range(40)}
    points = made({SCORE: [(0.5, 0.08), (sum(second.values()) / 40, 0.08)]})
    (found,) = contrasts(points, [SCORE], {SCORE: {"c0": first, "c1": second}})
    wanted = paired(first, second)
    assert (found.difference, found.low, found.high, found.p, found.n) == (
        wanted.difference, wanted.low, wanted.high, wanted.p, 40,
    )  # fmt: skip
    assert found.test == MCNEMAR
    assert found.verdict is Verdict.BETTER
    # Unpaired, the same figures could not be told apart.
    assert contrasts(points, [SCORE])[0].verdict is Verdict.UNTOLD
    other = made({SCORE: [(0.9, 0.08), (0.7, 0.08)]})
    assert contrasts(other, [SCORE], {SCORE: {"c0": first, "c1": second}})[0].test == STUDENT


def test_no_changed_item_leaves_no_interval_and_no_verdict() -> None:
    table = {"a": 1.0, "b": 0.0}
    (found,) = contrasts(made({SCORE: [(0.5, 0.3), (0.5, 0.3)]}), [SCORE], {SCORE: {"c0": table, "c1": dict(table)}})
    assert (found.difference, found.low, found.p, found.verdict) == (0.0, None, 1.0, Verdict.UNTOLD)


def test_only_what_two_have_is_compared(store: Store) -> None:
    fill_store(store, DEMO[:3], 2, detail=False)
    points = points_of(store, "decode_tps@short_chat", "accuracy@piqa", "goodput")
    assert shared_keys(points, points.keys) == ["decode_tps@short_chat", "accuracy@piqa"]
    found = contrasts(points, shared_keys(points, points.keys))
    assert [(one.key, one.configuration_id) for one in found] == [
        (key, str(other)) for key in points.keys[:2] for other in points.meta.index[1:]
    ]
    # Fewer than half the bytes to read for a token: that is no luck.
    assert found[1].verdict is Verdict.BETTER
