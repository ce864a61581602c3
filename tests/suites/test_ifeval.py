"""Instructions that are followed, just missed, or followed only loosely."""

from __future__ import annotations

from typing import Any

import pytest

from trilemma import registry
from trilemma.errors import SuiteDataError
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.generation import Reply, Task
from trilemma.suites.ifeval import IfEval, instructions_of, loosened
from trilemma.suites.ifeval.counting import (
    count_bullets,
    count_capital_words,
    count_highlights,
    count_placeholders,
    count_sentences,
)
from trilemma.suites.ifeval.instructions import CHECKS

SPEC = SuiteSpec(name="ifeval")
ENGLISH = "Yesterday I went to the market with my friends and we bought some fruit and fresh bread."
GERMAN = "Gestern ging ich mit meinen Freunden auf den Markt und wir kauften Obst und frisches Brot."
SAID = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "elm"}


def task(*instructions: tuple[str, dict[str, Any]]) -> Task:
    kinds, arguments = [kind for kind, _ in instructions], [given for _, given in instructions]
    row = data.Row({"instruction_id_list": kinds, "kwargs": arguments}, "here, line 1", 0)
    return Task("ifeval/0", "Do it.", data=instructions_of(row))


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"}, "A b", "A-B C!"),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH),
    ("change_case:english_lowercase", {}, ENGLISH.lower(), GERMAN.lower()),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi. "}, " say HI. Hi!", "So: Say hi. Hi!"),
    ("combination:two_responses", {}, "******\na\n******\nb", "a\n******\na"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [[b]", "[a\n] [b]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x p. s. y", "x PS. y"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.P.S: y", "P.S. y"),
    ("detectable_format:constrained_response", {}, "Well. My answer is no.", "My answer is no"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', '{"a": [1}'),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 Day2", "Day 1 day 2"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b\n** c", "* a\n- b\n- c"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* and **"),
    ("detectable_format:title", {}, "<<a>>", "<< >> <<\na>>"),
    ("keywords:existence", {"keywords": ["flea", "json"]}, "JSON fleas", "flea"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "cats", "The CAT!"),
    ("keywords:frequency", {"keyword": "the", "frequency": 2, "relation": "at least"}, "The other", "the end"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "##", "#a"),
    ("language:response_language", {"language": "de"}, GERMAN, ENGLISH),
    ("length_constraints:nth_paragraph_first_word", SAID, "An oak.\n\n'Elm, too", "An oak.\n\nElms"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a\n***\n***\nb"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "Mr. A. Lee", "No. Yes"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "it's so", "a-b"),
    ("punctuation:no_comma", {}, "1.000; 2", "1,000"),
    ("startend:end_checker", {"end_phrase": "Peace! "}, 'Bye. "PEACE!"', "Peace! Bye"),
    ("startend:quotation", {}, ' "a"\n', '"'),
]


@pytest.mark.parametrize(("kind", "given", "follows", "misses"), CASES)
def test_an_instruction_is_followed_or_missed(kind: str, given: dict[str, Any], follows: str, misses: str) -> None:
    # The hub's records name every argument of every kind.
    (one,) = task((kind, {"num_words": None, "keywords": [], **given})).data
    assert one.followed([follows])
    assert not one.followed([misses])
    assert not one.followed(["", " \n"])


def test_every_kind_is_tried_and_in_the_data() -> None:
    tasks = IfEval().tasks(SPEC)
    assert len(tasks) == 541
    assert {one.id for task in tasks for one in task.data} == set(CHECKS) == {kind for kind, *_ in CASES}
    assert len(CHECKS) == 25


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("A line\nand another", 1),
        ('He asked Dr. Lee: "Why?" She left.', 2),
        ("The U.S. economy grew 3.5 percent. J. Fox saw it... and more", 2),
        ("It was late (very late.) 1. Wait 2. go", 3),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_capital_words_are_cut_as_the_treebank_cuts_them() -> None:
    assert count_capital_words("DON'T") == 2
    assert count_capital_words("We CANNOT say: U.S.A. (A/B), X--Y... 1 Ab") == 6


@pytest.mark.parametrize("count", [count_sentences, count_bullets, count_placeholders, count_highlights])
@pytest.mark.parametrize("piece", ["\n", "[", "<<", "* ", "a.", ". ", "-\n"])
@pytest.mark.timeout(60)
def test_long_answers_take_no_longer_than_their_length(count: Any, piece: str) -> None:
    # A search that starts again at every character would take hours.
    assert count(piece * 100_000 + "x") >= 0


def test_deep_json_is_no_crash() -> None:
    (one,) = task(("detectable_format:json_format", {})).data
    assert not one.followed(["[" * 1_000_000])


def test_loosely_any_form_of_the_answer_will_do() -> None:
    assert loosened("Sure:\n**a**\nBye") == [
        "Sure:\n**a**\nBye", "Sure:\na\nBye", "**a**\nBye", "a\nBye", "Sure:\n**a**", "Sure:\na", "**a**", "a",
    ]  # fmt: skip
    quoted = task(("startend:quotation", {}), ("punctuation:no_comma", {}))
    grade = IfEval().grade(quoted, Reply('Sure:\n*"a"*'), SPEC)
    assert grade.scores == {"accuracy": 0.0, "accuracy_loose": 1.0}
    assert grade.detail["instructions"] == [
        {"id": "startend:quotation", "kwargs": {}, "strict": False, "loose": True},
        {"id": "punctuation:no_comma", "kwargs": {}, "strict": True, "loose": True},
    ]
    assert IfEval().grade(quoted, Reply("", "the connection was lost"), SPEC).scores["accuracy_loose"] == 0.0


def record(index: int, *strict: bool, error: str = "") -> AnswerRecord:
    instructions = [{"id": "punctuation:no_comma", "kwargs": {}, "strict": one, "loose": True} for one in strict]
    scores = {"accuracy": float(all(strict)), "accuracy_loose": 1.0}
    detail: dict[str, Any] = {"instructions": instructions, **({"error": error} if error else {})}
    return AnswerRecord(
        suite="ifeval", item_id=f"ifeval/{index}", index=index, prompt="", answer="", expected="", scores=scores,
        detail=detail,
    )  # fmt: skip


def test_instructions_count_each_and_prompts_are_resampled() -> None:
    answers = [record(0, True, True, False), record(1, False, error="lost"), record(2, True), record(3, True)]
    found = {one.figure: one for one in registry.load("trilemma.suites", "ifeval")().measurements(answers, SPEC)}
    assert next(iter(found)) == "accuracy"
    assert found["accuracy"].value == 0.5
    followed = found["instruction_accuracy"]
    assert followed.value == pytest.approx(4 / 6)
    assert followed.n == 6
    assert followed.low is not None
    assert followed.high is not None
    assert followed.low < 4 / 6 < followed.high
    assert "1 of 4 answers failed and count as wrong" in followed.provenance.reasons
    assert followed.provenance.valid
    assert found["instruction_accuracy_loose"].value == 1.0
    nothing = IfEval().measurements([], SPEC)
    assert [one.value for one in nothing] == [None] * 4


def test_a_wrong_record_says_what_is_wrong() -> None:
    with pytest.raises(SuiteDataError, match=r"line 1.*'poem' is no known instruction"):
        task(("poem", {}))
    with pytest.raises(SuiteDataError, match="num_words"):
        task(("length_constraints:number_words", {"relation": "at least"}))


def test_the_prompt_is_all_that_is_said() -> None:
    (one,) = IfEval().tasks(SPEC.model_copy(update={"limit": 1}))
    turn = next(IfEval().script(one, SPEC))
    assert turn.messages == ({"role": "user", "content": one.question},)
    assert turn.max_tokens == 1280
