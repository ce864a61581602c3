"""``trilemma sample``, and that ``trilemma serve`` offers it to an empty store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_serve import free_port
from tests.factory import SMOL, fill_store
from trilemma.records import SAMPLE
from trilemma.sample.file import loads
from trilemma.store import Store


def test_add_remove_and_what_is_said(command: Run, store: Store) -> None:
    added = command("sample", "add")
    assert added.returncode == 0
    assert added.stdout.startswith("Sample: ")
    assert "18 runs" in added.stdout
    assert json.loads(command("sample", "add", "--json").stdout)["id"] == SAMPLE
    assert "sample" in command("studies").stdout
    assert "The queue is empty" in command("queue", "--all").stdout
    assert SMOL in command("show", "sample-02").stdout
    assert command("sample", "remove").stdout == "The sample study is removed.\n"
    assert json.loads(command("sample", "remove", "--json").stdout) == {"removed": False}
    assert store.studies() == []


def test_pack_is_hidden_and_writes_a_file(command: Run, store: Store, tmp_path: Path) -> None:
    fill_store(store, [(SMOL, "F16")])
    assert "pack" not in command("sample", "--help").stdout
    target = tmp_path / "packed.gz"
    assert command("sample", "pack", "Demo", str(target)).returncode == 0
    assert len(loads(target.read_bytes()).runs) == 2
    refused = command("sample", "pack", "Demo", str(target / "x.gz"))
    assert (refused.returncode, "cannot be written" in refused.stderr) == (1, True)


@pytest.mark.parametrize(("setting", "studies"), [("1", [SAMPLE]), ("0", [])])
def test_serve_offers_it_to_an_empty_store_unless_told_otherwise(
    home: Path, setting: str, studies: list[str], monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setenv("TRILEMMA_SAMPLE", setting)
    command = [sys.executable, "-m", "trilemma", "serve", "--no-browser", "--no-worker", "--port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if "The dashboard is at" in line:
                    break
            assert [study.id for study in store.studies()] == studies
            assert any("trilemma sample remove" in line for line in said) == bool(studies)
        finally:
            process.terminate()
            process.wait(30)
