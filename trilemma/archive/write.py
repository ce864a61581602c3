"""Writes a study's file."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trilemma.archive.format import (
    ARTIFACTS,
    MANIFEST,
    MAX_BYTES,
    MAX_LINE_BYTES,
    MAX_LINES,
    MAX_LISTS_BYTES,
    RUNS,
    STUDY,
    VERSION,
    VOTES,
    Manifest,
    Member,
    line,
)
from trilemma.errors import NotFoundError, StoreError
from trilemma.records import SAMPLE, RunRecord, StudyRecord
from trilemma.schema import Artifact
from trilemma.store import Store
from trilemma.whole_files import written_whole

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member: the file says nothing of when it was written."""
_HINT = "Export it as tables (trilemma export STUDY FOLDER), or back up the whole database."


def export_file(store: Store, study_id: str, target: Path) -> int:
    """Write a study to ``target``, whole or not at all; how many of its runs are not over and so not in it.

    Raises:
        NotFoundError: there is no such study.
        StoreError: ``target`` exists or cannot be written, or the study is the sample study or larger than an import
            takes.
        DiskFullError: it does not fit.
    """
    if target.exists():
        raise StoreError(f"{target} exists already.", "Choose another name, or move it away.")
    with written_whole(target) as part, part.open("wb") as file:
        left_out = write(store, study_id, file)
    return left_out


def export_bytes(store: Store, study_id: str) -> bytes:
    """A study's file, in memory.

    Raises:
        NotFoundError: there is no such study.
        StoreError: it is the sample study, or larger than an import takes.
    """
    file = io.BytesIO()
    write(store, study_id, file)
    return file.getvalue()


def write(store: Store, study_id: str, file: IO[bytes]) -> int:
    """Write a study's file; how many of its runs are not over and so not in it.

    Raises:
        NotFoundError: there is no such study.
        StoreError: it is the sample study, or larger than an import takes.
    """
    if study_id == SAMPLE:
        raise StoreError("The sample study comes with the package.", "`trilemma sample add` adds it anywhere.")
    study = store.study(study_id)
    runs = store.archived_runs(study_id)
    members: dict[str, Member] = {}
    figures: defaultdict[str, set[int]] = defaultdict(set)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:

        def member(name: str, lines: Iterator[bytes]) -> None:
            digest, size, before = hashlib.sha256(), 0, sum(one.size for one in members.values())
            with archive.open(_info(name), "w", force_zip64=True) as stream:
                for number, text in enumerate(lines, 1):
                    size += len(text)
                    _check_size(name, number, len(text), size, before + size)
                    stream.write(text)
                    digest.update(text)
            members[name] = Member(sha256=digest.hexdigest(), size=size)

        member(STUDY, iter([line(_plain(study))]))
        member(ARTIFACTS, map(line, _artifacts(store, study, runs)))
        member(VOTES, map(line, store.votes(study_id)))
        member(RUNS, _run_lines(store, runs, figures))
        known = {name: tuple(sorted(figures[name])) for name in sorted(figures)}
        manifest = Manifest.model_validate({"version": VERSION, "figures": known, "members": members})
        last = line(manifest)
        _check_size(MANIFEST, 1, len(last), len(last), len(last) + sum(one.size for one in members.values()))
        archive.writestr(_info(MANIFEST), last)
    return sum(store.study(study_id).runs_by_state.values()) - len(runs)


def _check_size(name: str, number: int, length: int, size: int, total: int) -> None:
    """See that what is written can be read again, before it is written.

    Raises:
        StoreError: it is more than an import takes.
    """
    if length > MAX_LINE_BYTES[name]:
        what, most = ("A run" if name == RUNS else f"Line {number} of {name}"), MAX_LINE_BYTES[name]
    elif name in (ARTIFACTS, VOTES) and size > MAX_LISTS_BYTES:
        what, most = name, MAX_LISTS_BYTES
    elif total > MAX_BYTES:
        what, most = "The study", MAX_BYTES
    elif number > MAX_LINES.get(name, 1):
        raise StoreError(f"{name} has more than {MAX_LINES[name]:,} lines, which no import takes.", _HINT)
    else:
        return
    raise StoreError(f"{what} is larger than {most >> 20:,} MiB, which no import takes.", _HINT)


def _run_lines(store: Store, runs: list[RunRecord], figures: defaultdict[str, set[int]]) -> Iterator[bytes]:
    for run in runs:
        whole = store.whole_run(run)
        for one in whole.measurements:
            figures[one.figure].add(one.definition_version)
        yield line(whole)


def _plain(study: StudyRecord) -> StudyRecord:
    return study.model_copy(update={"runs_by_state": {}, "created_by": None})


def _artifacts(store: Store, study: StudyRecord, runs: list[RunRecord]) -> Iterator[Artifact]:
    """What the study names, without where it lies on this machine."""
    configurations = [*study.spec.configurations, *(run.spec.configuration for run in runs)]
    wanted = {one.artifact_id for one in configurations} | {one.adapter_id for one in configurations if one.adapter_id}
    wanted |= {run.spec.reference_id for run in runs if run.spec.reference_id}
    for artifact_id in sorted(wanted):
        try:
            found = store.artifact(artifact_id)
        except NotFoundError:  # forgotten, and no run of it is left
            continue
        yield found.model_copy(update={"path": ""})


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
