"""``trilemma import`` and the single-file exports, in a process of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.factory import DEMO, fill_store
from trilemma.profiles import find_profile
from trilemma.store import Store

TABLE = "model,q,ttft\nTiny \x1b[31m\u202eevil,Q8_0,12.5\nTiny,Q4_K_M,9\n"
MAPS = ["--map", "model=model", "--map", "q=quantization", "--map", "ttft=ttft_s.median@chat [ms]"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_a_preview_stores_nothing_and_shows_everything(command: Run, store: Store, table: Path) -> None:
    done = command("import", str(table), *MAPS, "--preview")
    assert done.returncode == 0, done.stderr
    assert "12.5 ms" in done.stdout
    assert "Nothing is stored" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert store.studies() == []


def test_import_export_and_import_again(command: Run, store: Store, table: Path, tmp_path: Path) -> None:
    done = command("import", str(table), *MAPS, "--study", "From a paper", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["added"] is True
    again = command("import", str(table), *MAPS)
    assert "imported before" in again.stdout
    (study,) = store.studies()
    assert [(one.action, one.subject) for one in store.audit(10)] == [("import results", "results.csv")] * 2
    for suffix in ("jsonl", "csv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        done = command("export", "From a paper", str(out))
        assert done.returncode == 0, done.stderr
        assert out.stat().st_size > 0
        assert command("export", "From a paper", str(out)).returncode == 1, "nothing is overwritten"
    wrong = command("export", "From a paper", str(tmp_path / "other.jsonl"), "--format", "csv")
    assert wrong.returncode == 2
    done = command("import", str(tmp_path / "out.jsonl"), "--json")
    assert json.loads(done.stdout)["study"]["id"] != study.id


def test_a_file_of_figures_says_which_runs_are_not_in_it(command: Run, store: Store, tmp_path: Path) -> None:
    small = find_profile("phone").model_copy(update={"memory_bytes": 1})
    fill_store(store, DEMO[:1], 1, devices=(None, small), detail=False)
    done = command("export", "Demo", str(tmp_path / "out.csv"))
    assert "did not fit are not in it: 1." in done.stderr
    done = command("export", "Demo", str(tmp_path / "out.jsonl"), "--json")
    assert json.loads(done.stdout)["runs_left_out"] == 1
    assert "did not fit" not in command("export", "Demo", str(tmp_path / "folder")).stderr


def test_what_cannot_be_read_is_said_and_how_to_help(command: Run, tmp_path: Path, table: Path) -> None:
    done = command("import", str(table))
    assert (done.returncode, "No importer knows" in done.stderr, "--map" in done.stderr) == (1, True, True)
    assert command("import", str(tmp_path / "none")).returncode == 1
    listed = command("import", str(table), "--format", "list")
    assert "guidellm" in listed.stdout
    assert "There is no importer named" in command("import", str(table), "--format", "nobody").stderr
