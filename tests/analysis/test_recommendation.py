"""The recommendation's sentences on constructed cases: they say what the figures say, and no more."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.constructed import AXES, ENERGY, MEMORY, QUALITY, SPEED, WAIT, points
from trilemma.analysis.differences import Outcome, differences_sentence, figure_difference, in_draws
from trilemma.analysis.draws import draw
from trilemma.analysis.limits import Limit
from trilemma.analysis.points import Points
from trilemma.analysis.recommendation import Priorities, Recommendation, recommend
from trilemma.analysis.scoring import ScoringMethod
from trilemma.schema import Axis

MB = 1e6
EQUAL = Priorities(AXES, dict.fromkeys(Axis, 1.0))
# The middle one is nearly best in all three.
CLEAR = {"F16": (300 * MB, 50.0, 0.50), "Q8_0": (160 * MB, 98.0, 0.495), "Q2_K": (150 * MB, 100.0, 0.30)}
TOSS = {"Q8_0": (160 * MB, 98.0, 0.45), "Q6_K": (160.1 * MB, 98.05, 0.45), "F16": (300 * MB, 50.0, 0.46)}


def told(of: Points, asked: Priorities = EQUAL, limits: tuple[Limit, ...] = (), **rest: object) -> Recommendation:
    keys = [*asked.keys, *(limit.key for limit in limits)]
    return recommend(draw(of, keys), asked, limits=limits, **rest)  # type: ignore[arg-type]


def text(found: Recommendation) -> str:
    return " ".join(found.sentences)


def test_a_clear_win_is_said_with_what_it_gains_and_gives_up() -> None:
    found = told(points(CLEAR, relative=0.002))
    assert (found.pick, found.reference) == ("id-Q8_0", "id-F16")
    assert found.probability >= 0.95
    assert found.headline.startswith(
        "M Q8_0 fits these priorities best (efficiency 33 %, speed 33 %, performance 33 %)"
    )
    assert "probably" not in text(found)
    against_full = next(one for one in found.against if "M F16" in one)
    assert "unquantized form" in against_full
    assert "47 % lower peak memory" in against_full
    assert "96 % higher decode speed" in against_full
    assert ", but 0.00500 lower accuracy" in against_full or "cannot be told apart in accuracy" in against_full


def test_a_coin_toss_is_said_to_be_open_and_never_surer_than_the_count() -> None:
    found = told(points(TOSS, relative=0.03))
    assert found.headline.startswith("It is open: ")
    assert {found.pick, found.runner_up} == {"id-Q8_0", "id-Q6_K"}
    assert "cannot be told apart in peak memory" in found.against[0]
    counts = [int(number) for number in re.findall(r"in (\d+) of 100 draws", found.sureness)]
    assert counts[0] <= 100 * found.probability
    assert sum(counts) <= 100
    assert any("would make the answer surer" in one for one in found.changes)


def test_the_same_figures_give_the_same_sentences() -> None:
    assert told(points(TOSS, relative=0.03)) == told(points(TOSS, relative=0.03))


def test_when_nothing_keeps_all_limits_it_says_which_and_what_would_admit_one() -> None:
    limits = (Limit(MEMORY, "<=", 100 * MB), Limit(SPEED, ">=", 40.0))
    found = told(points(CLEAR), limits=limits)
    assert (found.pick, found.runner_up) == (None, None)
    assert found.headline == "No configuration keeps all limits."
    assert "peak memory ≤ 95.37 MiB: 3 of 3 do not keep it" in found.limits[0]
    assert found.limits[1] == "Peak memory ≤ 144 MiB instead would let M Q2_K in."


def test_one_alone_is_the_pick_whatever_the_priorities() -> None:
    found = told(points(CLEAR), limits=(Limit(MEMORY, "<=", 155 * MB),))
    assert (found.pick, found.runner_up) == ("id-Q2_K", None)
    assert found.headline == "Only M Q2_K keeps all limits as measured, so it is the pick whatever the priorities."
    assert any("decides: without it M Q8_0 would be the pick" in one for one in found.limits)
    single = told(points({"Q8_0": CLEAR["Q8_0"]}))
    assert "there is nothing to compare it with" in single.headline


def test_equal_figures_give_no_reason_to_prefer_one() -> None:
    found = told(points({"F16": CLEAR["Q8_0"], "Q8_0": CLEAR["Q8_0"]}))
    assert found.pick is None
    assert found.headline.startswith("All 2 configurations measured the same in peak memory, decode speed")


def test_missing_figures_are_said_and_rank_nobody() -> None:
    some = {**CLEAR, "Q4_K_M": (90 * MB, 200.0, np.nan)}
    found = told(points(some))
    assert found.pick == "id-Q8_0"
    assert "1 configuration lacks one of the figures, and cannot be ranked." in found.caveats
    none = told(points({name: (*row[:2], np.nan) for name, row in CLEAR.items()}))
    assert none.pick is None
    assert none.headline.startswith("No configuration has all three figures: peak memory, decode speed")


def test_modelled_energy_is_called_modelled() -> None:
    axes = {**AXES, Axis.EFFICIENCY: ENERGY}
    rows = {"F16": (0.4, 50.0, 0.5), "Q8_0": (0.2, 98.0, 0.49)}
    asked = Priorities(axes, dict.fromkeys(Axis, 1.0))
    of = points(rows, (ENERGY, SPEED, QUALITY), modelled=[ENERGY])
    assert "Energy per token on short chat is modelled, not measured." in told(of, asked).caveats
    of.method.loc["id-F16", ENERGY] = "measured"
    assert any("for some configurations only" in one for one in told(of, asked).caveats)
    measured = points(rows, (ENERGY, SPEED, QUALITY))
    assert "modelled" not in text(told(measured, asked))


def test_single_disturbed_requantized_and_emulated_runs_are_said() -> None:
    of = points(CLEAR, runs=1)
    of.disturbed.loc["id-Q8_0", SPEED] = True
    of.meta.loc["id-Q8_0", ["requantized", "profile"]] = [True, "phone"]
    found = " ".join(told(of).caveats)
    assert (
        "M Q8_0 · emulated phone and M Q2_K were each measured in a single run: how it varies from run to run is"
        in found
    )
    assert "M Q8_0 · emulated phone was measured while something disturbed the machine." in found
    assert "already quantized" in found
    assert "emulated device (phone)" in found


def test_a_figure_without_a_known_error_is_not_called_sure() -> None:
    of = points(CLEAR, unknown=[MEMORY])
    found = told(of, limits=(Limit(MEMORY, "<=", 200 * MB),))
    assert any("(no interval is known)" in one for one in found.against)
    assert any("may be less sure than it looks" in one for one in found.caveats)
    assert "It keeps peak memory ≤ 190.7 MiB as measured; how surely is not known." in found.limits


def test_a_limit_that_is_barely_kept_is_said_with_its_count() -> None:
    rows = {"F16": (300 * MB, 50.0, 0.5, 0.2), "Q8_0": (160 * MB, 98.0, 0.49, 0.499)}
    of = points(rows, (MEMORY, SPEED, QUALITY, WAIT))
    found = told(of, limits=(Limit(WAIT, "<=", 0.5),))
    assert found.pick == "id-Q8_0"
    assert re.search(
        r"It keeps time to first token, p95, on short chat ≤ 500 ms in only 5\d of 100 draws", found.limits[0]
    )


def test_what_was_not_measured_is_not_checked_and_that_is_said() -> None:
    found = told(points(CLEAR), unmeasured=["goodput >= 5 req/s"])
    assert "Not checked, for it was not measured: goodput >= 5 req/s." in found.limits
    lacking = points({name: (*row, np.nan if name == "Q8_0" else 0.1) for name, row in CLEAR.items()},
                     (MEMORY, SPEED, QUALITY, WAIT))  # fmt: skip
    partly = told(lacking, limits=(Limit(WAIT, "<=", 1.0),))
    assert partly.pick != "id-Q8_0"
    assert any(one.startswith("1 configuration without a figure for time to first token") for one in partly.limits)


def test_how_far_priorities_must_move_is_where_the_answer_does_change() -> None:
    of = points(CLEAR, relative=0.002)
    found = told(of)
    match = re.search(
        r"Once (\w+) counts (\d+) % instead of 33 %, .* (M \S+) wins more often",
        " ".join(found.changes),
    )
    assert match, found.changes
    axis, share, winner = Axis(match[1]), int(match[2]) / 100, match[3]

    def pick_at(value: float) -> str | None:
        weights = dict.fromkeys(Axis, (1 - value) / 2) | {axis: value}
        return told(of, Priorities(AXES, weights)).pick

    # The share is told in whole percent: one point to either side of it there is no doubt.
    step = 0.02 if share > 1 / 3 else -0.02
    assert pick_at(min(1.0, max(0.0, share + step))) == f"id-{winner.removeprefix('M ')}"
    assert pick_at(share - step) == found.pick


@pytest.mark.parametrize("method", list(ScoringMethod))
def test_every_method_recommends_and_never_claims_more_than_it_counted(method: ScoringMethod) -> None:
    found = told(points(CLEAR, relative=0.05), Priorities(AXES, dict.fromkeys(Axis, 1.0), method))
    sure = "fits these priorities best" in found.headline and "probably" not in found.headline
    assert sure == (found.probability >= 0.95)


@given(hits=st.integers(0, 1000))
def test_a_count_of_draws_never_says_more_than_it_was(hits: int) -> None:
    words = in_draws(hits / 1000, 1000)
    if match := re.fullmatch(r"(\d+) of 100 draws", words):
        assert int(match[1]) <= hits / 10 < int(match[1]) + 1
    elif words == "all 1,000 draws":
        assert hits == 1000
    elif words == "none of 1,000 draws":
        assert hits == 0
    else:
        assert words == "fewer than 1 of 100 draws" and hits < 10


@given(
    first=st.floats(0.2, 5.0), second=st.floats(0.2, 5.0), relative=st.sampled_from([0.001, 0.02, 0.3]),
    key=st.sampled_from([MEMORY, SPEED, QUALITY]),
)  # fmt: skip
def test_a_difference_is_only_claimed_outside_its_interval(
    first: float, second: float, relative: float, key: str
) -> None:
    of = points({"F16": (first,), "Q8_0": (second,)}, (key,), relative=relative)
    drawn = draw(of, [key])
    found = figure_difference(drawn, key, 0, 1)
    better_first = (drawn.values[:, 0, 0] < drawn.values[:, 1, 0]) == (key == MEMORY)
    share = float(better_first.mean())
    if found.outcome is Outcome.BETTER:
        assert share > 0.97
    elif found.outcome is Outcome.WORSE:
        assert share < 0.03
    else:
        assert found.outcome is Outcome.UNCLEAR
        assert 0.02 < share < 0.98
    back = figure_difference(drawn, key, 1, 0)
    opposite = {Outcome.BETTER: Outcome.WORSE, Outcome.WORSE: Outcome.BETTER}
    assert back.outcome is opposite.get(found.outcome, found.outcome)


def test_large_ratios_are_written_as_times_and_nothing_as_nothing() -> None:
    of = points({"F16": (3.0, 0.0), "Q8_0": (1.0, 0.0)}, (SPEED, QUALITY), relative=0.001)
    drawn = draw(of, [SPEED, QUALITY])
    assert figure_difference(drawn, SPEED, 0, 1).words.startswith(
        "3.00 times the decode speed on short chat (95 %: 2.9"
    )
    assert figure_difference(drawn, QUALITY, 0, 1).outcome is Outcome.SAME
    sentence = differences_sentence("B", [figure_difference(drawn, key, 0, 1) for key in (SPEED, QUALITY)])
    assert sentence.startswith("Against B, it has 3.00 times the decode speed")
    assert sentence.endswith("it has the same accuracy on hellaswag.")
