from __future__ import annotations

from pathlib import Path

import pytest

from trilemma.catalog.folder import FolderSource
from trilemma.errors import CatalogError, InvalidArtifactError
from trilemma.settings import Settings


def test_a_folder_lists_its_files_without_reading_them(tmp_path: Path, tiny_gguf: bytes) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "Foo-7B-Q4_K_M.gguf").write_bytes(b"not read")
    (tmp_path / "sub" / "nameless.gguf").write_bytes(tiny_gguf)
    (tmp_path / "broken.gguf").write_bytes(b"rubbish")
    (tmp_path / "Bar-00001-of-00002.gguf").write_bytes(b"a part")
    (tmp_path / ".hidden" / "x.gguf").write_bytes(b"hidden")
    (tmp_path / "readme.txt").write_bytes(b"other")
    (tmp_path / "dangling-Q8_0.gguf").symlink_to(tmp_path / "gone")
    source = FolderSource(Settings(home=tmp_path / "home", models=tmp_path))
    found = {Path(o.reference).name: o for o in source.offers()}
    assert set(found) == {"Foo-7B-Q4_K_M.gguf", "nameless.gguf", "broken.gguf"}
    assert (found["Foo-7B-Q4_K_M.gguf"].model, found["Foo-7B-Q4_K_M.gguf"].quantization) == ("Foo-7B", "Q4_K_M")
    assert found["Foo-7B-Q4_K_M.gguf"].size_bytes == 8
    assert found["nameless.gguf"].quantization == "F16"
    assert found["broken.gguf"].quantization == "unreadable"
    assert [Path(o.reference).name for o in source.offers("foo")] == ["Foo-7B-Q4_K_M.gguf"]


def test_without_a_folder_nothing_is_listed(tmp_path: Path) -> None:
    assert list(FolderSource(Settings(home=tmp_path)).offers()) == []


def test_a_missing_folder_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        list(FolderSource(Settings(home=tmp_path, models=tmp_path / "gone")).offers())
    assert "TRILEMMA_MODELS" in caught.value.hint


def test_any_path_is_fetched_where_it_is(tmp_path: Path) -> None:
    source = FolderSource(Settings(home=tmp_path))
    (tmp_path / "a.gguf").write_bytes(b"x")
    assert source.fetch(str(tmp_path / "a.gguf")).path == (tmp_path / "a.gguf").resolve()
    for wrong in (tmp_path, tmp_path / "gone.gguf"):
        with pytest.raises(InvalidArtifactError):
            source.fetch(str(wrong))
