"""What is installed is what was locked, and images and compose files name only what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import typer
import yaml

from benchmarks.image_tools import Stage, assignments, context, ignored, parsed, substituted
from trilemma.cli import app
from trilemma.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+?))?(?: \\)?$")


def pins(file: str) -> dict[tuple[str, str], tuple[str, int]]:
    """By name and marker: the version, and how many hashes there are."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    last = ("", "")
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if match := PIN.match(line):
            last = (match[1], match[3] or "")
            assert last not in found
            found[last] = (match[2], 0)
        elif line.strip().startswith("--hash=sha256:"):
            found[last] = (found[last][0], found[last][1] + 1)
        else:
            assert not line or line.startswith("#"), line
    return found


def test_the_hashes_are_those_of_the_versions_that_are_pinned() -> None:
    constraints, locked = pins("constraints.txt"), pins("packaging/locked.txt")
    assert {name: version for name, (version, _) in constraints.items()} == {
        name: version for name, (version, _) in locked.items()
    }, "run `make lock`"
    assert all(hashes for _, hashes in locked.values())
    assert all(hashes for _, hashes in pins("packaging/data.txt").values())


def test_everything_that_the_environment_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [
        *project["dependencies"],
        *(one for extra in ("demo", "dev") for one in project["optional-dependencies"][extra]),
    ]
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in asked} - {"trilemma"}
    assert names - {name for name, _ in pins("packaging/locked.txt")} == set(), "run `make lock`"


DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")


def words(stage: Stage, instruction: str) -> list[str]:
    """What the last such instruction says, in its exec form."""
    told = [rest for name, rest in stage.steps if name == instruction][-1]
    found: list[str] = yaml.safe_load(told[told.index("[") :])
    return found


def assert_command(words: list[str]) -> None:
    """It is one of Trilemma's, with options that it has."""
    group: Any = typer.main.get_command(app)
    name, *options = words
    with group.commands[name].make_context(name, options):
        pass


def assert_settings(names: list[str]) -> None:
    known = {f"TRILEMMA_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in names if name.startswith("TRILEMMA_")} - known == set()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_made_of_what_there_is(name: str) -> None:
    stages = parsed(ROOT / name)
    assert len(stages) == 2
    allowed = context()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for stage in stages:
        for instruction, rest in stage.steps:
            if instruction == "COPY" and "--from" not in rest:
                for path in rest.split()[:-1]:
                    there = [file for file in allowed if file == ROOT / path or ROOT / path in file.parents]
                    assert there, f"{path} is not in the context"
            if instruction == "RUN" and "pip install" in rest:
                assert " -c " in rest or "--no-deps -r" in rest, "versions are pinned"
                for chosen in re.findall(r"\[([a-z,-]+)\]", rest):
                    assert set(chosen.split(",")) <= set(extras)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_container_is_nobody_in_particular_and_says_how_it_is(name: str) -> None:
    last = parsed(ROOT / name)[-1]
    told = [instruction for instruction, _ in last.steps]
    assert dict(last.steps)["USER"] == "trilemma"
    assert told.index("USER") > max(number for number, one in enumerate(told) if one in ("RUN", "COPY"))
    assert words(last, "ENTRYPOINT") == ["trilemma"]
    assert_command(words(last, "CMD"))
    assert "_stcore/health" in words(last, "HEALTHCHECK")[-1]
    assert_settings([key for one, rest in last.steps if one == "ENV" for key in assignments(substituted(rest, {}))])


def test_only_what_an_image_needs_is_sent_to_who_builds_it() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for path in ("trilemma/store/base.py", "app.py", ".streamlit/config.toml", "packaging/data.txt"):
        assert not ignored(PurePosixPath(path), patterns), path
    for path in (
        ".streamlit/secrets.toml", "secrets.toml", "trilemma/x/__pycache__/y.pyc", "tests/factory.py", ".git/config",
        "packaging/install.py", ".env", "Makefile",
    ):  # fmt: skip
        assert ignored(PurePosixPath(path), patterns), path


def compose(name: str) -> dict[str, Any]:
    text = substituted((ROOT / name).read_text(encoding="utf-8"), {"POSTGRES_PASSWORD": "hush-hush"})
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_dashboard_and_worker_share_a_database_a_volume_and_a_name() -> None:
    told = compose("compose.yaml")
    services = told["services"]
    assert set(services) == {"db", "dashboard", "worker"}
    ours = [services[name] for name in ("dashboard", "worker")]
    for service in ours:
        assert service["depends_on"] == {"db": {"condition": "service_healthy"}}
        assert service["volumes"] == ["data:/data"]
        assert_command(service["command"])
        assert_settings([*service["environment"]])
        assert "hush-hush" not in service["environment"]["TRILEMMA_DATABASE"]
        assert service["hostname"]
        assert service["cap_drop"] == ["ALL"]
    assert "--no-worker" in services["dashboard"]["command"]
    for key in ("TRILEMMA_DATABASE", "TRILEMMA_DEVICE", "PGPASSWORD"):
        assert ours[0]["environment"][key] == ours[1]["environment"][key]
    assert "healthcheck" in services["db"]
    # Nothing is open to the network: the database has no port, the dashboard one of this machine alone.
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8501:8501"]
    named = {volume.partition(":")[0] for service in services.values() for volume in service["volumes"]}
    assert named == set(told["volumes"])


def test_the_gpu_variant_changes_the_worker_alone() -> None:
    told = compose("compose.gpu.yaml")
    assert set(told["services"]) == {"worker"}
    worker = told["services"]["worker"]
    assert (ROOT / worker["build"]["dockerfile"]).is_file()
    (devices,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert devices["capabilities"] == ["gpu"]
