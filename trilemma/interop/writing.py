"""A study's runs as one file: JSON lines with a published schema, or CSV or Parquet with a row a figure."""

from __future__ import annotations

from pathlib import Path

from trilemma.errors import InteropError, StoreError
from trilemma.interop.exchange import COLUMNS, RunLine, figure_rows, run_lines
from trilemma.store import Store
from trilemma.store.export import write_table
from trilemma.whole_files import written_whole

SUFFIXES = (".jsonl", ".csv", ".parquet")


def export_runs(store: Store, study_id: str, target: Path) -> Path:
    """Write the finished runs of a study to ``target``, whose suffix says the format; nothing is overwritten.

    Raises:
        NotFoundError: there is no such study.
        InteropError: it has no finished run, or the suffix is none of :data:`SUFFIXES`.
        StoreError: ``target`` exists or cannot be written.
        DiskFullError: it does not fit.
    """
    target = target.expanduser()
    if target.suffix.lower() not in SUFFIXES:
        raise InteropError(
            f"Runs cannot be written to a file ending in {target.suffix!r}.", f"Use {', '.join(SUFFIXES)}."
        )
    if target.exists():
        raise StoreError(f"{target} exists already.", "Choose another name, or move it away.")
    lines = list(run_lines(store, study_id))
    if not lines:
        raise InteropError("The study has no finished run yet.", "Wait until its first run is done.")
    with written_whole(target) as path:
        _write(lines, path, target.suffix.lower())
    return target


def _write(lines: list[RunLine], path: Path, suffix: str) -> None:
    if suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(line.model_dump_json() + "\n" for line in lines)
        return
    rows = [row for line in lines for row in figure_rows(line)]
    write_table(path, rows, "csv" if suffix == ".csv" else "parquet", COLUMNS)
