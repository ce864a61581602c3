"""Weights shared by hash: through a folder, and through a file system that is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trilemma.catalog.base import Fetched
from trilemma.catalog.files import HashCache
from trilemma.catalog.share import GGUF, SUMS, Share, verified
from trilemma.catalog.weights import describe, digest, read_weights
from trilemma.errors import CatalogError
from trilemma.schema import Artifact


@pytest.fixture
def hashes(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "hashes")


def artifact_at(path: Path, hashes: HashCache) -> Artifact:
    header = read_weights(path)
    return describe(Fetched(path, "folder"), header, digest(path, header, hashes), None, [])


@pytest.fixture(params=["file", "folder"])
def weights(request: pytest.FixtureRequest, tmp_path: Path, tiny_gguf: bytes, make_folder: Callable[..., Path]) -> Path:
    if request.param == "folder":
        return make_folder(tmp_path / "here" / "model", shards=2)
    path = tmp_path / "tiny ü.gguf"
    path.write_bytes(tiny_gguf)
    return path


@pytest.fixture(params=["{}/share", "memory://trilemma-{}"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


def test_what_is_put_there_arrives_elsewhere(url: str, weights: Path, tmp_path: Path, hashes: HashCache) -> None:
    artifact = artifact_at(weights, hashes)
    share = Share(url)
    assert not share.holds(artifact.id)
    share.put(artifact, hashes)
    share.put(artifact, hashes)
    seen: list[tuple[int, int]] = []
    arrived = Share(url).get(artifact, tmp_path / "there", lambda done, total: seen.append((done, total)))
    assert arrived.is_relative_to(tmp_path / "there" / artifact.id)
    assert verified(arrived, artifact, hashes)
    assert seen[-1][0] <= seen[-1][1]
    assert artifact_at(arrived, hashes).id == artifact.id


def test_what_was_changed_there_is_refused(weights: Path, tmp_path: Path, hashes: HashCache) -> None:
    artifact = artifact_at(weights, hashes)
    share = Share(str(tmp_path / "share"))
    share.put(artifact, hashes)
    victim = next((tmp_path / "share" / artifact.id).glob("model*"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    with pytest.raises(CatalogError, match="not what its hash says"):
        share.get(artifact, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == [], "nothing half-written is left"


@pytest.mark.parametrize(
    "sums",
    ["", "nonsense", f"{'0' * 64}  {GGUF}\n", f"{'0' * 64}  ../../evil\n", f"{'0' * 64}  /etc/passwd\n"],
    ids=["empty", "nonsense", "another", "above", "absolute"],
)
def test_a_list_of_other_files_is_refused(sums: str, tmp_path: Path, tiny_gguf: bytes, hashes: HashCache) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf)
    artifact = artifact_at(path, hashes)
    folder = tmp_path / "share" / artifact.id
    folder.mkdir(parents=True)
    (folder / SUMS).write_text(sums)
    with pytest.raises(CatalogError):
        Share(str(tmp_path / "share")).get(artifact, tmp_path / "there")
    assert not (tmp_path / "there" / artifact.id).exists()


def test_weights_that_changed_here_are_not_put_there(tmp_path: Path, make_gguf: Any, hashes: HashCache) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(make_gguf())
    artifact = artifact_at(path, hashes)
    path.write_bytes(make_gguf(name="Another"))
    share = Share(str(tmp_path / "share"))
    with pytest.raises(CatalogError, match="their hashes differ"):
        share.put(artifact, hashes)
    assert not share.holds(artifact.id)


def test_a_place_that_cannot_be_had_is_explained_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        Share("nothing://user:secret@host/place")
    assert "TRILEMMA_ARTIFACTS_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_nobody_put_there_is_missed(tmp_path: Path, tiny_gguf: bytes, hashes: HashCache) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf)
    with pytest.raises(CatalogError, match="is not at"):
        Share(str(tmp_path / "share")).get(artifact_at(path, hashes), tmp_path / "there")
