"""Prompts, continuations and right answers, against what lm-evaluation-harness 0.4's task templates give by hand."""

from __future__ import annotations

from typing import Any

import pytest

from trilemma import registry
from trilemma.errors import SuiteDataError
from trilemma.suites.data import Row
from trilemma.suites.hellaswag import clean
from trilemma.suites.multiple_choice import Item, MultipleChoice

ROOF = ["is using wrap to wrap a pair of skis.", "is ripping level tiles off."]


def item(suite: str, **values: Any) -> Item:
    made: MultipleChoice = registry.load("trilemma.suites", suite)()
    return made.item(Row(values, "data.jsonl, line 7", 6), "id")


CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...], tuple[str, ...], int]] = {
    "hellaswag of the hub": (
        "hellaswag",
        {
            "activity_label": "Roof shingle removal",
            "ctx_a": "A man is sitting on a roof.",
            "ctx_b": "he",
            "endings": ROOF,
            "label": "1",
        },
        ("Roof shingle removal: A man is sitting on a roof. He",) * 2,
        (" is using wrap to wrap a pair of skis.", " is ripping level tiles off."),
        1,
    ),
    "hellaswag of the hub, WikiHow": (
        "hellaswag",
        {
            "activity_label": "Home and Garden",
            "ctx_a": "[header] How to clean  a grill [title] Use soap. [step] Scrub.",
            "ctx_b": "",
            "endings": ["[substeps] Rinse it.", "Burn it. [title] Wait."],
            "label": 0,
        },
        # A mark leaves the spaces before and after it beside each other; two become one. An ending keeps its first.
        ("Home and Garden: How to clean a grill. Use soap. Scrub.",) * 2,
        ("  Rinse it.", " Burn it.. Wait."),
        0,
    ),
    "hellaswag of the package": (
        "hellaswag",
        {
            "question": 'He says "jump." She laughs! the Old man',
            "choices": ROOF,
            "labels": ["A", "B"],
            "answer": "B",
        },
        # What follows the last full stop is a sentence of its own in the hub's form; capitalising lowers the rest.
        ('He says "jump." She laughs! The old man',) * 2,
        (" is using wrap to wrap a pair of skis.", " is ripping level tiles off."),
        1,
    ),
    "piqa of the hub": (
        "piqa",
        {"goal": "dresser", "sol1": "replace drawer ", "sol2": "finish", "label": 0},
        ("Question: dresser\nAnswer:",) * 2,
        (" replace drawer ", " finish"),
        0,
    ),
    "piqa of the package": (
        "piqa",
        {"goal": "dresser", "choices": ["replace drawer ", "finish"], "labels": ["A", "B"], "answer": "B"},
        ("Question: dresser\nAnswer:",) * 2,
        (" replace drawer ", " finish"),
        1,
    ),
    "arc of the hub, labels in digits": (
        "arc_challenge",
        {"question": "Why?", "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]}, "answerKey": "3"},
        ("Question: Why?\nAnswer:",) * 3,
        (" a", " b", " c"),
        2,
    ),
    "arc of the package": (
        "arc_challenge",
        {"question": "Why?", "choices": ["a", "b", "c"], "labels": ["A", "B", "C"], "answer": "A"},
        ("Question: Why?\nAnswer:",) * 3,
        (" a", " b", " c"),
        0,
    ),
    "openbookqa of the hub": (
        "openbookqa",
        {
            "question_stem": "Predators eat",
            "choices": {"text": ["grass", "bunnies"], "label": ["A", "B"]},
            "answerKey": "B",
        },
        ("Predators eat",) * 2,
        (" grass", " bunnies"),
        1,
    ),
    "openbookqa of the package": (
        "openbookqa",
        {"question": "Predators eat", "choices": ["grass", "bunnies"], "labels": ["A", "B"], "answer": "B"},
        ("Predators eat",) * 2,
        (" grass", " bunnies"),
        1,
    ),
    "winogrande of the hub": (
        "winogrande",
        {"sentence": "Sarah beat Maria so _ always won.", "option1": "Sarah", "option2": "Maria", "answer": "2"},
        ("Sarah beat Maria so Sarah", "Sarah beat Maria so Maria"),
        (" always won.", " always won."),
        1,
    ),
    "winogrande of the package": (
        "winogrande",
        {"sentence": "_ 's cat.", "choices": ["Sarah", "Maria"], "labels": ["A", "B"], "answer": "A"},
        ("Sarah", "Maria"),
        (" 's cat.", " 's cat."),
        0,
    ),
    "boolq of the hub": (
        "boolq",
        {"passage": "Tea -- Tea is hot.", "question": "is tea hot", "label": 1, "idx": 3},
        ("Tea -- Tea is hot.\nQuestion: is tea hot?\nAnswer:",) * 2,
        (" no", " yes"),
        1,
    ),
    "boolq of the package": (
        "boolq",
        {"passage": "Tea -- Tea is hot.", "question": "is tea cold", "answer": "no"},
        ("Tea -- Tea is hot.\nQuestion: is tea cold?\nAnswer:",) * 2,
        (" no", " yes"),
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_question_reads_as_the_field_writes_it(case: str) -> None:
    suite, values, contexts, continuations, expected = CASES[case]
    made = item(suite, **values)
    assert (made.contexts, made.continuations, made.expected) == (contexts, continuations, expected)
    assert len(made.choices) == len(continuations)


def test_cleaning_takes_marks_away_in_the_field_s_order() -> None:
    assert clean("  one [title] two [step] three  four ") == "one. two three four"


@pytest.mark.parametrize(
    ("suite", "values", "problem"),
    [
        ("piqa", {"goal": "g", "choices": ["a", "b"], "labels": ["A", "B"], "answer": "C"}, "'answer' is 'C'"),
        ("piqa", {"goal": 3, "choices": ["a", "b"], "labels": ["A", "B"], "answer": "A"}, "'goal'"),
        ("piqa", {"goal": "g", "sol1": "a", "sol2": "b", "label": 2}, "'label' is 2"),
        ("piqa", {"goal": "g", "sol1": "a", "sol2": "b", "label": None}, "'label'"),
        ("arc_challenge", {"question": "q", "choices": ["a"]}, "'choices'"),
        ("arc_challenge", {"question": "q", "labels": ["A"], "choices": [], "answer": "A"}, "'choices'"),
        ("winogrande", {"sentence": "no blank", "choices": ["a", "b"], "labels": ["A", "B"], "answer": "A"}, "blank"),
        ("boolq", {"passage": "p", "question": "q", "answer": "maybe"}, "'maybe'"),
    ],
)
def test_a_malformed_row_is_refused_by_file_and_line(suite: str, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(SuiteDataError, match=r"data\.jsonl, line 7") as caught:
        item(suite, **values)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("suite", "at_least"),
    [
        ("hellaswag", 1000),
        ("piqa", 1838),
        ("arc_challenge", 1172),
        ("openbookqa", 500),
        ("winogrande", 1267),
        ("boolq", 3270),
    ],
)
def test_every_row_of_the_installed_package_is_a_question(suite: str, at_least: int) -> None:
    from trilemma.schema import SuiteSpec

    made: MultipleChoice = registry.load("trilemma.suites", suite)()
    items = made.items(SuiteSpec(name=suite))
    assert len(items) >= at_least
    assert len({one.id for one in items}) == len(items)
    assert all(one.contexts[0] and all(one.continuations) for one in items)
    assert made.availability().available
