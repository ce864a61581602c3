"""Real vLLM on this CPU: only in the environment of `make test-vllm`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from trilemma.catalog.catalog import Catalog
from trilemma.engines.vllm import Vllm
from trilemma.engines.vllm.model import LoadedVllm
from trilemma.schema import Artifact
from trilemma.settings import Settings
from trilemma.store import open_store

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs vLLM, whose own imports warn."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.timeout(1200))
            item.add_marker(pytest.mark.filterwarnings("default"))
            if find_spec("vllm") is None:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed: make test-vllm"))


@pytest.fixture(scope="session")
def catalog_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A data folder for what several tests need."""
    settings = Settings(home=tmp_path_factory.mktemp("weights"))
    settings.ensure_home()
    return settings


@pytest.fixture(scope="session")
def twins(catalog_home: Settings, smollm2_path: Path) -> tuple[Artifact, Artifact]:
    """The same weights twice: F16 in GGUF, and as safetensors."""
    with open_store(catalog_home.database_url) as store:
        catalog = Catalog(store, catalog_home)
        f16 = catalog.quantise(catalog.add_path(smollm2_path), "F16")
        return f16, catalog.convert(f16, "f16")


@pytest.fixture(scope="session")
def loaded(twins: tuple[Artifact, Artifact]) -> Iterator[LoadedVllm]:
    """Loaded once for all tests that only ask."""
    engine, settings = Vllm(), {"context": 1024, "slots": 4, "dtype": "float32", "eager": True}
    engine.check(twins[1], settings)
    with engine.load(twins[1], settings) as model:
        yield model
