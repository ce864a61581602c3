"""Trilemma's own files: JSON lines of runs, and the CSV of one row a figure. What came from there is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import JsonValue

from trilemma.catalog.names import clean
from trilemma.errors import InteropError
from trilemma.interop.base import Given, Imported, ImportedRun, LeftOut, limited, once
from trilemma.interop.exchange import COLUMNS, FORMAT, VERSION, RunLine
from trilemma.interop.reading import csv_rows, json_lines, json_of, number_of, object_of
from trilemma.records import HostInfo
from trilemma.schema import Artifact, Measurement, Method, Provenance, split_key
from trilemma.store.export import DANGEROUS

TOOL = "trilemma"


class TrilemmaLines:
    """JSON lines that ``trilemma export STUDY FILE.jsonl`` wrote."""

    name: ClassVar[str] = "trilemma-jsonl"
    title: ClassVar[str] = "Trilemma, JSON lines"

    def sniff(self, head: bytes) -> bool:
        """Whether its first line says that it is one of ours."""
        return head.lstrip().startswith(b"{") and f'"{FORMAT}"'.encode() in head.partition(b"\n")[0][:200]

    def read(self, given: Given) -> Imported:
        """A run a line.

        Raises:
            InteropError: a line is not as the published schema says.
        """
        runs, version = [], ""
        for number, value in json_lines(given.data):
            told = object_of(value, f"Line {number}")
            if told.get("version") != VERSION:
                raise InteropError(
                    f"Line {number} has version {clean(told.get('version'), 20)} of the format.", "Upgrade Trilemma."
                )
            line = _checked_line(told, number)
            version = version or (line.host.trilemma if line.host else "")
            runs.append(_run(line))
        return _imported(runs, version)


def _checked_line(told: Mapping[str, Any], number: int) -> RunLine:
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        return RunLine.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = clean(".".join(map(str, first["loc"])), 80)
        raise InteropError(
            f"Line {number} is not as the schema says: {where}: {clean(first['msg'], 120)}.",
            "docs/schemas/run.schema.json says what a line is.",
        ) from None


class TrilemmaTable:
    """The CSV that ``trilemma export STUDY FILE.csv`` wrote: a row a figure."""

    name: ClassVar[str] = "trilemma-csv"
    title: ClassVar[str] = "Trilemma, CSV"

    def sniff(self, head: bytes) -> bool:
        """Whether it begins with our header."""
        return head.lstrip(b"\xef\xbb\xbf").startswith(",".join(COLUMNS).encode())

    def read(self, given: Given) -> Imported:
        """The runs whose figures are in the rows.

        Raises:
            InteropError: a row is not as an export has it.
        """
        rows: dict[str, list[dict[str, str]]] = {}
        for row in csv_rows(given.data):
            if missing := [name for name in COLUMNS if name not in row]:
                raise InteropError(f"The table has no {missing[0]!r} in every row.", "Export the study again.")
            rows.setdefault(row["run_id"], []).append({name: _plain(row[name]) for name in COLUMNS})
        return _imported([_run(_line_of(of_run)) for of_run in rows.values()], "")


def _plain(text: str) -> str:
    """A cell without the apostrophe that an export puts before what spreadsheets would run."""
    return text[1:] if text.startswith("'") and text[1:].startswith(DANGEROUS) else text


def _line_of(rows: list[dict[str, str]]) -> RunLine:
    first = rows[0]
    fields = {
        "study": first["study"],
        "run_id": first["run_id"],
        "artifact": {
            "id": first["artifact_id"],
            "path": "",
            "model": first["model"],
            "quantization": first["quantization"],
            "bits_per_weight": number_of(first["bits_per_weight"] or "0"),
            "parameters": first["parameters"] or 0,
            "size_bytes": first["size_bytes"] or 0,
            "source": TOOL,
        },
        "adapter": first["adapter"] or None,
        "engine": first["engine"],
        "engine_version": first["engine_version"],
        "settings": json_of(first["settings"] or "{}", "A cell of settings"),
        "profile": json_of(first["profile"], "A cell of profile") if first["profile"] else None,
        "machine": first["machine"],
        "repeat": first["repeat"],
        "finished_at": first["finished_at"] or None,
        "disturbances": json_of(first["disturbances"] or "[]", "A cell of disturbances"),
        "measurements": [_measurement(row) for row in rows],
    }
    return _checked_line(fields, 1)


def _measurement(row: Mapping[str, str]) -> dict[str, Any]:
    figure, subject, statistic = split_key(row["key"])
    return {
        "figure": figure,
        "subject": subject,
        "statistic": statistic,
        **{name: number_of(row[name]) if row[name] else None for name in ("value", "low", "high")},
        "n": row["n"] or 0,
        "definition_version": row["definition_version"] or 1,
        "provenance": {
            "method": row["method"],
            "source": row["source"],
            "scope": row["scope"],
            "idle_subtracted": {"True": True, "False": False}.get(row["idle_subtracted"]),
            "window_s": number_of(row["window_s"]) if row["window_s"] else None,
            "valid": row["valid"] == "True",
            "reasons": json_of(row["reasons"] or "[]", "A cell of reasons"),
        },
    }


def _run(line: RunLine) -> ImportedRun:
    settings = {clean(name, 60): _clean_value(value) for name, value in line.settings.items()}
    if line.adapter:
        settings.setdefault("adapter", clean(line.adapter))
    return ImportedRun(
        model=clean(line.artifact.model),
        quantization=clean(line.artifact.quantization, 60),
        engine=clean(line.engine, 60),
        engine_version=clean(line.engine_version),
        settings=settings,
        machine=clean(line.machine, 300),
        artifact=_artifact(line.artifact),
        profile=line.profile,
        host=None if line.host is None else _host(line.host),
        finished_at=line.finished_at,
        disturbances=tuple(clean(one) for one in line.disturbances[:20]),
        facts={clean(name, 60): _clean_value(value) for name, value in list(line.facts.items())[:100]},
        measurements=tuple(_measured_there(one) for one in line.measurements),
    )


def _measured_there(one: Measurement) -> Measurement:
    """As it was, but imported; one that was imported before keeps its source."""
    told = one.provenance
    reasons = tuple(clean(reason, 300) for reason in told.reasons[:20])
    source = clean(told.source, 255)
    if told.method is not Method.IMPORTED:
        source = f"{TOOL}: {source}"[:255]
        reasons = (f"{told.method.value} there", *reasons)
    provenance = Provenance(
        method=Method.IMPORTED, source=source, scope=clean(told.scope), idle_subtracted=told.idle_subtracted,
        window_s=told.window_s, valid=told.valid, reasons=reasons,
    )  # fmt: skip
    names = {name: clean(getattr(one, name), 120) for name in ("figure", "subject", "statistic")}
    return one.model_copy(update=names | {"provenance": provenance})


def _artifact(given: Artifact) -> Artifact:
    """Known by name and hash; where its file is, and what its template says, is not taken from elsewhere."""
    return Artifact(
        id=given.id,
        path="",
        format=given.format if given.format != "endpoint" else "gguf",
        model=clean(given.model),
        quantization=clean(given.quantization, 60),
        architecture=clean(given.architecture, 60),
        parameters=given.parameters,
        context_length=given.context_length,
        size_bytes=given.size_bytes,
        bits_per_weight=given.bits_per_weight,
        licence=None if given.licence is None else clean(given.licence),
        source="imported",
        requantized=given.requantized,
    )


def _host(given: HostInfo) -> HostInfo:
    told = given.model_dump()
    cleaned = {name: clean(value) if isinstance(value, str) else value for name, value in told.items()}
    packages = {clean(name, 60): clean(version, 60) for name, version in list(given.packages.items())[:100]}
    return HostInfo.model_validate(cleaned | {"gpus": tuple(map(clean, given.gpus[:64])), "packages": packages})


def _clean_value(value: JsonValue) -> JsonValue:
    return clean(value) if isinstance(value, str) else value


def _imported(runs: list[ImportedRun], version: str) -> Imported:
    kept = [run for run in runs if run.measurements]
    if not kept:
        raise InteropError("No run of the file has a figure.", "Export a study with finished runs.")
    left_out = (
        [LeftOut(what=f"{len(runs) - len(kept)} runs", why="they have no figures")] if len(kept) < len(runs) else []
    )
    left_out.append(LeftOut(what="samples, requests and answers", why="this file has figures only"))
    return Imported(tool=TOOL, version=version, runs=limited(kept), left_out=once(left_out))
