"""From what an importer read to a study of its own, each run with the file that it came from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from trilemma.catalog.names import clean
from trilemma.errors import InteropError
from trilemma.interop.base import Imported, ImportedRun
from trilemma.records import IMPORTED_FROM, OF_TOOL, RunRecord, StudyRecord, WholeRun, WholeStudy
from trilemma.schema import (
    Artifact,
    Configuration,
    Measurement,
    RunSpec,
    RunState,
    StudySpec,
    content_id,
    utc_now,
)
from trilemma.store import Store

MACHINE = "machine"
_MOST_FIGURES = 2000


class File(NamedTuple):
    """Which file was read, and how."""

    name: str
    sha256: str
    importer: str
    mapping: Mapping[str, str]

    @classmethod
    def of(cls, name: str, data: bytes, importer: str, mapping: Mapping[str, str]) -> File:
        """A file by its name (without folders) and content."""
        short = clean(name.replace("\\", "/").rpartition("/")[2], 120) or "file"
        return cls(short, hashlib.sha256(data).hexdigest(), importer, dict(sorted(mapping.items())))

    @property
    def study_id(self) -> str:
        """The same for the same content, read in the same way."""
        return content_id([self.sha256, self.importer, dict(self.mapping)], 12)


def whole_study(imported: Imported, file: File, name: str = "") -> WholeStudy:
    """A study of what ``imported`` says; ``name`` is the study's, the file's if empty.

    Raises:
        InteropError: a run has more figures than any tool's.
    """
    now = utc_now()
    seen: Counter[str] = Counter()
    artifacts: dict[str, Artifact] = {}
    runs = []
    for index, run in enumerate(imported.runs):
        if len(run.measurements) > _MOST_FIGURES:
            raise InteropError(f"A run of the file has more than {_MOST_FIGURES} figures.", "Give a part of it.")
        artifact = run.artifact or _artifact(run)
        artifacts.setdefault(artifact.id, artifact)
        configuration = Configuration(
            artifact_id=artifact.id, engine=run.engine, settings=_settings(run, imported.tool), profile=run.profile
        )
        spec = RunSpec(
            configuration=configuration,
            repeat=seen[configuration.id],
            device=f"{OF_TOOL}{clean(imported.tool, 40)}",
            engine_version=run.engine_version,
        )
        seen[configuration.id] += 1
        record = RunRecord(
            id=content_id([file.study_id, index], 12),
            study_ids=(file.study_id,),
            spec=spec,
            state=RunState.DONE,
            progress=1.0,
            created_at=now,
            finished_at=run.finished_at,
            log_tail=_log(imported, file),
            disturbed=bool(run.disturbances),
            disturbances=run.disturbances,
            host=run.host,
            engine_info=_facts(run, imported, file, now.isoformat()),
        )
        figures = tuple({one.key: _traced(one, file) for one in run.measurements}.values())
        runs.append(WholeRun(run=record, measurements=figures))
    study = StudySpec(
        name=clean(name, 120) or f"Imported: {file.name}"[:120],
        configurations=tuple({one.run.spec.configuration.id: one.run.spec.configuration for one in runs}.values()),
        repeats=min(100, max(seen.values())),
        rerun_disturbed=False,
    )
    return WholeStudy(
        study=StudyRecord(id=file.study_id, spec=study, created_at=now),
        artifacts=tuple(artifacts.values()),
        runs=tuple(runs),
    )


def add(store: Store, imported: Imported, file: File, name: str = "") -> tuple[StudyRecord, bool]:
    """Add what was read as a study of its own; the same file, read the same way, changes nothing.

    Returns:
        The study, and whether it was added now.
    """
    return store.add_import(whole_study(imported, file, name))


def _artifact(run: ImportedRun) -> Artifact:
    """Weights that are known by name only; the same name and size is the same artifact, in whichever file."""
    words = f"imported\n{run.model}\n{run.quantization}\n{run.size_bytes}\n{run.parameters}"
    return Artifact(
        id=hashlib.sha256(words.encode("utf-8", "replace")).hexdigest(),
        path="",
        model=run.model,
        quantization=run.quantization[:60],
        architecture=run.architecture,
        parameters=run.parameters,
        size_bytes=run.size_bytes,
        bits_per_weight=run.bits_per_weight,
        source="imported",
    )


def _settings(run: ImportedRun, tool: str) -> dict[str, JsonValue]:
    """The file's settings, and what keeps a configuration apart from those measured here and on other machines."""
    added: dict[str, JsonValue] = {IMPORTED_FROM: tool, **({MACHINE: run.machine} if run.machine else {})}
    return {**run.settings, **{name: value for name, value in added.items() if name not in run.settings}}


def _facts(run: ImportedRun, imported: Imported, file: File, now: str) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "imported from": f"{imported.tool} {imported.version}".strip(),
        "file": file.name,
        "file's SHA-256": file.sha256,
        "imported at": now,
    }
    if file.mapping:
        told["mapping"] = {clean(column, 60): target for column, target in file.mapping.items()}
    earlier = {name: value for name, value in run.facts.items() if name not in told}
    before = {f"before: {name}": value for name, value in run.facts.items() if name in told and name != "imported at"}
    return {**told, **earlier, **before}


def _log(imported: Imported, file: File) -> str:
    """What stands where a measured run has its log."""
    lines = [f"Imported from {file.name} ({imported.tool} {imported.version}); nothing of it was measured here."]
    if imported.left_out:
        lines += ["", "Left out:", *(f"- {one.what}: {one.why}" for one in imported.left_out[:200])]
    return "\n".join(lines)


def _traced(one: Measurement, file: File) -> Measurement:
    """With the file in its source, unless it already names another file."""
    source = one.provenance.source
    if "sha256" in source:
        return one
    traced = f"{source}, {file.name}, sha256 {file.sha256[:12]}"[:255]
    return one.model_copy(update={"provenance": one.provenance.model_copy(update={"source": traced})})
