"""Bounded reading of files that nobody vouches for: plain data only, no code, and nothing that unpacks without end."""

from __future__ import annotations

import csv
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trilemma.catalog.names import clean
from trilemma.errors import InteropError

MAX_BYTES = 64 * 2**20
HEAD_BYTES = 64 * 2**10
MAX_COLUMNS = 2000
MAX_ROWS = 100_000
csv.field_size_limit(MAX_BYTES)
"""Of the whole process: no file is larger, and a benchmark's table may hold all values of a run in one cell."""
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET = b"PAR1"

Model = TypeVar("Model", bound="FromTool")

Text = Annotated[str, BeforeValidator(lambda value: clean(value) if isinstance(value, str | int | float) else value)]
"""A text of the file in one line, without control characters and those that change the reading direction."""

Count = Annotated[int, Field(ge=0, lt=1 << 53)]
"""How many of something."""

Real = Annotated[float, Field(ge=-1e15, le=1e15)]
"""A quantity that can be reckoned with; no second, token or speed is beyond it."""

LEAST = 1e-9
"""Shorter than any time that is measured, s."""


class FromTool(BaseModel):
    """Base of what is read of a tool's file: the fields that are used; others are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


def read_file(path: Path) -> bytes:
    """The content of a file, as it is.

    Raises:
        InteropError: it cannot be read, is no file, or is too large.
    """
    try:
        if not path.is_file():
            raise InteropError(f"{clean(path)} is no file.", "Give the path of one file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InteropError(f"{clean(path)} cannot be read ({error.strerror}).", "Check its permissions.") from error
    if len(data) > MAX_BYTES:
        raise InteropError(f"{clean(path)} is larger than {MAX_BYTES >> 20} MiB.", "Give a part of it.")
    return data


def unpacked(data: bytes) -> bytes:
    """``data``, or what it holds if it is gzip; never more than :data:`MAX_BYTES`.

    Raises:
        InteropError: it is too large, empty, damaged, or an archive of another kind.
    """
    if data.startswith(_ZIP) or data.startswith(_PARQUET):
        raise InteropError(
            "Archives and Parquet files are not read.", "Give the tool's own JSON, JSON lines or CSV file."
        )
    if data.startswith(_GZIP):
        try:
            unpacker = zlib.decompressobj(wbits=31)
            data = unpacker.decompress(data, MAX_BYTES + 1)
        except zlib.error as error:
            raise InteropError(f"The file is damaged ({error}).", "Get it again.") from error
        if len(data) <= MAX_BYTES and not unpacker.eof:
            raise InteropError("The packed file ends too early.", "Get it again.")
    if len(data) > MAX_BYTES:
        raise InteropError(f"The file holds more than {MAX_BYTES >> 20} MiB.", "Give a part of it.")
    if not data.strip():
        raise InteropError("The file is empty.", "Let the tool write it again.")
    return data


def text_of(data: bytes) -> str:
    """The text of a file.

    Raises:
        InteropError: it is not UTF-8 text.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InteropError(f"The file is not UTF-8 text (byte {error.start}).", "Give the tool's own output.") from None
    if "\0" in text:
        raise InteropError("The file holds NUL characters, which no text has.", "Give the tool's own output.")
    return text


def json_of(data: bytes | str, where: str = "The file") -> Any:
    """A JSON value; what is no finite number (``NaN``, ``Infinity``, ``1e999``) is None.

    Raises:
        InteropError: it is no JSON, or nested too deeply.
    """
    text = data if isinstance(data, str) else text_of(data)
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError:
        raise InteropError(f"{where} is nested too deeply.", "Give the tool's own output.") from None
    except ValueError as error:
        raise InteropError(f"{where} is no JSON ({clean(error, 120)}).", "Give the tool's own output.") from None


def json_lines(data: bytes) -> Iterator[tuple[int, Any]]:
    """The values of JSON lines with their line numbers; empty lines are passed over.

    Raises:
        InteropError: a line is no JSON, or there are too many.
    """
    for number, line in enumerate(text_of(data).split("\n"), 1):
        if number > MAX_ROWS:
            raise InteropError(f"The file has more than {MAX_ROWS:,} lines.", "Give a part of it.")
        if line.strip():
            yield number, json_of(line, f"Line {number}")


def csv_rows(data: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; the separator is what its header uses most: comma, semicolon or tab.

    Raises:
        InteropError: it has no rows, two columns of one name, or too many rows or columns.
    """
    text = text_of(data)
    header = text[: text.find("\n")] if "\n" in text else text
    separator = max(",;\t", key=header.count)
    lines = csv.reader(text.splitlines(keepends=True), delimiter=separator)
    try:
        names = [name.strip() for name in next(lines, [])]
        if len(names) > MAX_COLUMNS or len(set(names)) < len(names):
            raise InteropError("Its header has too many columns, or two of one name.", "Rename or remove columns.")
        rows: list[dict[str, str]] = []
        for cells in lines:
            if len(rows) == MAX_ROWS:
                raise InteropError(f"The file has more than {MAX_ROWS:,} rows.", "Give a part of it.")
            if any(cell.strip() for cell in cells):
                rows.append(dict(zip(names, (cell.strip() for cell in cells), strict=False)))
    except csv.Error as error:
        raise InteropError(f"The file is no CSV ({clean(error, 120)}).", "Write it again.") from None
    if not rows:
        raise InteropError("The file has no rows under its header.", "Give a file with at least one.")
    return rows


def checked(kind: type[Model], value: object, where: str) -> Model:
    """``value`` as a ``kind``.

    Raises:
        InteropError: it is none; the message says where.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InteropError(
            f"{where} is not as the tool writes it: {clean(place, 80)}: {clean(first['msg'], 120)}.",
            "Give the tool's own output, of its current version.",
        ) from None


def object_of(value: object, where: str = "The file") -> Mapping[str, Any]:
    """``value`` if it is a JSON object.

    Raises:
        InteropError: it is not.
    """
    if not isinstance(value, dict):
        raise InteropError(f"{where} is no JSON object.", "Give the tool's own output.")
    return value


def number_of(text: str) -> float | None:
    """A finite number, or None."""
    try:
        return _finite(text)
    except ValueError:
        return None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
