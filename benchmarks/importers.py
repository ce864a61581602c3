"""Does every importer read what its tool writes today, and does what it read go out and come back the same?

Each tool is installed at its newest version into an environment of its own below ``.bench/`` (``--fresh`` installs them
anew) and measures a small model, or a server that sends a token every few milliseconds: how fast anything was is of no
interest. Each file that it wrote has to be known without being told whose it is; figures that the tool states itself
have to be among those imported; and every figure has to come back out of an export, as JSON lines and as CSV, into
another store.

No file is kept in the repository: ``tests/interop/data/`` has its own.
"""

from __future__ import annotations

import argparse
import functools
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from benchmarks.common import BENCH, Limit, main, say
from benchmarks.importers_tools import TOOLS, Here, Made, furnished
from trilemma.errors import TrilemmaError
from trilemma.interop import read_path
from trilemma.interop.studies import add
from trilemma.interop.writing import export_runs
from trilemma.schema import Measurement
from trilemma.store import open_store

KEEP_TO = Limit(at_least=1.0)
LIMITS = {
    f"{name.replace('-', '_')}_{what}": KEEP_TO for name in TOOLS for what in ("figures", "stated", "returned")
}  # fmt: skip
SAME = 1e-9


def imported(made: Made, tool: str, scratch: Path) -> tuple[int, int, int, int]:
    """Figures that were read, those of the tool's own statements that are among them, all its statements, and how many
    figures come back from either kind of export.

    Raises:
        RuntimeError: another importer took it.
        TrilemmaError: it cannot be read.
    """
    found, file = read_path(made.path)
    if file.importer != tool:
        raise RuntimeError(f"{made.path.name} was taken for a file of {file.importer}.")
    figures = [one for run in found.runs for one in run.measurements if one.value is not None]
    agree = sum(any(says(one, key, value) for one in figures) for key, value in made.stated)
    for key, value in made.stated:
        if not any(says(one, key, value) for one in figures):
            say(f"  {made.path.name}: the tool states {key} = {value}, which is not among {[f.key for f in figures]}")
    back = min(returned(made.path, scratch, suffix) for suffix in (".jsonl", ".csv"))
    say(
        f"  {made.path.name}: {found.tool} {found.version}, {len(found.runs)} runs, {len(figures)} figures, {agree} of "
        f"{len(made.stated)} statements, {back} came back; left out: {sorted({one.what for one in found.left_out})}"
    )
    return len(figures), agree, len(made.stated), back


def says(one: Measurement, key: str, value: float) -> bool:
    """Whether a figure is the one that a tool states, whatever it is about."""
    same = one.value is not None and math.isclose(one.value, value, rel_tol=SAME)
    return same and key in (one.key, one.key.partition("@")[0])


def returned(path: Path, scratch: Path, suffix: str) -> int:
    """How many figures of a file are the same after an export and an import into another store."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        out = Path(folder) / f"out{suffix}"
        with open_store(f"sqlite:///{folder}/one.db") as one, open_store(f"sqlite:///{folder}/other.db") as other:
            first, _ = add(one, *read_path(path))
            second, _ = add(other, *read_path(export_runs(one, first.id, out)))
            mine, theirs = one.runs(first.id), other.runs(second.id)
            if [run.spec.configuration for run in mine] != [run.spec.configuration for run in theirs]:
                return 0
            kept = [(one.measurements(a.id), other.measurements(b.id)) for a, b in zip(mine, theirs, strict=True)]
    return sum(left == right and left.value is not None for a, b in kept for left, right in zip(a, b, strict=False))


def of_tool(name: str, make: Callable[[Here], list[Made]], here: Here) -> dict[str, float]:
    """One tool's figures: how many were imported, and which shares of its statements and of them came through."""
    prefix = name.replace("-", "_")
    totals = [0, 0, 0, 0]
    try:
        for made in make(here):
            counts = imported(made, name, here.scratch)
            if not all(counts):
                say(f"  {made.path.name}: nothing of one kind")
                return {f"{prefix}_figures": 0.0}
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
    except (TrilemmaError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"  {name} FAILED: {error}")
        return {}
    figures, agree, stated, back = totals
    return {
        f"{prefix}_figures": figures,
        f"{prefix}_stated": agree / stated if stated else 0.0,
        f"{prefix}_returned": back / figures if figures else 0.0,
    }


def measure(only: Collection[str], fresh: bool) -> Mapping[str, float]:
    """Every tool, one after the other; nothing is timed, so that the machine may be busy."""
    if fresh:
        for name in only or TOOLS:
            shutil.rmtree(BENCH / f"importers-{'vllm' if name.startswith('vllm') else name}", ignore_errors=True)
    figures: dict[str, float] = {}
    with furnished() as here:
        for name, make in TOOLS.items():
            if not only or name in only:
                say(f"{name} ...")
                figures |= of_tool(name, make, here)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importers", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=(), help="some of the tools; the others then fail")
    parser.add_argument("--fresh", action="store_true", help="install the newest versions once more")
    chosen = parser.parse_args()
    main("importers", LIMITS, functools.partial(measure, chosen.only, chosen.fresh))
