"""The commands of a cluster, as far as they go without one."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import Run
from trilemma.cli import app
from trilemma.records import Machine
from trilemma.schema import Artifact, utc_now
from trilemma.settings import get_settings
from trilemma.store import Store


def test_machines_are_listed_and_taken_off_the_list(command: Run, store: Store) -> None:
    assert "No machine has joined yet" in command("machines").stdout
    gone = Machine(name="lost", cpus=8, gpus=1, gpu_type="A100", seen_at=utc_now() - timedelta(hours=2))
    store.see_machines([Machine(name="edge", cpus=4, memory_bytes=2**32), gone])
    shown = command("machines").stdout
    assert "left out" not in shown
    for text in ("edge", "there", "lost", "gone", "1 A100"):
        assert text in shown
    assert command("machines", "--forget", "lost").returncode == 0
    again = command("machines", "--forget", "lost")
    assert again.returncode == 1
    assert "No machine is called 'lost'" in again.stderr
    listed = json.loads(command("machines", "--json").stdout)
    assert [(one["name"], one["alive"], one["runs"]) for one in listed] == [("edge", True, [])]
    entries = json.loads(command("audit", "--json").stdout)
    assert [(entry["action"], entry["subject"], entry["outcome"]) for entry in entries] == [
        ("take a machine off the list", "lost", "failed"),
        ("take a machine off the list", "lost", "done"),
    ]


def test_a_machine_that_is_left_out_says_why(command: Run, store: Store) -> None:
    store.see_machines([Machine(name="edge", refuses="Its disk is full.")])
    shown = command("machines").stdout
    assert "left out" in shown
    assert "edge: It gets no runs for some minutes. Its disk is full." in " ".join(shown.split())


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'trilemma[ray]'")
@pytest.mark.parametrize(("options", "slots"), [((), 3), (("--slots", "2"), 2), (("--slots", "0"), 0)])
def test_a_node_offers_the_slots_of_its_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], slots: int
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda path, command, environment: started.append((command, environment)))
    monkeypatch.setenv("TRILEMMA_SLOTS", "3")
    get_settings.cache_clear()
    result = CliRunner().invoke(app, ["node", "--head", "--name", "edge", *options])
    assert result.exit_code == 0, result.output
    ((command, environment),) = started
    assert any(f'"trilemma_slot": {slots},' in part for part in command)
    assert environment["TRILEMMA_SLOTS"] == str(max(slots, 1))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--head"),
        (("--head", "--address", "big:6379"), 2, "--head"),
        (("--head", "--name", "../x"), 1, "cannot be the name of a machine"),
    ],
    ids=["nothing", "both", "name"],
)
def test_a_node_that_cannot_be_is_refused(command: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    refused = command("node", *arguments)
    assert refused.returncode == code
    assert says in refused.stderr


def test_a_study_that_names_machines_takes_a_cluster(command: Run, store: Store, artifact: Artifact) -> None:
    arguments = ["study", "-m", "Tiny Q8_0", "-w", "short_chat", "--machine", "edge", "--machine", "big", "--dry-run"]
    refused = command(*arguments)
    assert refused.returncode == 1
    assert "TRILEMMA_RAY_ADDRESS" in refused.stderr
    planned = command(*arguments, "--json", TRILEMMA_RAY_ADDRESS="127.0.0.1:1")
    machines = [run["needs"]["machine"] for run in json.loads(planned.stdout)["runs"]]
    assert sorted(machines) == ["big", "big", "edge", "edge"]
    assert store.studies() == []


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'trilemma[ray]'")
def test_a_worker_says_that_no_cluster_answers(command: Run, store: Store) -> None:
    result = command("worker", "--drain", TRILEMMA_RAY_ADDRESS="127.0.0.1:1")
    assert result.returncode == 1
    assert "No Ray cluster answers at 127.0.0.1:1" in result.stderr
    assert "trilemma node --head" in result.stderr
