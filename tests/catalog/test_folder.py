from __future__ import annotations

from pathlib import Path
from typing import Any

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


def test_folders_of_safetensors_are_listed_as_one(tmp_path: Path, make_folder: Any, make_adapter: Any) -> None:
    models = tmp_path / "models"
    make_folder(models / "Smol-1M-AWQ", quantization_config={"quant_method": "awq", "bits": 4})
    make_folder(models / "hub" / "models--org--Deep-1M" / "snapshots" / ("ab" * 20), shards=2)
    (make_folder(models / "cut") / "model.safetensors").write_bytes(b"rubbish")
    make_adapter(models / "law")
    (models / "no-model").mkdir()
    (models / "no-model" / "config.json").write_text("{}")
    source = FolderSource(Settings(home=tmp_path / "home", models=models))
    found = {offer.model: (offer.quantization, offer.size_bytes is not None) for offer in source.offers()}
    assert found == {
        "Smol-1M": ("AWQ", True),
        "Deep-1M": ("F16", True),
        "Cut": ("unreadable", False),
        "Law": ("F32", True),
    }
    assert [offer.model for offer in source.offers("deep")] == ["Deep-1M"]
    for offer in source.offers():
        if offer.quantization != "unreadable":
            assert source.fetch(offer.reference).path.is_dir()


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
