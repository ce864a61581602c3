"""Any table of results: CSV whose columns the user says the meaning of.

A mapping gives a column a target::

    model, quantization, engine, engine_version, machine     what the run is of
    setting:NAME                                             a setting that tells configurations apart
    FIGURE[.STATISTIC][@SUBJECT] [UNIT]                      a figure, such as "ttft_s.median@chat [ms]"
    low:KEY [UNIT], high:KEY [UNIT], n:KEY                   the ends of its 95 % interval, how much is behind it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

from pydantic import JsonValue

from trilemma.catalog.names import clean
from trilemma.errors import InteropError
from trilemma.figures import FIGURES
from trilemma.interop.base import MAX_RUNS, NOT_STATED, Given, Imported, ImportedRun, LeftOut, once
from trilemma.interop.figures import Source
from trilemma.interop.reading import csv_rows, number_of
from trilemma.interop.units import factor
from trilemma.schema import Measurement, split_key

NAMES = ("model", "quantization", "engine", "engine_version", "machine")
_SETTING = "setting:"
_TARGET = re.compile(
    r"^(?:(?P<part>low|high|n):)?(?P<key>[a-z0-9_]+(?:\.[^@\[\]]+)?(?:@[^\[\]]+)?)\s*(?:\[(?P<unit>[^\]]*)\])?$"
)
_MOST_CHARS = 200


class Target(NamedTuple):
    """What a figure's column is: which figure, which part of it, and what its numbers are multiplied with."""

    key: str
    part: str
    factor: float


def parse_mapping(texts: Iterable[str]) -> dict[str, str]:
    """``column=target`` each, by column; the last equals sign divides.

    Raises:
        InteropError: one has no equals sign, or a target is unknown.
    """
    found = {}
    for text in texts:
        column, sign, target = text.rpartition("=")
        if not sign or not column.strip() or not target.strip():
            raise InteropError(f"{clean(text, 60)!r} is no mapping.", "Write it as column=figure.")
        found[column.strip()] = target.strip()
    return checked_mapping(found)


def checked_mapping(mapping: dict[str, str]) -> dict[str, str]:
    """``mapping``, if all of its targets can be, each for one column.

    Raises:
        InteropError: one is unknown, or two columns have the same.
    """
    columns: dict[object, str] = {}
    for column, target in mapping.items():
        named = target in NAMES or target.startswith(_SETTING)
        other = columns.setdefault(_setting(target) if named else read_target(target)[:2], column)
        if other != column:
            raise InteropError(
                f"Two columns mean {clean(target, 60)!r}: {clean(other, 60)!r} and {clean(column, 60)!r}.",
                "Give each a meaning of its own, or leave one out.",
            )
    return mapping


def _setting(target: str) -> str:
    """A name's target as it is, a setting's with its name cleaned."""
    return target if target in NAMES else _SETTING + (clean(target.removeprefix(_SETTING), 60) or "setting")


def sufficient(mapping: Mapping[str, str]) -> bool:
    """Whether a mapping names a model and a figure."""
    targets = mapping.values()
    return "model" in targets and any(one not in NAMES and not one.startswith(_SETTING) for one in targets)


def read_target(text: str) -> Target:
    """A figure's target out of its text.

    Raises:
        InteropError: there is no such figure, or it is never in that unit.
    """
    match = _TARGET.match(text.strip()) if len(text) <= _MOST_CHARS else None
    name, subject, statistic = split_key(match["key"].strip()) if match else ("", "", "")
    if match is None or name not in FIGURES:
        raise InteropError(
            f"{clean(text, 60)!r} is nothing that a column can be.",
            f"Say one of {', '.join(NAMES)}, setting:NAME, or a figure such as ttft_s.median@chat [ms].",
        )
    key = name + (f".{clean(statistic, 60)}" if statistic else "") + (f"@{clean(subject, 120)}" if subject else "")
    part = match["part"] or "value"
    unit = None if match["unit"] is None else match["unit"].strip()
    return Target(key, part, 1.0 if part == "n" else factor(name, unit))


class CsvTable:
    """A CSV file with a mapping of its columns; each row is a run."""

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "CSV with a mapping of columns"

    def sniff(self, head: bytes) -> bool:
        """Never: what the columns of a table mean only the user can say."""
        return False

    def read(self, given: Given) -> Imported:
        """A run for each row that has a model and a figure.

        Raises:
            InteropError: it is no CSV, there is no mapping, or nothing in it can be taken.
        """
        rows = csv_rows(given.data)
        columns = list(rows[0])
        if not given.mapping:
            raise InteropError(
                f"What its columns mean has to be said: {', '.join(clean(one, 40) for one in columns[:20])}.",
                "Give at least --map COLUMN=model and --map COLUMN=FIGURE.",
            )
        unknown = [column for column in given.mapping if column not in columns]
        if unknown:
            raise InteropError(
                f"The file has no column {clean(unknown[0], 60)!r}.",
                f"Its columns: {', '.join(clean(one, 40) for one in columns[:20])}.",
            )
        if "model" not in given.mapping.values():
            raise InteropError("No column says which model a row is of.", "Give --map COLUMN=model.")
        left_out = [
            LeftOut(what=f"column {clean(column, 60)}", why="no target was given for it")
            for column in columns if column not in given.mapping
        ]  # fmt: skip
        runs = []
        for number, row in enumerate(rows, 1):
            run = _run(row, given.mapping, number, left_out)
            if run is None:
                left_out.append(LeftOut(what=f"row {number}", why="it has no model or no figure"))
            else:
                runs.append(run)
        if not runs or len(runs) > MAX_RUNS:
            raise InteropError(
                "No row has a model and a figure." if not runs else f"More than {MAX_RUNS:,} rows have figures.",
                "Check the mapping." if not runs else "Give a part of the file.",
            )
        return Imported(tool=self.name, runs=tuple(runs), left_out=once(left_out))


def _run(
    row: Mapping[str, str], mapping: Mapping[str, str], number: int, left_out: list[LeftOut]
) -> ImportedRun | None:
    names: dict[str, str] = {}
    settings: dict[str, JsonValue] = {}
    cells: dict[str, dict[str, tuple[float, str]]] = {}
    for column, target in mapping.items():
        text = clean(row.get(column, ""))
        if not text:
            continue
        if target in NAMES:
            names[target] = text
        elif target.startswith(_SETTING):
            settings[_setting(target).removeprefix(_SETTING)] = text
        elif (value := number_of(text)) is None:
            left_out.append(LeftOut(what=f"column {clean(column, 60)} in row {number}", why="it is no finite number"))
        else:
            read = read_target(target)
            cells.setdefault(read.key, {})[read.part] = (value * read.factor, clean(column, 60))
    found = [one for key, parts in cells.items() for one in _figure(key, parts, number, left_out)]
    if not found or "model" not in names:
        return None
    return ImportedRun(
        model=names["model"],
        quantization=names.get("quantization", NOT_STATED)[:60],
        engine=names.get("engine", NOT_STATED)[:60],
        engine_version=names.get("engine_version", ""),
        machine=names.get("machine", ""),
        settings=settings,
        measurements=tuple(found),
    )


def _figure(
    key: str, parts: Mapping[str, tuple[float, str]], number: int, left_out: list[LeftOut]
) -> list[Measurement]:
    """A figure with the interval that the row gives; half an interval is none, nor is one without the figure in it."""
    if "value" not in parts:
        return []
    value, column = parts["value"]
    low, high = (parts[end][0] if end in parts else None for end in ("low", "high"))
    if low is None or high is None or not low <= value <= high:
        if low is not None or high is not None:
            why = "one of its ends is missing" if None in (low, high) else "the figure is not between its ends"
            left_out.append(LeftOut(what=f"interval of {key} in row {number}", why=why))
        low = high = None
    name, subject, statistic = split_key(key)
    n = int(parts["n"][0]) if "n" in parts and 0 <= parts["n"][0] < 1e12 else 0
    told = (f"the column {column!r}, as the user mapped it",)
    return Source("csv", "", "").stated(name, value, subject, statistic, n, low=low, high=high, reasons=told)
