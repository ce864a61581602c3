"""Reads a study's file, which anybody may have made: nothing in it is believed before it is checked."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from trilemma.archive.format import (
    ARTIFACTS,
    MANIFEST,
    MAX_BYTES,
    MAX_LINE_BYTES,
    MAX_LINES,
    MAX_LISTS_BYTES,
    MAX_RATIO,
    MAX_SMALL_BYTES,
    MEMBERS,
    RATIO_FROM_BYTES,
    RUNS,
    STUDY,
    VERSION,
    VOTES,
    Id,
    Manifest,
)
from trilemma.errors import DatabaseTooNewError, StoreError
from trilemma.records import IMPORTED, IMPORTED_FROM, SAMPLE, TOOL, StudyRecord, Vote, WholeRun
from trilemma.schema import Artifact
from trilemma.store import Store

M = TypeVar("M", bound=BaseModel)

_HINT = "Ask for the file again, or export it again; nothing of it was imported."
_ID: TypeAdapter[str] = TypeAdapter(Id)
_CHUNK = 1 << 20
_MAX_DEVICE = 64
_END_BYTES, _LOCATOR_BYTES = 22, 20
_MAX_LIST_BYTES = 4096


class Imported(NamedTuple):
    """What became of a file."""

    study: StudyRecord
    fresh_runs: int
    """Runs that were not here before."""
    runs: int
    namesakes: int
    """Other studies here of the same name."""


def import_file(store: Store, source: Path | IO[bytes]) -> Imported:
    """Add the study of a file, in one transaction; importing it twice changes nothing.

    Raises:
        StoreError: the file cannot be read, is damaged, too large or not what it says, or contradicts what is here.
        DatabaseTooNewError: a newer Trilemma wrote it.
    """
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            return _import(store, file)
    except OverflowError as error:
        raise _damaged("a number in it is larger than any database takes") from error
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError) as error:
        raise _damaged(f"it is no sound ZIP archive ({error})") from error
    except OSError as error:
        raise StoreError(
            f"{source} cannot be read ({error.strerror}).", "Check the name and its permissions."
        ) from error


def _import(store: Store, file: IO[bytes]) -> Imported:
    _check_end(file)
    with zipfile.ZipFile(file) as archive:
        check(archive)
        study = _whole(archive, STUDY, StudyRecord)
        artifacts = list(_lines(archive, ARTIFACTS, Artifact))
        votes = list(_lines(archive, VOTES, Vote))
        _check_study(study, artifacts, votes)
        runs = sum(1 for _ in _runs(archive, study))  # all of it is sound before anything is written
        fresh = store.add_archived(study, artifacts, _runs(archive, study), votes)
    namesakes = sum(one.spec.name == study.spec.name and one.id != study.id for one in store.studies())
    return Imported(store.study(study.id), fresh, runs, namesakes)


def _check_end(file: IO[bytes]) -> None:
    """See that the file ends as one of ours does, before its list of members is read, however long that is."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _END_BYTES - _LOCATOR_BYTES, 0))
    end = file.read()
    count, listed = struct.unpack("<10xHI6x", end[-_END_BYTES:]) if len(end) >= _END_BYTES else (0, 0)
    if not end[-_END_BYTES:].startswith(b"PK\5\6") or end.startswith(b"PK\6\7"):
        raise _damaged("it does not end as an archive of Trilemma does")
    if count != len(MEMBERS) + 1 or listed > _MAX_LIST_BYTES:
        raise _damaged("it has other members than a study of Trilemma")
    file.seek(0)


def check(archive: zipfile.ZipFile) -> Manifest:
    """See that the archive has just the members that it should have, no larger than they may be and with their hashes.

    Raises:
        StoreError: it has not.
        DatabaseTooNewError: a newer Trilemma wrote it.
    """
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if sorted(names) != sorted((MANIFEST, *MEMBERS)):
        odd = next((name for name in names if name not in (MANIFEST, *MEMBERS)), None)
        what = f"it has a member {odd[:80]!r}" if odd is not None else "members are missing or there twice"
        raise _damaged(f"{what}, and is no study of Trilemma")
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise _damaged(f"unpacked it is larger than {MAX_BYTES >> 30} GiB")
    for info in infos:
        if info.filename in (ARTIFACTS, VOTES) and info.file_size > MAX_LISTS_BYTES:
            raise _damaged(f"{info.filename} is larger than {MAX_LISTS_BYTES >> 20} MiB")
        if info.flag_bits & 0x1:
            raise _damaged("it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _damaged(f"{info.filename} is packed in a way that Trilemma does not use")
        if info.file_size > RATIO_FROM_BYTES and info.file_size > MAX_RATIO * info.compress_size:
            raise _damaged(f"{info.filename} is packed far smaller than measurements can be")
    manifest = _whole(archive, MANIFEST, Manifest)
    if manifest.version > VERSION:
        raise DatabaseTooNewError(
            f"A newer version of Trilemma wrote the file (its format is {manifest.version}, this one knows {VERSION}).",
            "Upgrade Trilemma (pip install -U trilemma).",
        )
    for name in MEMBERS:
        stated = manifest.members.get(name)  # type: ignore[call-overload]
        if stated is None or _digest(archive, name, stated.size) != stated.sha256:
            raise _damaged(f"{name} is not what its manifest says")
    return manifest


def _digest(archive: zipfile.ZipFile, name: str, size: int) -> str:
    """The SHA-256 of a member; empty if it is not of that size."""
    digest, left = hashlib.sha256(), size
    with archive.open(name) as stream:
        while block := stream.read(min(_CHUNK, left + 1)):
            left -= len(block)
            if left < 0:
                return ""
            digest.update(block)
    return digest.hexdigest() if left == 0 else ""


def _whole(archive: zipfile.ZipFile, name: str, model: type[M]) -> M:
    with archive.open(name) as stream:
        data = stream.read(MAX_SMALL_BYTES + 1)
    if len(data) > MAX_SMALL_BYTES:
        raise _damaged(f"{name} is larger than {MAX_SMALL_BYTES >> 20} MiB")
    return _parsed(model, data, name)


def _lines(archive: zipfile.ZipFile, name: str, model: type[M]) -> Iterator[M]:
    most = MAX_LINE_BYTES[name]
    with archive.open(name) as stream:
        number = 0
        while text := stream.readline(most + 1):
            number += 1
            if len(text) > most:
                raise _damaged(f"line {number} of {name} is longer than {most >> 20} MiB")
            if number > MAX_LINES[name]:
                raise _damaged(f"{name} has more than {MAX_LINES[name]:,} lines")
            yield _parsed(model, text, f"line {number} of {name}")


def _parsed(model: type[M], data: bytes, where: str) -> M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:120]
        raise _damaged(f"{where}: {f'{place}: ' if place else ''}{first['msg']}") from error


def _runs(archive: zipfile.ZipFile, study: StudyRecord) -> Iterator[WholeRun]:
    """The runs, each checked for what its type alone does not say."""
    seen: set[str] = set()
    for whole in _lines(archive, RUNS, WholeRun):
        run = whole.run
        _check_id(run.id, "run")
        device = run.spec.device
        if run.id in seen:
            raise _damaged(f"the run {run.id} is there twice")
        if not run.state.final:
            raise _damaged(f"the run {run.id} is not over")
        if run.study_ids != (study.id,):
            raise _damaged(f"the run {run.id} belongs to another study")
        if run.rerun_of is not None and run.rerun_of not in seen:
            raise _damaged(f"the run {run.id} repeats one that does not come before it")
        if device == SAMPLE or device.startswith(IMPORTED) or len(device) > _MAX_DEVICE - len(IMPORTED):
            raise _damaged(f"the run {run.id} is of a device that no run is measured on")
        if device.startswith(TOOL) and IMPORTED_FROM not in run.spec.configuration.settings:
            raise _damaged(f"the run {run.id} does not say which tool it is of")
        ids = (run.spec.configuration.artifact_id, run.spec.configuration.adapter_id, run.spec.reference_id)
        if any(len(one) > 64 for one in ids if one):
            raise _damaged(f"the run {run.id} names an artifact by no hash")
        _check_records(whole)
        seen.add(run.id)
        yield whole


def _check_records(whole: WholeRun) -> None:
    """See that no record is there twice: the database would only say that something contradicts it."""
    keys: dict[str, list[object]] = {
        "phase": [(one.phase, one.subject) for one in whole.phases],
        "request": [(one.workload, one.warmup, one.index) for one in whole.requests],
        "answer": [(one.suite, one.index) for one in whole.answers],
        "figure": [one.key for one in whole.measurements],
    }
    for what, found in keys.items():
        if len(set(found)) < len(found):
            raise _damaged(f"the run {whole.run.id} has a {what} twice")


def _check_study(study: StudyRecord, artifacts: list[Artifact], votes: list[Vote]) -> None:
    _check_id(study.id, "study")
    for vote in votes:
        _check_id(vote.id, "vote")
        if max(len(vote.a_id), len(vote.b_id)) > 32:
            raise _damaged(f"the vote {vote.id} names no configuration")
    if any(artifact.path for artifact in artifacts):
        raise _damaged("an artifact in it names a file")
    for what, ids in (("an artifact", [one.id for one in artifacts]), ("a vote", [one.id for one in votes])):
        if len(set(ids)) < len(ids):
            raise _damaged(f"{what} is there twice")


def _check_id(text: str, what: str) -> None:
    try:
        _ID.validate_python(text)
    except ValidationError as error:
        raise _damaged(f"{text[:40]!r} is no id of a {what}") from error


def _damaged(why: str) -> StoreError:
    return StoreError(f"The file cannot be imported: {why}.", _HINT)
