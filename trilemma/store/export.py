"""Writes what the store holds as plain files, for other programs.

A folder, or one ZIP archive of it::

    manifest.json                 format, version, the studies, and how many rows each file has
    runs.csv                      one row a run
    measurements.csv              one row a figure of a run
    votes.csv                     one row a blind vote between two answers
    records/<run>/phases.csv      samples.csv, requests.csv, answers.csv: one row each

with ``.jsonl`` (one JSON object a line) or ``.parquet`` in place of ``.csv`` as asked. Times inside a run are
``perf_counter_ns``; units are those of :mod:`trilemma.figures` and :mod:`trilemma.meters.base`.

In CSV a text that begins with ``=``, ``+``, ``-``, ``@`` (full-width ones, too), a tab or a line break gets a leading
apostrophe: spreadsheets would run it as a formula, and texts come from models and files that nobody vouches for. JSON
and Parquet have the text as it is.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trilemma.errors import StoreError
from trilemma.records import SAMPLE
from trilemma.schema import Measurement, utc_now
from trilemma.store import Store
from trilemma.whole_files import written_whole

Format = Literal["csv", "json", "jsonl", "parquet"]
Row = Mapping[str, Any]

SUFFIXES: dict[Format, str] = {"csv": "csv", "json": "jsonl", "jsonl": "jsonl", "parquet": "parquet"}

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP, "CSV Injection"


def export_study(store: Store, study_id: str | None, target: Path | str, fmt: Format = "csv") -> Path:
    """Write one study, or all of the user's own, to ``target``: an archive if its name ends in ``.zip``, else a folder.

    Nothing is left under the final name if it fails, and nothing that exists is overwritten.

    Returns:
        ``target``.

    Raises:
        NotFoundError: there is no such study.
        StoreError: ``target`` exists or cannot be written, or ``fmt`` is unknown.
        DiskFullError: it does not fit.
    """
    if fmt not in SUFFIXES:
        raise StoreError(f"{fmt!r} is not a format to export to.", f"Choose one of: {', '.join(SUFFIXES)}.")
    target = Path(target).expanduser()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise StoreError(f"{target} exists already.", "Choose another name, or move it away.")
    with written_whole(target) as made:
        zipped = target.suffix.lower() == ".zip"
        folder = made.with_name("trilemma") if zipped else made
        folder.mkdir()
        _write(store, study_id, folder, fmt)
        if zipped:
            Path(shutil.make_archive(f"{made}", "zip", made.parent, folder.name)).replace(made)
    return target


def _write(store: Store, study_id: str | None, folder: Path, fmt: Format) -> None:
    own = [study for study in store.studies() if study.id != SAMPLE]
    studies = own if study_id is None else [store.study(study_id)]
    counts: dict[str, int] = {}

    def table(name: str, rows: Sequence[Row]) -> None:
        if rows:
            counts[f"{name}.{SUFFIXES[fmt]}"] = len(rows)
            write_table(folder / f"{name}.{SUFFIXES[fmt]}", rows, fmt)

    runs = store.all_runs() if study_id is None else store.runs(study_id)
    table("runs", [_run_row(run.model_dump(mode="json", exclude={"created_by"})) for run in runs])
    table(
        "measurements",
        [{"run_id": run.id} | _flat(m) for run in runs for m in store.measurements(run.id)],
    )
    votes = [
        {"study_id": study.id} | vote.model_dump(mode="json") for study in studies for vote in store.votes(study.id)
    ]
    table("votes", votes)
    for run in runs:
        # Ids are the store's own; checked all the same, since they become names of folders.
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", run.id):
            raise StoreError(f"The run id {run.id!r} cannot be the name of a folder.")
        inside = f"records/{run.id}"
        table(f"{inside}/phases", [w.model_dump(mode="json") for w in store.phases(run.id)])
        samples = store.samples(run.id)
        table(f"{inside}/samples", [{"time_ns": s.time_ns, "phase": s.phase.value} | s.values for s in samples])
        table(f"{inside}/requests", [r.model_dump(mode="json") for r in store.requests(run.id)])
        table(f"{inside}/answers", [a.model_dump(mode="json") for a in store.answers(run.id)])
    manifest = {
        "format": "trilemma-export",
        "version": 1,
        "created_at": utc_now().isoformat(),
        "studies": [study.model_dump(mode="json", exclude={"created_by"}) for study in studies],
        "artifacts": [a.model_dump(mode="json", exclude={"path"}) for a in store.artifacts()],
        "rows": counts,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _run_row(run: dict[str, Any]) -> dict[str, Any]:
    configuration = run["spec"]["configuration"]
    device = configuration["profile"]
    names = ("artifact_id", "engine", "settings")
    return {
        **run,
        **{name: configuration[name] for name in names},
        "emulated": device and device["name"],
        "repeat": run["spec"]["repeat"],
    }


def _flat(measurement: Measurement) -> dict[str, Any]:
    """The provenance's fields beside the others."""
    own = measurement.model_dump(mode="json", exclude={"key", "provenance"})
    return {"key": measurement.key} | own | measurement.provenance.model_dump(mode="json")


def write_table(path: Path, rows: Sequence[Row], fmt: Format, columns: Sequence[str] = ()) -> None:
    """Write rows as a table; ``columns`` come first, in that order, whether or not a row has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if fmt in ("json", "jsonl"):
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    columns = list(dict.fromkeys((*columns, *(name for row in rows for name in row))))
    if fmt == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([harmless(name) for name in columns])
            writer.writerows(list(_cells(row, columns)) for row in rows)
        return
    import pandas as pd  # noqa: PLC0415  slow to import, and only needed here

    frame = pd.DataFrame({name: [_plain(row.get(name)) for row in rows] for name in columns})
    frame.to_parquet(path, index=False)


def _cells(row: Row, columns: Sequence[str]) -> Iterator[Any]:
    for name in columns:
        value = _plain(row.get(name))
        yield harmless(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def harmless(text: str) -> str:
    """``text`` so that no spreadsheet takes it for a formula; see the top of this module."""
    return f"'{text}" if text.startswith(DANGEROUS) else text
