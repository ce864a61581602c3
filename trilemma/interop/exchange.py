"""Runs as one file: a JSON object a line (the published format), or a row a figure for tables.

``docs/schemas/run.schema.json`` is made of :class:`RunLine` (``python -m trilemma.interop.exchange``); a test holds the
two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, JsonValue

from trilemma.errors import NotFoundError
from trilemma.figures import FIGURES
from trilemma.records import HostInfo, RunRecord
from trilemma.schema import Artifact, DeviceProfile, Frozen, Measurement
from trilemma.store import Store

FORMAT: Literal["trilemma-run"] = "trilemma-run"
VERSION: Literal[1] = 1


class RunLine(Frozen):
    """A finished run with its figures: one line of an export as JSON lines."""

    format: Literal["trilemma-run"] = FORMAT
    version: Literal[1] = VERSION
    study: str = Field(max_length=120, description="The name of the study that it was exported with.")
    run_id: str = Field(max_length=64)
    artifact: Artifact = Field(description="The weights; its path is left out.")
    adapter: str | None = Field(default=None, description="Name of the LoRA adapter that was applied.")
    engine: str = Field(max_length=64)
    engine_version: str = Field(default="", max_length=200)
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="The engine's settings.")
    profile: DeviceProfile | None = Field(default=None, description="The device that was emulated; none as a rule.")
    repeat: int = Field(ge=0, description="Which repeat of its configuration, from 0.")
    finished_at: datetime | None = None
    disturbances: tuple[str, ...] = Field(default=(), description="What disturbed the machine meanwhile.")
    host: HostInfo | None = Field(default=None, description="The machine; none where the source does not tell it.")
    machine: str = Field(default="", max_length=400, description="The machine in words.")
    facts: dict[str, JsonValue] = Field(default_factory=dict, description="What the engine, or an import, said of it.")
    measurements: tuple[Measurement, ...] = Field(max_length=10_000)


def run_lines(store: Store, study_id: str) -> Iterator[RunLine]:
    """The finished runs of a study.

    Raises:
        NotFoundError: there is no such study.
    """
    study = store.study(study_id)
    for run in store.runs(study_id):
        if run.state.value == "done":
            yield run_line(store, study.spec.name, run)


def run_line(store: Store, study: str, run: RunRecord) -> RunLine:
    """One run; without its weights' path, which names folders of this machine or an address in its network."""
    from trilemma.planning.words import machine_words  # noqa: PLC0415 (imports what only planning needs)

    configuration = run.spec.configuration
    known = store.artifact(configuration.artifact_id)
    settings = dict(configuration.settings)
    machine = settings.get("machine") if run.imported else None
    return RunLine(
        study=study,
        run_id=run.id,
        artifact=known.model_copy(update={"path": ""}),
        adapter=_adapter(store, configuration.adapter_id),
        engine=configuration.engine,
        engine_version=run.engine_version,
        settings=settings,
        profile=configuration.profile,
        repeat=run.spec.repeat,
        finished_at=run.finished_at,
        disturbances=run.disturbances,
        host=run.host,
        machine=str(machine) if machine else machine_words(run.host),
        facts=dict(run.engine_info),
        measurements=tuple(store.measurements(run.id)),
    )


def _adapter(store: Store, adapter_id: str | None) -> str | None:
    if adapter_id is None:
        return None
    try:
        return store.artifact(adapter_id).label
    except NotFoundError:
        return adapter_id[:12]


def figure_rows(line: RunLine) -> Iterator[dict[str, Any]]:
    """A row for each figure of a run, in the columns of the single-file CSV and Parquet."""
    common = {
        "run_id": line.run_id,
        "study": line.study,
        "artifact_id": line.artifact.id,
        "model": line.artifact.model,
        "quantization": line.artifact.quantization,
        "bits_per_weight": line.artifact.bits_per_weight,
        "parameters": line.artifact.parameters,
        "size_bytes": line.artifact.size_bytes,
        "adapter": line.adapter,
        "engine": line.engine,
        "engine_version": line.engine_version,
        "settings": _json(line.settings),
        "profile": None if line.profile is None else line.profile.model_dump_json(),
        "machine": line.machine,
        "repeat": line.repeat,
        "finished_at": None if line.finished_at is None else line.finished_at.isoformat(),
        "disturbances": _json(list(line.disturbances)),
    }
    for one in line.measurements:
        definition = FIGURES.get(one.figure)
        told = one.provenance.model_dump(mode="json") | {"reasons": _json(list(one.provenance.reasons))}
        yield (
            common
            | {
                "key": one.key,
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "n": one.n,
                "unit": definition.unit if definition else "",
                "definition_version": one.definition_version,
            }
            | told
        )


COLUMNS = (
    "run_id", "study", "artifact_id", "model", "quantization", "bits_per_weight", "parameters", "size_bytes",
    "adapter", "engine", "engine_version", "settings", "profile", "machine", "repeat", "finished_at",
    "disturbances", "key", "value", "low", "high", "n", "unit", "definition_version", "method", "source", "scope",
    "idle_subtracted", "window_s", "valid", "reasons",
)  # fmt: skip
"""Of :func:`figure_rows`, in their order."""


def schema() -> Mapping[str, Any]:
    """The JSON schema of a line."""
    made = RunLine.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of Trilemma, one line of an export as JSON lines",
        **{key: value for key, value in made.items() if key != "title"},
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    import sys

    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
