"""Facts lie where they are said to lie, numbers are found again, and the heat map shows both."""

from __future__ import annotations

import io
import re

import pytest

from trilemma.analysis.needle import Cell, needle_cells, needle_text
from trilemma.bench.channel import Channel
from trilemma.bench.joint import run_generation_suite
from trilemma.charts.needle import cell_colour, needle_figure
from trilemma.charts.palette import ink_on, luminance, mixed
from trilemma.engines.base import LoadedModel
from trilemma.errors import StudyError
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites.generation import Reply
from trilemma.suites.needle import WORDS_PER_TOKEN, Needle, hidden, numbers_in

SUITE = Needle()


def spec(**options: object) -> SuiteSpec:
    return SuiteSpec.model_validate({"name": "needle", "options": options})


def test_every_length_and_depth_has_its_texts() -> None:
    tasks = SUITE.tasks(spec(lengths="256;1024", depths=3, per_cell=2))
    assert len({task.id for task in tasks}) == 2 * 3 * 2
    assert {(task.data.length, task.data.depth) for task in tasks} == {
        (length, depth) for length in (256, 1024) for depth in (0.0, 0.5, 1.0)
    }
    again = SUITE.tasks(spec(lengths=[256, 1024], depths=3, per_cell=2))
    assert [hidden(task.data) for task in tasks] == [hidden(task.data) for task in again]


@pytest.mark.parametrize("needles", [1, 3])
def test_a_text_is_as_long_as_wanted_and_its_facts_as_deep(needles: int) -> None:
    for task in SUITE.tasks(spec(lengths=[512, 2048], depths=5, needles=needles, per_cell=1)):
        place, text = task.data, hidden(task.data)
        words = place.length * WORDS_PER_TOKEN
        assert words - 20 < len(text.split()) <= words
        _, body, question = text.split("\n\n")
        assert question == task.question
        depths = [body.index(number) / len(body) for _, number in place.facts]
        assert depths == sorted(depths)
        # A sentence of at most 20 words is as near as a place can be met.
        assert depths[0] == pytest.approx(place.depth, abs=needles * 20 / words)
        assert len(re.findall(r"[0-9]+", body)) == needles, "nothing else in the text is a number"


def test_facts_are_found_with_and_without_separators_and_not_inside_other_numbers() -> None:
    assert numbers_in("48,213, 51922 and 10001.") == {"48213", "51922", "10001"}
    assert numbers_in("48213,51922") == {"48213", "51922"}
    (task,) = SUITE.tasks(spec(lengths=[512], depths=1, needles=3, per_cell=1))
    first, second, third = (number for _, number in task.data.facts)
    grade = SUITE.grade(task, Reply(f"They are {first}, {second} and 9{third}."), spec())
    assert grade.scores == {"accuracy": 0.0, "needles_found": pytest.approx(2 / 3)}
    assert (grade.detail["length"], grade.detail["depth"]) == (512, 0.5)
    assert SUITE.grade(task, Reply(task.expected), spec()).scores["accuracy"] == 1.0


@pytest.mark.parametrize("options", [{"lengths": [64]}, {"needles": 2}, {"depths": 0}, {"lengths": "x"}])
def test_what_cannot_be_made_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(StudyError, match=next(iter(options))):
        SUITE.tasks(spec(**options))


@pytest.mark.llama
def test_a_text_longer_than_the_context_is_wrong_and_says_why(smollm2: LoadedModel) -> None:
    lengths = [256, smollm2.context_length * 2]
    wanted = spec(lengths=lengths, depths=1, per_cell=1, max_tokens=12)
    answers = run_generation_suite(SUITE, smollm2, wanted, Channel(io.StringIO(), 1.0), 1.0)
    assert len(answers) == 2
    short, long = sorted(answers, key=lambda answer: int(str(answer.detail["length"])))
    assert "error" not in short.detail
    assert long.scores == {"accuracy": 0.0, "needles_found": 0.0}
    assert "context" in str(long.detail["reason"])
    cells = needle_cells(answers)
    assert [(cell.length, cell.failed) for cell in cells] == [(lengths[0], 0), (lengths[1], 1)]


def answer(length: int, depth: float, share: float, **detail: object) -> AnswerRecord:
    return AnswerRecord.model_validate(
        {
            "suite": "needle", "item_id": f"{length}/{depth}", "index": 0, "prompt": "?", "answer": "!",
            "scores": {"needles_found": share}, "detail": {"length": length, "depth": depth} | detail,
        }
    )  # fmt: skip


def test_the_heat_map_shows_the_share_of_each_cell_and_its_words_say_the_same() -> None:
    answers = [answer(2048, 0.0, 1.0), answer(512, 0.0, 1.0), answer(512, 1.0, 0.0), answer(512, 1.0, 1.0)]
    cells = needle_cells([*answers, answer(2048, 0.0, 0.0, error="too long")])
    assert cells == [Cell(512, 0.0, 1.0, 1, 0), Cell(512, 1.0, 0.5, 2, 0), Cell(2048, 0.0, 0.5, 2, 1)]
    assert needle_text(cells) == (
        "512 tokens: 67% found, least at depth 100% (50%); 2,048 tokens: 50% found. 1 of 5 had no answer."
    )
    (light, shares), (dark, _) = (needle_figure(cells, dark=dark).data for dark in (False, True))
    assert light.x == ("512", "2,048")
    assert light.y == ("0%", "100%")
    assert [list(row) for row in light.z] == [[1.0, 0.5], [0.5, None]]
    shown = list(zip(shares.x, shares.y, shares.text, strict=True))
    assert shown == [("512", "0%", "100%"), ("512", "100%", "50%"), ("2,048", "0%", "50%")]
    assert light.colorscale[-1][1].upper() == "#2166AC"
    assert light.colorscale != dark.colorscale
    assert needle_text([]) and needle_figure([]).data


@pytest.mark.parametrize("dark", [False, True])
def test_a_share_is_read_on_every_colour_of_the_scale(dark: bool) -> None:
    for step in range(101):
        colour = cell_colour(step / 100, dark)
        low, high = sorted(luminance(one) + 0.05 for one in (colour, ink_on(colour)))
        assert high / low >= 4.5


def test_colours_mix_to_an_opaque_one() -> None:
    assert mixed("#FFFFFF", "#000000", 0.5) == "#808080"
    assert mixed("#2166AC", "#FFFFFF", 1.0) == "#2166AC"
