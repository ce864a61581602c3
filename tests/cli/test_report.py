"""``trilemma report``: one file, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from tests.factory import DEMO, fill_store
from trilemma.store import Store


def test_a_report_is_written_and_nothing_is_overwritten(command, store: Store, tmp_path: Path) -> None:
    study = fill_store(store, DEMO[:2], 1, detail=False)
    target = tmp_path / "new" / "out.html"
    result = command("report", "Demo", str(target), "--limit", "peak memory <= 4 GiB", "--question", "Which?", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"study": study.id, "paths": [str(target)]}
    html = target.read_text(encoding="utf-8")
    assert "<h1>Which?</h1>" in html
    assert "Rented machine" in html and "10,000" in html
    assert [path.name for path in target.parent.iterdir()] == ["out.html"]
    again = command("report", "Demo", str(target))
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert command("report", "Demo", str(target), "--overwrite", "--no-plan").returncode == 0
    html = target.read_text(encoding="utf-8")
    assert "Which?" not in html and "Rented machine" not in html


def test_a_use_case_and_priorities_of_its_own(command, store: Store, tmp_path: Path) -> None:
    fill_store(store, DEMO[:3], 1)
    target = tmp_path / "out.html"
    result = command("report", "Demo", str(target), "--preset", "phone-edge", "--weights", "60,20,20", "--no-plan")
    assert result.returncode == 0, result.stderr
    html = target.read_text(encoding="utf-8")
    assert "<h1>Which one fits the device" in html
    assert "efficiency 60 %, speed 20 %, performance 20 %" in html
    for wrong in ("1,2", "a,b,c", "0,0,0", "1,1,-1", "1,1,nan"):
        refused = command("report", "Demo", str(target), "--overwrite", "--weights", wrong)
        assert refused.returncode == 1
        assert "three weights" in refused.stderr
    assert "no preset" in command("report", "Demo", str(target), "--overwrite", "--preset", "nothing").stderr


def test_what_cannot_be_written_says_why(command, store: Store, tmp_path: Path) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    assert "There is no study" in command("report", "nothing", str(tmp_path / "a.html")).stderr
    blocker = tmp_path / "file"
    blocker.write_text("no folder")
    result = command("report", "Demo", str(blocker / "a.html"))
    assert result.returncode == 1
    assert "cannot be written" in result.stderr
    assert "HTML" in command("report", "Demo", str(tmp_path / "a.pdf"), "--pdf").stderr


def test_without_a_browser_the_html_is_there_and_the_pdf_is_not(command, store: Store, tmp_path: Path) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    target = tmp_path / "a.html"
    result = command(
        "report", "Demo", str(target), "--pdf", PATH=str(tmp_path), HOME=str(tmp_path), TRILEMMA_CHROMIUM=""
    )
    assert result.returncode == 1
    assert "print it from there" in result.stderr
    assert target.exists()
    assert not target.with_suffix(".pdf").exists()
