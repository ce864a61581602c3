"""What the doctor finds, on this machine and on one where things are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trilemma.doctor import Finding, Status, diagnose, gpu_finding
from trilemma.meters.gpu.replay import GpuRecording, ReplayDriver
from trilemma.settings import Settings


def by_name(settings: Settings) -> dict[str, Finding]:
    found = diagnose(settings)
    names = [finding.name for finding in found]
    assert len(set(names)) == len(names)
    return {finding.name: finding for finding in found}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", models=None, database="")


def test_everything_is_looked_at_and_what_is_not_well_has_a_remedy(settings: Settings) -> None:
    found = by_name(settings)
    assert set(found) >= {
        "Python",
        "CPU",
        "Memory",
        "Data folder",
        "Disk",
        "Database",
        "Engine llama.cpp",
        "Meter memory",
        "Meter cpu",
        "Meter modelled",
        "Meter zeus",
        "Memory account",
        "Energy",
        "Questions",
        "Demo models",
        "Hub token",
    }
    assert found["Python"].status is Status.OK
    assert found["Database"].status is Status.OK
    assert all(finding.remedy for finding in found.values() if finding.status is Status.MISSING)
    assert not [finding for finding in found.values() if "could not be checked" in finding.detail]
    engines = {name: one.status for name, one in found.items() if name.startswith("Engine ")}
    assert engines.pop("Engine llama.cpp") is Status.OK
    assert Status.MISSING not in engines.values(), "one engine is enough"


def test_modelled_energy_states_its_coefficients(settings: Settings) -> None:
    energy = by_name(settings.model_copy(update={"watts_per_busy_core": 12.5}))["Energy"]
    if energy.status is Status.OK:
        pytest.skip("this machine measures energy")
    assert "12.5 W per busy core" in energy.detail
    assert energy.status is Status.WARN


def test_a_data_folder_that_cannot_be_made_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = by_name(Settings(home=tmp_path / "file" / "home"))
    assert found["Data folder"].status is Status.MISSING
    assert "TRILEMMA_HOME" in found["Data folder"].remedy
    assert found["Database"].status is Status.MISSING
    assert found["Python"].status is Status.OK


def test_a_database_that_is_not_one_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "trilemma.db").write_bytes(b"this is no database, whatever its name says" * 50)
    database = by_name(Settings(home=tmp_path))["Database"]
    assert database.status is Status.MISSING
    assert database.detail
    assert database.remedy


def test_the_models_folder_is_counted_or_found_missing(tmp_path: Path) -> None:
    assert by_name(Settings(home=tmp_path, models=tmp_path / "none"))["Models folder"].status is Status.MISSING
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.gguf").touch()
    assert "1 GGUF files" in by_name(Settings(home=tmp_path, models=tmp_path / "weights"))["Models folder"].detail


def test_the_token_is_never_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    found = diagnose(settings)
    assert {f.name: f.detail for f in found}["Hub token"] == "present"
    assert "secret" not in repr(found)


def test_asking_loads_no_engine(tmp_path: Path) -> None:
    """The New study page asks too, in the web process."""
    code = (
        "import sys; from pathlib import Path; from trilemma.doctor import diagnose; "
        "from trilemma.settings import Settings; diagnose(Settings(home=Path(sys.argv[1]))); "
        "sys.exit('llama_cpp' in sys.modules or 'zeus' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_gpu_is_told_with_what_of_it_can_be_read() -> None:
    recording = GpuRecording.model_validate_json((Path(__file__).parent / "meters/gpu/two_gpus.json").read_text())
    driver = ReplayDriver(recording)
    whole = gpu_finding(driver, driver.devices()[0])
    assert whole.status is Status.OK
    assert whole.name == "GPU 0"
    assert "A100" in whole.detail
    assert "85.9 GB, driver 550.54.15" in whole.detail
    assert "throttling" in whole.detail
    driver.shares_pids = False
    half = gpu_finding(driver, driver.devices()[0]._replace(counts_energy=False, hidden_instances=2))
    assert half.status is Status.WARN
    assert half.detail.endswith("not: energy, memory of each process, energy of one instance among others")
    assert "--pid=host" in half.remedy
