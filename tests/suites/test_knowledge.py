"""Knowledge suites out of rows in the hub's form: subjects, worked examples, the true choice, words in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.errors import StudyError, SuiteDataError
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.arc_easy import ArcEasy
from trilemma.suites.data import Row
from trilemma.suites.generation import Reply
from trilemma.suites.mmlu import Mmlu
from trilemma.suites.squad import Squad, normalised, token_f1
from trilemma.suites.truthfulqa import TruthfulQA

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORDS = st.lists(st.sampled_from(["the", "Cat", "cat.", "a", "dog", "sat", "!", "an"]), max_size=6).map(" ".join)
Cache = Callable[[str, str, str, Sequence[dict[str, Any]]], None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Puts rows where the hub's library keeps what it has downloaded; the hub itself is out of reach."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repo: str, config: str, split: str, rows: Sequence[dict[str, Any]]) -> None:
        folder = tmp_path / f"datasets--{repo.replace('/', '--')}"
        file = folder / "snapshots" / COMMIT / config / split / "0000.parquet"
        file.parent.mkdir(parents=True)
        reference = folder / "refs" / "refs" / "convert" / "parquet"
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(COMMIT)
        pq.write_table(pa.Table.from_pylist(list(rows)), file)

    return put


def exam(subject: str, number: int) -> dict[str, Any]:
    choices = [f"{number}.{place}" for place in range(4)]
    return {"question": f" {subject} {number}? ", "subject": subject, "choices": choices, "answer": number % 4}


TEST = [exam(subject, number) for number in range(5) for subject in ("us_foreign_policy", "anatomy")]


def test_mmlu_reads_as_the_field_writes_it(cache: Cache) -> None:
    cache("cais/mmlu", "all", "test", TEST)
    (item, *_) = Mmlu().items(SuiteSpec(name="mmlu", options={"subject": "us_foreign_policy"}))
    number = int(item.choices[0][0])
    assert item.contexts[0] == (
        "The following are multiple choice questions (with answers) about us foreign policy.\n\n"
        f"us_foreign_policy {number}?\nA. {number}.0\nB. {number}.1\nC. {number}.2\nD. {number}.3\nAnswer:"
    )
    assert item.continuations == (" A", " B", " C", " D")
    assert item.expected == number % 4


def test_mmlu_s_worked_examples_are_of_the_same_subject(cache: Cache) -> None:
    cache("cais/mmlu", "all", "test", TEST)
    spec = SuiteSpec(name="mmlu", options={"shots": 2})
    held_back = Mmlu().items(spec)
    assert len(held_back) == len(TEST) - 2 * 2, "two of each subject are shown and asked of nobody"
    assert "asked of nobody" in Mmlu().rows(spec).source
    dev = [exam(subject, number) for subject in ("anatomy", "us_foreign_policy") for number in range(90, 93)]
    cache("cais/mmlu", "all", "dev", dev)
    shown = Mmlu().items(spec)
    assert len(shown) == len(TEST)
    assert f"(all, dev) at {COMMIT}" in Mmlu().rows(spec).source
    for item in shown:
        own, other = ("anatomy", "us_foreign_policy") if "about anatomy" in item.contexts[0] else (
            "us_foreign_policy", "anatomy"
        )  # fmt: skip
        assert f"\n\n{own} 90?\n" in item.contexts[0]
        assert "Answer: C\n\n" in item.contexts[0], "90 % 4 is 2"
        assert item.contexts[0].index("90?") < item.contexts[0].index("91?")
        assert "92?" not in item.contexts[0]
        assert f"{other} " not in item.contexts[0]


def test_mmlu_refuses_what_it_does_not_have(cache: Cache) -> None:
    cache("cais/mmlu", "all", "test", [*TEST, exam("anatomy", 7) | {"choices": ["a", "b"]}])
    with pytest.raises(StudyError, match="astrology") as caught:
        Mmlu().items(SuiteSpec(name="mmlu", options={"subject": "astrology"}))
    assert "anatomy" in (caught.value.hint or "")
    with pytest.raises(StudyError, match="shots"):
        Mmlu().items(SuiteSpec(name="mmlu", options={"shots": 6}))
    with pytest.raises(SuiteDataError, match="row 10: there are 2 choices"):
        Mmlu().items(SuiteSpec(name="mmlu"))


def test_what_is_only_on_the_hub_says_so(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    for suite in (Mmlu(), ArcEasy(), Squad()):
        missing = suite.availability()
        assert not missing.available
        assert "HF_HUB_OFFLINE" in missing.detail
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        assert "first use downloads" in suite.availability().detail
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    easy = {"question": "Why?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}
    cache("allenai/ai2_arc", "ARC-Easy", "test", [easy])
    assert ArcEasy().availability().available
    assert ArcEasy().items(SuiteSpec(name="arc_easy"))[0].expected == 1


def test_truthfulqa_reads_alike_from_the_package_and_the_hub() -> None:
    rows = data.load(TruthfulQA.dataset).rows
    packaged = TruthfulQA().items(SuiteSpec(name="truthfulqa"))
    assert len(packaged) == len(rows) == 817
    assert max(len(item.choices) for item in packaged) == 13
    example = rows[1]
    choices = example.texts("choices")
    hub = {"question": example.text("question"), "mc1_targets": {"choices": choices[::-1], "labels": [0, 0, 0, 0, 1]}}
    hub["mc1_targets"]["choices"] = list(hub["mc1_targets"]["choices"])  # type: ignore[index,call-overload]
    item = TruthfulQA().item(Row(hub, "row 0", 0), "id")
    assert item.choices[item.expected] == choices[0]
    assert item.contexts[0] == f"Q: {example.text('question')}\nA:"
    assert item.continuations[-1] == f" {choices[0]}"
    with pytest.raises(SuiteDataError, match="labels"):
        TruthfulQA().item(Row(hub | {"mc1_targets": {"choices": ["a", "b"], "labels": [1, 1]}}, "row 0", 0), "id")


def test_truthfulqa_s_opening_comes_once_even_before_worked_examples() -> None:
    suite = TruthfulQA()
    for shots in (0, 2):
        (item,) = suite.items(SuiteSpec(name="truthfulqa", limit=1, options={"shots": shots}))
        assert item.contexts[0].startswith(suite.opening)
        assert item.contexts[0].count(suite.opening) == 1
        assert item.contexts[0].count("Q: ") == 6 + shots + 1


def test_answers_are_normalised_as_squad_does() -> None:
    assert normalised(" The  cat's-eye,\nAN   Owl & a theatre. ") == "catseye owl theatre"
    assert token_f1("the Denver Broncos!", "Broncos") == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert token_f1("no no no", "no no") == pytest.approx(2 * (2 / 3) * 1 / (5 / 3))
    assert token_f1("The", "a") == 1.0
    assert token_f1("", "Broncos") == 0.0


@given(mine=WORDS, theirs=WORDS)
def test_f1_is_symmetric_and_one_for_the_same_words(mine: str, theirs: str) -> None:
    assert token_f1(mine, theirs) == token_f1(theirs, mine)
    assert 0.0 <= token_f1(mine, theirs) <= 1.0
    same = sorted(normalised(mine).split()) == sorted(normalised(theirs).split())
    assert (token_f1(mine, theirs) == 1.0) == same


def test_squad_takes_the_nearest_gold_answer(cache: Cache) -> None:
    row = {
        "title": "Super_Bowl_50",
        "context": "Denver won.",
        "question": "Who won?",
        "answers": {"text": ["Denver Broncos", "Denver"], "answer_start": [0, 0]},
    }
    cache("rajpurkar/squad", "plain_text", "validation", [row])
    suite, spec = Squad(), SuiteSpec(name="squad")
    (task,) = suite.tasks(spec)
    turn = next(suite.script(task, spec))
    assert turn.text == "Title: Super_Bowl_50\n\nBackground: Denver won.\n\nQuestion: Who won?\n\nAnswer:"
    assert turn.stop == ("\n",)
    assert suite.grade(task, Reply(" the Denver."), spec).scores == {"accuracy": 1.0, "f1": 1.0}
    near = suite.grade(task, Reply(" Denver Broncos of old"), spec).scores
    assert near == {"accuracy": 0.0, "f1": pytest.approx(2 * 2 / 6)}
    assert suite.grade(task, Reply("", "the connection was lost"), spec).scores == {"accuracy": 0.0, "f1": 0.0}
