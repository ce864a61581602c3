"""What the documents say is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer

from tests.fuzz.campaign import surfaces
from trilemma import options
from trilemma.cli import app
from trilemma.figures import as_markdown
from trilemma.workloads import PROMPT_SETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\.venv/bin/)?trilemma ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
INLINE = re.compile(r"`(?:\.venv/bin/)?trilemma ([a-z]+)(?: ([a-z]+))?")


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_generated_pages_are_current() -> None:
    assert (ROOT / "docs" / "figures.md").read_text(encoding="utf-8") == as_markdown(), (
        "run: python -m trilemma.figures > docs/figures.md"
    )
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == options.as_markdown(), (
        "run: python -m trilemma.options > docs/options.md"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_documents_resolve(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Every command and, of the groups, every subcommand, with its options."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        parts = {name: command, **{f"{name} {sub}": made for sub, made in getattr(command, "commands", {}).items()}}
        for full, made in parts.items():
            options = {option for param in made.params for option in (*param.opts, *param.secondary_opts)}
            found[full] = options | {"--help"}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documents_exist(page: Path, commands: dict[str, set[str]]) -> None:
    text = page.read_text(encoding="utf-8")
    used = INLINE.findall(text)
    for block in fenced(page, "sh"):
        used += COMMAND.findall(block)
    groups = {name.split()[0] for name in commands if " " in name}
    for name, sub in used:
        assert name in commands, f"trilemma {name}"
        if name in groups and sub:
            assert f"{name} {sub}" in commands, f"trilemma {name} {sub}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_documents_exist(page: Path, commands: dict[str, set[str]]) -> None:
    for block in fenced(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            match = COMMAND.match(line.strip())
            if not match:
                continue
            name = f"{match[1]} {match[2]}" if f"{match[1]} {match[2]}" in commands else match[1]
            for option in re.findall(r"\s(--[a-z][a-z-]*)", line.partition("#")[0]):
                assert option in commands[name], f"trilemma {name} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_the_documents_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    used = set(re.findall(r"`make ([a-z]+)", prose))
    for block in fenced(page, "sh"):
        used |= set(re.findall(r"^make ([a-z]+)", block, re.MULTILINE))
    assert used <= targets


def test_the_threat_model_names_code_tests_and_surfaces_that_exist() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [
        line.strip("|").split("|")[-2:] for line in text.splitlines() if line.startswith("| ") and line.count("|") == 5
    ]
    assert len(rows) > 30
    names = [name for row in rows for cell in row for name in re.findall(r"`([\w./*]+(?:\.py|/))`", cell)]
    assert len(names) > 60
    there = [
        path.relative_to(ROOT).as_posix() for top in ("trilemma", "pages", "tests") for path in (ROOT / top).rglob("*")
    ]
    assert [name for name in names if not any(fnmatch(f"/{one}", f"*/{name.rstrip('/')}") for one in there)] == []
    known = [name for _, cell in rows for name in re.findall(r"\*([A-Z][^*]+)\*", cell.partition("fuzz:")[2])]
    found = surfaces()
    assert [name for name in known if not any(one.startswith(name.removesuffix("...")) for one in found)] == []


def test_the_guide_names_every_command_and_workload(commands: dict[str, set[str]]) -> None:
    guide = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
    # What packages the sample study is for those who work on Trilemma.
    guide += (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in commands if f"trilemma {name}" not in guide] == []
    assert [name for name in PROMPT_SETS if name not in guide] == []


def test_the_guide_names_every_setting() -> None:
    from trilemma.settings import Settings

    guide = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
    assert [name for name in Settings.model_fields if f"TRILEMMA_{name.upper()}" not in guide] == []


def test_the_preset_of_the_guide_is_read(tmp_path: Path) -> None:
    from trilemma.presets import read_preset

    (text,) = [block for block in fenced(ROOT / "docs" / "user-guide.md", "toml") if "weights" in block]
    path = tmp_path / "help-desk.toml"
    path.write_text(text)
    assert read_preset(path).study_options


def test_the_study_file_of_the_guide_is_read(tmp_path: Path) -> None:
    from trilemma.cli.parse import study_file
    from trilemma.schema import Artifact

    def find(name: str) -> Artifact:
        model, _, quantization = name.rpartition(" ")
        number = f"{abs(hash(name)):064x}"[:64]
        return Artifact(id=number, path="/x", model=model, quantization=quantization, size_bytes=1, source="folder")

    (text,) = [block for block in fenced(ROOT / "docs" / "user-guide.md", "toml") if "artifacts" in block]
    path = tmp_path / "study.toml"
    path.write_text(text)
    spec = study_file(path, find)
    assert len(spec.configurations) >= 2
    assert spec.workloads and spec.suites


TRY = """
import my_trilemma
from trilemma import registry
from trilemma.engines.base import GenerationRequest
from trilemma.meters.base import Target
from trilemma.meters.sources import best_energy, headline_domains
from trilemma.schema import Artifact, EnergyCoefficients, SuiteSpec
from trilemma.bench.joint import dialogue
from trilemma.settings import get_settings
from trilemma.suites.base import SuiteContext
from trilemma.workloads.dialogues import converse
from trilemma.workloads.in_flight import OneAtATime

settings = get_settings()
shelf = settings.home / "shelf"
shelf.mkdir(parents=True)
(shelf / "book.gguf").write_bytes(b"GGUF")
source = registry.load("trilemma.sources", "shelf")(settings)
(offer,) = source.offers("BOOK")
assert source.fetch(offer.reference).path == shelf / "book.gguf"

from trilemma.interop import read_data
imported, file = read_data("x.csv", b"stopwatch_model,milliseconds,mood\\nM,1500,good\\n")
assert file.importer == "stopwatch"
assert [one.value for run in imported.runs for one in run.measurements] == [1.5]

meter = registry.load("trilemma.meters", "wall_plug")()
meter.start(Target(pid=None, energy=EnergyCoefficients()))
first, second = meter.read(0.1), meter.read(0.1)
assert 0 <= first["energy_j.wall_plug"] <= second["energy_j.wall_plug"]
assert [one.channel for one in headline_domains(best_energy([meter]))] == ["energy_j.wall_plug"]

engine = registry.load("trilemma.engines", "parrot")()
artifact = Artifact(id="ab" * 32, path="/x", model="m", quantization="q", size_bytes=1, source="folder")
engine.check(artifact, {"context": 64})
suite = registry.load("trilemma.suites", "capitals")()
shares = []
with engine.load(artifact, {"context": 64}) as model:
    made = model.generate(GenerationRequest(prompt=model.tokenize("hi"), max_tokens=3))
    assert model.detokenize(made.tokens) == "iii"
    assert made.prefilled_tokens == 2
    spec = SuiteSpec(name="capitals")
    answers = list(suite.answers(model, SuiteContext(spec, None, "", shares.append)))
(accuracy,) = suite.measurements(answers, spec)
assert (accuracy.n, accuracy.value) == (2, 0.5), accuracy  # a parrot likes the shorter name
assert shares == [0.5, 1.0]

writing, spec, heard, grades = registry.load("trilemma.suites", "spelling")(), SuiteSpec(name="spelling"), [], []
tasks = writing.tasks(spec)
with engine.load(artifact, {"context": 1024}) as model:
    dialogues = [dialogue(model, writing.script(task, spec)) for task in tasks]
    over = lambda position, told: grades.append(writing.grade(tasks[position], told, spec))
    converse(OneAtATime(model), dialogues, 1, heard.append, over)
assert [answer.position for answer in heard] == [0, 0, 1, 1]
assert not any(answer.generation.error for answer in heard)
assert [grade.scores for grade in grades] == [{"accuracy": 0.0}] * 2
assert all(grade.answer for grade in grades)
print("worked")
"""


def test_the_examples_of_extending_are_found_and_run(tmp_path: Path) -> None:
    page = ROOT / "docs" / "extending.md"
    (toml,) = fenced(page, "toml")
    # What an installed package is to importlib.metadata: a module, and a dist-info with its entry points.
    (tmp_path / "my_trilemma.py").write_text(
        "from __future__ import annotations\n\n" + "\n".join(fenced(page, "python"))
    )
    info = tmp_path / "my_trilemma-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-trilemma\nVersion: 1\n")
    points = re.sub(r'\[project\.entry-points\."(.+?)"\]', r"[\1]", toml).replace('"', "")
    (info / "entry_points.txt").write_text(points)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TRILEMMA_HOME": str(tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRY], capture_output=True, text=True, env=environment, check=False
    )
    assert result.stdout.strip() == "worked", result.stderr
