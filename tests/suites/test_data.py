"""Files are found, read, refused and picked from as promised."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma import registry
from trilemma.errors import StudyError, SuiteDataError
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.multiple_choice import MultipleChoice

UNPACKAGED = data.Dataset("", "owner/name", "default", "validation")


@given(
    ids=st.sets(st.text(max_size=8), max_size=30),
    small=st.integers(0, 30),
    more=st.integers(0, 30),
    seed=st.integers(0, 3),
)
def test_a_smaller_limit_is_the_beginning_of_a_larger_one(ids: set[str], small: int, more: int, seed: int) -> None:
    items = [(one, one) for one in sorted(ids)]
    few, many = data.pick(items, small, seed), data.pick(items[::-1], small + more, seed)
    assert many[:small] == few
    assert sorted(data.pick(items, None, seed)) == sorted(ids)


def test_seeds_pick_different_items_and_the_same_seed_the_same() -> None:
    suite: MultipleChoice = registry.load("trilemma.suites", "openbookqa")()
    picks = {
        seed: [one.id for one in suite.items(SuiteSpec(name="openbookqa", limit=40, seed=seed))] for seed in (0, 1)
    }
    assert picks[0] != picks[1]
    assert picks[0] == [one.id for one in suite.items(SuiteSpec(name="openbookqa", limit=40))]
    assert picks[0] != [f"openbookqa/{index}" for index in range(40)], "not just the file's beginning"


def test_an_unknown_option_is_refused() -> None:
    suite: MultipleChoice = registry.load("trilemma.suites", "piqa")()
    with pytest.raises(StudyError, match="shouts"):
        suite.items(SuiteSpec(name="piqa", options={"shouts": 5}))


def test_worked_examples_are_asked_of_nobody() -> None:
    suite: MultipleChoice = registry.load("trilemma.suites", "piqa")()
    plain = suite.items(SuiteSpec(name="piqa", limit=3))
    shown = suite.items(SuiteSpec(name="piqa", limit=3, options={"shots": 2}))
    assert [item.id for item in shown] == [item.id for item in plain]
    examples = {item.contexts[0].removesuffix(before.contexts[0]) for item, before in zip(shown, plain, strict=True)}
    assert len(examples) == 1
    (text,) = examples
    assert text.count("Question:") == text.count("\n\n") == 2
    asked = {item.id for item in suite.items(SuiteSpec(name="piqa", options={"shots": 2}))}
    left = [item for item in suite.items(SuiteSpec(name="piqa")) if item.id not in asked]
    assert "".join(f"{item.solved}\n\n" for item in left) == text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1}\n{"a": \n', "line 2: no JSON"),
        (b'{"a": 1}\n\n[1]\n', "line 3: no JSON object"),
        (b'{"a": "\xff"}\n', "line 1: no JSON"),
        (b"[" * 100_000, "line 1: no JSON"),
        (b"", "is empty"),
    ],
)
def test_a_malformed_file_is_refused_by_file_and_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(content)
    with pytest.raises(SuiteDataError, match=problem) as caught:
        data.read_jsonl(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_line_separators_inside_a_text_do_not_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"a": "one\u2028two\u0085three"}\n{"a": "four"}\n', encoding="utf-8")
    assert [row.text("a") for row in data.read_jsonl(path)] == ["one\u2028two\u0085three", "four"]


def test_hub_data_is_read_from_the_cache_with_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "datasets--owner--name"
    file = repo / "snapshots" / commit / "default" / "validation" / "0000.parquet"
    file.parent.mkdir(parents=True)
    (repo / "refs" / "refs" / "convert").mkdir(parents=True)
    (repo / "refs" / "refs" / "convert" / "parquet").write_text(commit)
    pq.write_table(pa.Table.from_pylist([{"goal": "g", "choices": {"text": ["a", "b"]}}]), file)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    rows = data.load(UNPACKAGED)
    assert rows.rows[0].text("goal") == "g"
    assert rows.rows[0].inner("choices").texts("text") == ("a", "b")
    assert rows.source == f"hub owner/name (default, validation) at {commit}"
    assert data.availability(UNPACKAGED).available
    file.write_bytes(b"PAR1 but not really")
    with pytest.raises(SuiteDataError, match="Parquet"):
        data.load(UNPACKAGED)


def test_data_that_cannot_be_had_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    missing = data.availability(UNPACKAGED)
    assert not missing.available
    assert missing.remedy
    with pytest.raises(SuiteDataError, match="owner/name could not be had"):
        data.load(UNPACKAGED)
