"""What travels between the worker and a machine of its cluster: documents, so that either end checks what it gets."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from trilemma.base import Frozen
from trilemma.bench.earlier import worth_lending
from trilemma.errors import RunError
from trilemma.jobs.base import Ending
from trilemma.records import HostInfo, RunRecord, Sample, StudyRecord, WholeRun
from trilemma.schema import Artifact, Phase
from trilemma.settings import Settings
from trilemma.store import Store

_KEPT = re.compile(r"([0-9a-f]{64})(\.[a-z0-9]{1,10})?")
D = TypeVar("D", bound=Frozen)

Files = dict[str, dict[str, bytes]]
"""By folder, files by name; their names are their hashes."""


class Greeting(Frozen):
    """Who a machine is."""

    trilemma: str
    host: HostInfo


class Parcel(Frozen):
    """A run on its way to the machine that measures it."""

    run: RunRecord
    studies: tuple[StudyRecord, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    others: tuple[WholeRun, ...] = Field(default=(), description="What it has to know of other runs.")


class Report(Frozen):
    """How a run on another machine stands."""

    fraction: float = 0.0
    note: str = ""
    phase: Phase | None = None
    remaining_s: float | None = None
    begun: bool = Field(default=False, description="Whether the run's process has said so.")
    samples: tuple[Sample, ...] = Field(default=(), description="Those since the last report.")
    ending: Ending | None = Field(default=None, description="How it ended, once it is over.")


def pack(document: Frozen) -> bytes:
    """A document for the way."""
    return zlib.compress(json.dumps(document.model_dump(mode="json")).encode(), level=1)


def unpack(kind: type[D], data: bytes) -> D:
    """What :func:`pack` made.

    Raises:
        ValueError: it is something else; pydantic's ValidationError is one.
    """
    try:
        return kind.model_validate(json.loads(zlib.decompress(data)))
    except (zlib.error, RecursionError) as error:
        raise ValueError(f"No {kind.__name__} arrived ({error}).") from error


def parcel_of(store: Store, run: RunRecord, host: HostInfo) -> Parcel:
    """Everything that a machine needs to measure ``run``, but for weights and files.

    Raises:
        StoreError: the store cannot be read, or lacks an artifact of the run.
    """
    artifacts = artifacts_of(store, run)
    return Parcel(
        run=run,
        studies=tuple(store.study(one) for one in run.study_ids),
        artifacts=artifacts,
        others=tuple(worth_lending(store, run, artifacts[0], host)),
    )


def files_of(settings: Settings, run: RunRecord) -> Files:
    """The files that a run reads: traces, and questions of the user's own.

    Raises:
        RunError: one is not here any more.
    """
    traces = {workload.trace for workload in run.spec.workloads if workload.trace is not None}
    files = {str(suite.options["file"]) for suite in run.spec.suites if suite.options.get("file")}
    return {settings.traces_dir.name: _kept(settings.traces_dir, traces),
            settings.questions_dir.name: _kept(settings.questions_dir, files)}  # fmt: skip


def artifacts_of(store: Store, run: RunRecord) -> tuple[Artifact, ...]:
    """The artifacts of a run, that which it measures first.

    Raises:
        NotFoundError: the store lacks one.
    """
    chosen = run.spec.configuration
    ids = dict.fromkeys([chosen.artifact_id, run.spec.reference_id, chosen.adapter_id])
    return tuple(store.artifact(one) for one in ids if one)


def _kept(folder: Path, digests: set[str]) -> dict[str, bytes]:
    """Files of :mod:`trilemma.kept_files`."""
    found: dict[str, bytes] = {}
    for digest in digests:
        paths = list(folder.glob(f"{digest}.*")) if _KEPT.fullmatch(digest) else []
        if not paths:
            raise RunError(f"The file {digest[:12]} is not in {folder}.", "Add it again, then retry.")
        found[paths[0].name] = paths[0].read_bytes()
    return found


def write_files(settings: Settings, files: Files) -> None:
    """Put :func:`files_of` where a run looks for them.

    Raises:
        ValueError: one is not what its name says.
        OSError: it cannot be written.
    """
    for folder in (settings.traces_dir, settings.questions_dir):
        for name, data in files.get(folder.name, {}).items():
            match = _KEPT.fullmatch(name)
            if match is None or hashlib.sha256(data).hexdigest() != match[1]:
                raise ValueError(f"The file {name[:12]!r} arrived damaged. Retry the run.")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
