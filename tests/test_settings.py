"""The data folder: prepared by many at once, and refused with a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trilemma.errors import StoreError
from trilemma.settings import Settings, default_home


def test_many_may_prepare_one_folder_at_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with ThreadPoolExecutor(8) as pool:
        homes = list(pool.map(lambda _: settings.ensure_home(), range(400)))
    assert set(homes) == {settings.home}
    assert {path.name for path in settings.home.iterdir()} == {"artifacts", "logs"}


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be written"):
        Settings(home=tmp_path / "file").ensure_home()


def test_what_is_named_from_here_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("HOME", "data"), ("DATABASE", "sqlite:///here.db"), ("MODELS", "weights")):
        monkeypatch.setenv(f"TRILEMMA_{name}", value)
    settings = Settings()
    monkeypatch.chdir("/")
    assert settings.home == tmp_path / "data"
    assert settings.models == tmp_path / "weights"
    assert settings.database_url == f"sqlite:///{tmp_path / 'here.db'}"
    assert default_home() == Path("/data")
    assert Settings(database="postgresql+psycopg:///trilemma").database == "postgresql+psycopg:///trilemma"
