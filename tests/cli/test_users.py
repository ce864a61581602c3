"""What is done at the terminal is in the log, and the network is not let in by accident."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from trilemma.errors import SettingsError
from trilemma.serve import lets_anyone_in
from trilemma.settings import Settings


def test_what_a_command_changes_is_in_the_log(command: Run) -> None:
    assert command("audit").stdout == "Nothing is in the log.\n"
    assert command("queue", "pause").returncode == 0
    assert command("models", "add", "/nowhere/x\x1b[31m.gguf").returncode == 1
    entries = json.loads(command("audit", "--json").stdout)
    assert [(e["action"], e["outcome"]) for e in entries] == [("add weights", "failed"), ("pause the queue", "done")]
    assert {e["who"] for e in entries} == {f"terminal:{getpass.getuser()}"}
    shown = command("audit", "--outcome", "failed", COLUMNS="200").stdout
    assert "pause" not in shown
    assert "\x1b" not in shown
    assert "add weights" in shown


def test_listening_to_the_network_without_a_log_in_must_be_said(command: Run, home: Path) -> None:
    refused = command("serve", "--host", "0.0.0.0", "--no-browser", "--no-worker")
    assert refused.returncode == 1
    assert "--allow-anyone" in refused.stderr


def test_a_log_in_lets_nobody_else_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    assert not lets_anyone_in("127.0.0.1", settings)
    assert lets_anyone_in("0.0.0.0", settings, allow_anyone=True)
    assert lets_anyone_in("::", Settings(home=tmp_path, allow_anyone=True))
    for host in ("0.0.0.0", "", "::", "192.168.1.5", "example.org"):
        with pytest.raises(SettingsError):
            lets_anyone_in(host, settings)
    (tmp_path / "secrets.toml").write_text('[auth]\nclient_id = "x"\n')
    assert not lets_anyone_in("0.0.0.0", settings, allow_anyone=True)
    monkeypatch.setattr("trilemma.serve.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="package"):
        lets_anyone_in("0.0.0.0", settings)
