"""The rules that keep the house easy to live in, held by reading its imports."""

from __future__ import annotations

import ast
import graphlib
import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import grimp
import pytest

from tests.factory import artifact
from trilemma import registry
from trilemma.bench.plan import Plan
from trilemma.schema import Configuration, RunSpec, SuiteSpec
from trilemma.store import Store

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 320
CODE = sorted([*ROOT.glob("trilemma/**/*.py"), *ROOT.glob("pages/**/*.py"), ROOT / "app.py"])


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "trilemma", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def importers(graph: grimp.ImportGraph, package: str) -> set[str]:
    """Modules of ours that import ``package`` directly."""
    if package not in graph.modules:
        return set()
    return {name for name in graph.find_modules_that_directly_import(package) if name.startswith("trilemma")}


def outside(modules: set[str], *rooms: str) -> set[str]:
    return {name for name in modules if not any(name == room or name.startswith(f"{room}.") for room in rooms)}


def test_only_the_pages_import_streamlit(graph: grimp.ImportGraph) -> None:
    assert importers(graph, "streamlit") == set()


def test_only_an_engine_imports_its_package(graph: grimp.ImportGraph) -> None:
    assert importers(graph, "llama_cpp"), "the check looks for the wrong name"
    assert outside(importers(graph, "llama_cpp"), "trilemma.engines.llama_cpp") == set()


def test_only_the_store_speaks_sql(graph: grimp.ImportGraph) -> None:
    for package in ("sqlalchemy", "alembic"):
        assert importers(graph, package), "the check looks for the wrong name"
        assert outside(importers(graph, package), "trilemma.store") == set()


def test_energy_libraries_are_imported_by_meters_alone(graph: grimp.ImportGraph) -> None:
    assert outside(importers(graph, "zeus"), "trilemma.meters") == set()


@pytest.mark.parametrize(
    ("room", "never"),
    [
        (
            "trilemma.analysis",
            ["trilemma.bench", "trilemma.jobs", "trilemma.engines", "trilemma.charts", "trilemma.cli"],
        ),
        ("trilemma.charts", ["trilemma.bench", "trilemma.jobs", "trilemma.cli", "trilemma.serve"]),
        (
            "trilemma.store",
            [
                "trilemma.interop",
                "trilemma.bench",
                "trilemma.jobs",
                "trilemma.analysis",
                "trilemma.charts",
                "trilemma.cli",
            ],
        ),
        ("trilemma.engines", ["trilemma.store", "trilemma.bench", "trilemma.jobs", "trilemma.analysis"]),
        ("trilemma.suites", ["trilemma.store", "trilemma.bench", "trilemma.jobs", "trilemma.charts"]),
        ("trilemma.meters", ["trilemma.store", "trilemma.bench", "trilemma.jobs", "trilemma.analysis"]),
        ("trilemma.bench", ["trilemma.jobs", "trilemma.charts", "trilemma.cli", "trilemma.tryout"]),
        ("trilemma.tryout", ["trilemma.analysis", "trilemma.charts", "trilemma.cli"]),
        ("trilemma.jobs", ["trilemma.charts", "trilemma.cli"]),
        ("trilemma.interop", ["trilemma.jobs", "trilemma.charts", "trilemma.cli", "trilemma.report"]),
        ("trilemma.store", ["trilemma.access"]),
        ("trilemma.access", ["trilemma.bench", "trilemma.jobs", "trilemma.charts", "trilemma.cli", "trilemma.serve"]),
        ("trilemma.catalog", ["trilemma.bench", "trilemma.jobs", "trilemma.analysis", "trilemma.charts"]),
    ],
)
def test_a_study_flows_one_way(graph: grimp.ImportGraph, room: str, never: list[str]) -> None:
    for other in never:
        found = graph.find_shortest_chains(importer=room, imported=other, as_packages=True)
        direct = {chain for chain in found if len(chain) == 2}
        assert direct == set()


def test_no_module_imports_itself_in_a_circle(graph: grimp.ImportGraph) -> None:
    ours = {name for name in graph.modules if name.startswith("trilemma")}
    sorter = graphlib.TopologicalSorter(
        {name: {other for other in graph.find_modules_directly_imported_by(name) if other in ours} for name in ours}
    )
    sorter.prepare()


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_long(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, "split it into two modules"


def imported_by_pages() -> set[str]:
    """Names of our modules that app.py and the pages import."""
    found = set()
    for path in [ROOT / "app.py", *ROOT.glob("pages/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
    return {name for name in found if name.split(".")[0] == "trilemma"}


def test_the_dashboard_never_imports_an_engine() -> None:
    names = sorted(imported_by_pages())
    assert names, "the pages import nothing of ours: the check reads the wrong files"
    code = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert loaded & {"llama_cpp", "vllm", "torch", "zeus", "ray"} == set()


def test_the_measured_process_holds_no_libraries_that_it_needs_only_to_score() -> None:
    """What it has imported before it serves counts as memory of serving, whatever it will be asked afterwards."""
    code = (
        "import json, sys, trilemma.bench.measure as m\n"
        "m.measure = lambda plan, channel: print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
        "sys.exit(m.main())"
    )
    weights = artifact("m", "Q8_0")
    suites = tuple(SuiteSpec(name=name) for name in registry.names("trilemma.suites"))
    run = RunSpec(configuration=Configuration(artifact_id=weights.id, engine="llama.cpp"), suites=suites)
    plan = Plan(spec=run, artifact=weights, suites_s=(1.0,) * len(suites)).model_dump_json()
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, input=plan, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}
    assert "trilemma" in loaded
    assert loaded & {"scipy", "pandas", "pyarrow", "plotly", "sqlalchemy", "jsonschema", "langdetect"} == set()


def writers() -> set[str]:
    """Names of what changes the store or the data folder, as pages could call it."""
    store = {
        name
        for name, method in inspect.getmembers(Store, inspect.isfunction)
        if not name.startswith("_") and re.search(r"self\._db\.write\(|self\._set_", inspect.getsource(method))
    }
    catalog = {"add", "add_path", "add_endpoint", "quantise", "convert", "describe_derivation", "delete"}
    return (
        store
        | catalog
        | {"submit", "keep", "write_text", "write_bytes", "unlink", "Round", "add_sample", "import_file"}
    )


def held(node: ast.With, deeds: set[str]) -> bool:
    """Whether a ``with`` enters something that the guard allowed."""
    return any(
        (isinstance(call := item.context_expr, ast.Call) and ast.unparse(call.func).endswith(".doing"))
        or (isinstance(item.context_expr, ast.Name) and item.context_expr.id in deeds)
        for item in node.items
    )


def unguarded(path: Path) -> list[str]:
    """Calls in a page that change something outside of ``with guard.doing(...)``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    deeds = {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call) and ast.unparse(node.value.func).endswith(".doing")
    }  # fmt: skip
    names, found = writers(), []

    def visit(node: ast.AST, allowed: bool) -> None:
        if isinstance(node, ast.With):
            allowed = allowed or held(node, deeds)
        if isinstance(node, ast.Call) and not allowed:
            name = ast.unparse(node.func)
            if name.rpartition(".")[2] in names and name not in HARMLESS:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
        for child in ast.iter_child_nodes(node):
            visit(child, allowed)

    visit(tree, False)
    return found


HARMLESS = {"_told(scene, ballot.source).add", "store.add_audit", "catalog.quantise", "catalog.convert",
            "catalog.add", "catalog.add_path", "found.add", "there.add", "_TURN.release"}  # fmt: skip
"""Sets of Python's, the log itself, and work that is handed to a thread which enters the deed first."""


@pytest.mark.parametrize("path", sorted(ROOT.glob("pages/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_change_things_through_the_guard_alone(path: Path) -> None:
    assert unguarded(path) == []
    # Who submits a study tells the guard which: what it has the server ask is looked at.
    assert not re.search(r"\bdoing\(Action\.SUBMIT(?![^)]*\bspec=)", path.read_text(encoding="utf-8"))
    if path.name != "entrance.py":
        assert not re.search(r"\bopen_store\b|\bDatabase\(|\b_open\(", path.read_text(encoding="utf-8"))


NAMED = {"file.write_bytes", "path.write_bytes"}
"""Files that whoever types a command names, to be written with their own account's rights."""


@pytest.mark.parametrize("path", sorted(ROOT.glob("trilemma/cli/*.py")), ids=lambda path: path.stem)
def test_commands_change_things_through_the_guard_as_well(path: Path) -> None:
    assert [call for call in unguarded(path) if call.rpartition(" ")[2] not in NAMED] == []


def test_a_page_that_goes_past_the_guard_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.py"
    page.write_text("store.request_cancel('x')\nwith guard.doing(a) as s:\n    s.retry('x')\nsubmit(store, spec)\n")
    assert unguarded(page) == ["page.py:1: store.request_cancel", "page.py:4: submit"]


PROTOCOLS = {
    "trilemma.engines": ["name", "formats", "settings_type", "availability", "check", "load"],
    "trilemma.meters": ["name", "availability", "start", "read", "close"],
    "trilemma.sources": ["name", "offers", "fetch"],
    "trilemma.suites": ["name", "title", "licence", "figures", "availability", "items", "measurements"],
    "trilemma.executors": ["name", "cluster", "lanes", "machines", "reserve", "clear"],
    "trilemma.importers": ["name", "title", "sniff", "read"],
}
POINTS = [
    pytest.param(group, point.name, id=f"{group}:{point.name}")
    for group in registry.GROUPS
    for point in entry_points(group=group)
]


@pytest.mark.parametrize(("group", "name"), POINTS)
def test_every_entry_point_loads_and_does_what_its_kind_must(group: str, name: str) -> None:
    loaded = registry.load(group, name)
    missing = [member for member in PROTOCOLS[group] if not hasattr(loaded, member)]
    assert missing == []
    if group == "trilemma.suites":
        # Either it asks the model itself, or it says what is asked and scores what comes.
        assert hasattr(loaded, "answers") != (hasattr(loaded, "script") and hasattr(loaded, "grade"))
    if PROTOCOLS[group]:
        assert loaded.name == name


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_kind_has_at_least_one(group: str) -> None:
    assert registry.names(group)


def test_figures_that_suites_yield_are_defined() -> None:
    from trilemma.figures import FIGURES

    for name in registry.names("trilemma.suites"):
        assert set(registry.load("trilemma.suites", name).figures) <= set(FIGURES)
