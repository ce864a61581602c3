"""Safetensors of the hub as a whole folder: what is fetched, what is not, and what happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trilemma.catalog.catalog import Catalog
from trilemma.catalog.hub import HubSource
from trilemma.errors import HubError, InvalidArtifactError
from trilemma.schema import Relation
from trilemma.settings import Settings
from trilemma.store import Store

Make = Callable[..., Path]
REPO = "someone/Tiny-1M-Instruct"
BIG = {f"layer.{i}.weight": np.frombuffer(os.urandom(2**21), np.float16).reshape(1024, 1024) for i in range(4)}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def repository(hub: Any, tmp_path: Path, make_folder: Make) -> dict[str, bytes]:
    """A sharded model on the hub, with much beside it that is not wanted."""
    files = files_of(make_folder(tmp_path / "src", BIG, shards=2, documents={"tokenizer.json": {"a": 1}}))
    other = {"consolidated.safetensors": b"x", "pytorch_model.bin": b"x", "modeling.py": b"x", "onnx/m.onnx": b"x"}
    hub.add(
        REPO,
        files | other,
        card={"license": "mit", "base_model": "org/Tiny-1M"},
        safetensors={"parameters": {"F16": 4194304}, "total": 4194304},
    )
    return files


def test_a_repository_offers_its_safetensors_as_one(hub: Any, settings: Settings, repository: dict[str, bytes]) -> None:
    (offer,) = HubSource(settings).offers(REPO)
    assert (offer.reference, offer.model, offer.quantization) == (REPO, "Tiny-1M-Instruct", "F16")
    assert offer.size_bytes == sum(len(data) for name, data in repository.items() if "of-00002" in name) + 1
    assert offer.derivations[0].relation is Relation.FINETUNED
    assert [o.reference for o in HubSource(settings).offers("tiny")] == [REPO]


def test_the_hub_names_the_quantization(hub: Any, settings: Settings, tmp_path: Path, make_folder: Make) -> None:
    config = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    hub.add("q/Tiny-AWQ", files_of(make_folder(tmp_path / "q")), config=config)
    (offer,) = HubSource(settings).offers("q/Tiny-AWQ")
    assert (offer.model, offer.quantization) == ("Tiny", "AWQ")


def test_a_snapshot_has_what_is_needed_and_nothing_else(
    hub: Any, store: Store, settings: Settings, repository: dict[str, bytes]
) -> None:
    catalog = Catalog(store, settings)
    seen: list[tuple[int, int]] = []
    artifact = catalog.add("hub", REPO, lambda done, total: seen.append((done, total)))
    folder = Path(artifact.path)
    assert files_of(folder) == repository
    assert folder == settings.artifacts_dir / "hub" / "someone" / "Tiny-1M-Instruct@c0ffee000000"
    assert (artifact.model, artifact.licence, artifact.source) == ("Tiny-1M-Instruct", "mit", f"hub:{REPO}")
    assert artifact.derivations[0].parent_name == "org/Tiny-1M"
    total = sum(map(len, repository.values()))
    assert (total, total) in seen
    assert all(done <= total for done, of in seen if of == total)
    assert not any("consolidated" in r.path or ".bin" in r.path or ".py" in r.path for r in hub.requests)
    before = len(hub.transfers())
    assert catalog.add("hub", REPO).id == artifact.id
    assert len(hub.transfers()) == before
    assert catalog.delete(artifact.id, remove_file=True)
    assert not folder.exists()


def test_an_interrupted_snapshot_goes_on(hub: Any, settings: Settings, repository: dict[str, bytes]) -> None:
    class Stop(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        if done > 5 * 2**20:  # In the second file.
            raise Stop

    source = HubSource(settings)
    with pytest.raises(Stop):
        source.fetch(REPO, stop)
    assert not (settings.artifacts_dir / "hub" / "someone" / "Tiny-1M-Instruct@c0ffee000000").exists()
    (staging,) = (settings.artifacts_dir / "hub").rglob("*@c0ffee000000*.part")
    assert staging.is_dir()
    long_ago = time.time() - 30 * 86400
    os.utime(staging, (long_ago, long_ago))  # taken up again a month later, it is not swept under one's hands
    asked = len(hub.transfers())
    fetched = source.fetch(REPO)
    assert files_of(fetched.path) == repository
    later = hub.transfers()[asked:]
    assert not any("00001-of" in r.path for r in later)
    assert [r.range.startswith("bytes=") for r in later if "00002-of" in r.path] == [True]
    assert [path.name for path in fetched.path.parent.iterdir()] == [fetched.path.name]


def test_of_a_snapshot_that_is_not_to_be_kept_nothing_stays(
    hub: Any, settings: Settings, repository: dict[str, bytes]
) -> None:
    """Nor does somebody else's who is refused meanwhile take away what the first has."""
    source, refused = HubSource(settings), []
    source.keep_parts = False

    def meanwhile(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(HubError, match="already") as caught:
                source.fetch(REPO)
            refused.append(caught.value)
        if len(refused) > 1 and done > 5 * 2**20:
            raise KeyboardInterrupt

    assert files_of(HubSource(settings).fetch(REPO, meanwhile).path) == repository
    shutil.rmtree(settings.artifacts_dir)
    refused.append(refused[0])
    with pytest.raises(KeyboardInterrupt):
        source.fetch(REPO, meanwhile)
    assert [path for path in settings.artifacts_dir.rglob("*") if path.is_file()] == []


def test_what_arrives_is_checked(hub: Any, settings: Settings, repository: dict[str, bytes]) -> None:
    hub.corrupt = True
    with pytest.raises(HubError, match="SHA-256 differs"):
        HubSource(settings).fetch(REPO)


def test_an_index_cannot_make_it_fetch_elsewhere(
    hub: Any, settings: Settings, tmp_path: Path, make_folder: Make
) -> None:
    files = files_of(make_folder(tmp_path / "src", shards=2))
    index = json.loads(files["model.safetensors.index.json"])
    index["weight_map"]["layer.0.weight"] = "../../other/repo/model.safetensors"
    hub.add(REPO, files | {"model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(InvalidArtifactError, match="no safetensors file in it"):
        HubSource(settings).fetch(REPO)
    assert [r.path.rpartition("/")[2] for r in hub.transfers()] == ["model.safetensors.index.json"]


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(hub: Any, settings: Settings) -> None:
    hub.add(REPO, {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(InvalidArtifactError, match=f"{REPO} has its weights as pickles"):
        HubSource(settings).fetch(REPO)
    assert hub.transfers() == []
    assert list(HubSource(settings).offers(REPO)) == []


def test_an_adapter_is_fetched_too(
    hub: Any, store: Store, settings: Settings, tmp_path: Path, make_adapter: Make
) -> None:
    files = files_of(make_adapter(tmp_path / "src"))
    hub.add("someone/law", files | {"README.md": b"x"}, card={"base_model": "owner/Base-1B"})
    artifact = Catalog(store, settings).add("hub", "someone/law")
    assert (artifact.kind, artifact.derivations[0].relation) == ("adapter", Relation.ADAPTER)
    assert files_of(Path(artifact.path)) == files
