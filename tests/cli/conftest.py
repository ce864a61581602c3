"""A data folder of its own for each test, and the real command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trilemma.schema import Artifact
from trilemma.settings import get_settings
from trilemma.store import Store, open_store

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> Iterator[Path]:
    folder = tmp_path / "home"
    for name in list(os.environ):
        if name.startswith("TRILEMMA_"):
            monkeypatch.delenv(name)
    if database:
        monkeypatch.setenv("TRILEMMA_DATABASE", database)
    monkeypatch.setenv("TRILEMMA_HOME", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def command(home: Path) -> Run:
    """``trilemma ARGUMENTS`` in a process of its own, on the test's data folder."""

    def run(
        *arguments: str, timeout: float = 120, typed: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "trilemma", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=os.environ | environment,
            input=typed,
        )

    return run


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    get_settings().ensure_home()
    with open_store() as opened:
        yield opened


@pytest.fixture
def artifact(store: Store, tmp_path: Path) -> Artifact:
    """An artifact in the catalog; its file is never loaded in these tests."""
    return store.add_artifact(
        Artifact(
            id="ab" * 32,
            path=str(tmp_path / "weights.gguf"),
            model="Tiny",
            quantization="Q8_0",
            architecture="llama",
            parameters=1_000_000,
            context_length=2048,
            size_bytes=1_100_000,
            bits_per_weight=8.5,
            source="folder",
        )
    )
