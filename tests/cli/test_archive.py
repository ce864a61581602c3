"""`trilemma studies export | import` and `trilemma backup`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.cli.conftest import Run
from tests.factory import SMOL, fill_store
from tests.postgres import server
from trilemma.store import Store


def test_a_study_goes_from_one_store_into_the_other_kind(
    command: Run, store: Store, tmp_path: Path, database: str
) -> None:
    study = fill_store(store, [(SMOL, "F16")], name="evening [bold]run")
    file = tmp_path / "s.trilemma.zip"
    wrote = command("studies", "export", "evening [bold]run", str(file))
    assert (wrote.returncode, wrote.stderr) == (0, "")
    assert command("studies", "export", study.id, str(file)).returncode == 1, "it exists"
    again = json.loads(command("studies", "import", str(file), "--json").stdout)
    assert (again["runs"], again["new_runs"]) == (2, 0)
    with server().database() as url:
        other = url if not database else f"sqlite:///{tmp_path / 'other.db'}"
        there = {"TRILEMMA_DATABASE": other}
        took = command("studies", "import", str(file), **there)
        assert (took.returncode, took.stderr) == (0, "")
        assert "2 of its 2 runs are new here" in took.stdout
        assert "evening [bold]run" in took.stdout
        (listed,) = json.loads(command("studies", "--json", **there).stdout)
        assert listed["runs_by_state"] == {"done": 2}
        run_id = store.runs(study.id)[0].id
        assert run_id in command("show", run_id[:6], **there).stdout
        out = tmp_path / "back.zip"
        assert command("studies", "export", study.id, str(out), **there).returncode == 0
    assert out.read_bytes() == file.read_bytes()
    assert study.id[:12] in command("studies").stdout


def test_a_study_is_deleted_when_it_is_confirmed(command: Run, store: Store) -> None:
    study = fill_store(store, [(SMOL, "F16")], name="evening run\x1b[2J")
    refused = command("studies", "delete", study.id, typed="n\n")
    assert refused.returncode == 1
    assert "\x1b" not in refused.stdout + refused.stderr, "a name steers no terminal"
    assert "2 runs and all that was recorded of them" in refused.stdout
    assert store.study(study.id).runs_by_state
    done = command("studies", "delete", study.id[:6], "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Deleted evening run[2J ({study.id}) with 2 runs." in " ".join(done.stdout.split())
    assert store.studies() == []
    again = command("studies", "delete", study.id, "--yes")
    assert again.returncode == 1
    assert "There is no study" in again.stderr


def test_a_file_that_is_none_is_explained(command: Run, store: Store, tmp_path: Path) -> None:
    for path, content in ((tmp_path / "x.zip", b"PK and so on"), (tmp_path / "missing.zip", None)):
        if content is not None:
            path.write_bytes(content)
        result = command("studies", "import", str(path))
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert "Error:" in result.stderr


def test_a_backup_is_a_whole_database_or_says_what_to_use(
    command: Run, store: Store, tmp_path: Path, database: str
) -> None:
    fill_store(store, [(SMOL, "F16")], detail=False)
    result = command("backup", str(tmp_path / "copy.db"))
    if database:
        assert result.returncode == 1
        assert "pg_dump" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    copy.close()
    assert command("backup", str(tmp_path / "copy.db")).returncode == 1, "it exists"
