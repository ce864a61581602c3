"""``trilemma presets``: the list, one of them, and a file that is broken."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_presets_are_listed_and_shown(command: Run) -> None:
    listed = command("presets", "list")
    assert listed.returncode == 0, listed.stderr
    assert "real-time-assistant" in listed.stdout
    assert "45%" in listed.stdout
    found = json.loads(command("presets", "list", "--json").stdout)
    assert {preset["name"] for preset in found["presets"]} >= {"tool-agent", "phone-edge"}
    assert found["broken"] == []
    shown = command("presets", "show", "phone-edge")
    assert "limit  peak_memory_bytes <= 2.5 GiB" in shown.stdout
    assert "--workload short_chat:requests=20" in shown.stdout
    assert "--device phone" in shown.stdout
    one = json.loads(command("presets", "show", "phone-edge", "--json").stdout)
    assert one["weights"]["efficiency"] == 50
    assert "--suite" in one["study_options"]


def test_a_broken_file_is_said_and_hides_nothing(command: Run, home: Path) -> None:
    folder = home / "presets"
    folder.mkdir(parents=True)
    (folder / "ours.toml").write_text('title = "x"\n')
    listed = command("presets", "list")
    assert listed.returncode == 0
    assert "tool-agent" in listed.stdout
    assert "ours.toml: question: Field required" in " ".join(listed.stderr.split())
    broken = command("presets", "show", "ours")
    assert broken.returncode == 1
    assert "ours.toml" in broken.stderr
    unknown = command("presets", "show", "../ours")
    assert unknown.returncode == 1
    assert "no preset named" in " ".join(unknown.stderr.split())
