"""``trilemma questions``: add, list, show, and what a study makes of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trilemma.cli import parse
from trilemma.errors import StudyError
from trilemma.settings import get_settings
from trilemma.suites.custom import file


def test_a_file_is_added_listed_and_shown(command, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("question,answer,scoring,note\n3+4?,7,numeric,x\n\u202eodd,b,exact,y\n", encoding="utf-8")
    added = command("questions", "add", str(path))
    assert added.returncode == 0, added.stderr
    assert "2 questions: 1 numeric, 1 exact" in added.stdout
    assert "not used: note" in added.stdout
    (entry,) = json.loads(command("questions", "list", "--json").stdout)
    assert (entry["questions"], entry["begins"]) == (2, "3+4?")
    shown = command("questions", "show", entry["file"][:6])
    assert "odd" in shown.stdout
    assert "\u202e" not in shown.stdout


def test_problems_are_told_row_by_row_and_nothing_is_kept(command, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "a"}\n{"question": "b", "answer": "c"}\nnonsense\n')
    refused = command("questions", "add", str(path))
    assert refused.returncode == 1
    assert "Row 1: the answer is missing" in refused.stderr
    assert "Row 3: no JSON" in refused.stderr
    assert json.loads(command("questions", "list", "--json").stdout) == []
    assert command("questions", "show", str(path)).returncode == 0
    assert "cannot be read" in command("questions", "add", str(tmp_path)).stderr


def test_a_study_names_a_file_by_its_beginning(home: Path) -> None:
    digest = file.add(get_settings().questions_dir, b"question,answer\na,b\n")
    suite = parse.suite(f"own:file={digest[:6]},limit=5,ignore_case=true")
    assert suite.options == {"file": digest, "ignore_case": True}
    assert suite.limit == 5
    with pytest.raises(StudyError, match="No file of questions begins with '12e4'"):
        parse.suite("own:file=12e4")
