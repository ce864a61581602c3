"""Files of questions: read row by row, every problem with its row, and kept under their hash.

CSV with a line of names at its top, or one JSON object a line:

``question``   what is asked
``answer``     what is expected, as its scoring wants it; in JSON a list of several right ones too
``scoring``    how the answer is scored, one of :data:`trilemma.suites.custom.question.SCORINGS`
``choices``    for ``choice``: a list, in CSV separated by ``|``
``schema``     for ``json_schema``: a JSON schema
``tolerance``  for ``numeric``: how far off the answer may be
``system``     what the model is told beforehand

Whatever the texts hold (formulas of a spreadsheet, markup, zero bytes, marks that turn the reading direction) is data
and stays as it is: it is for who shows it to show it harmlessly.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from trilemma import kept_files
from trilemma.catalog.names import clean
from trilemma.errors import StudyError, SuiteDataError
from trilemma.suites.custom.question import Question, Scoring, from_csv
from trilemma.suites.custom.schemas import parsed

MAX_BYTES = 20 * 2**20
MAX_ROWS = 20_000
MAX_PROBLEMS = 100
COLUMNS = ("question", "answer", "scoring", "choices", "schema", "tolerance", "system")
_MAX_COLUMNS = 100
_MAX_FIELD = 131_072
"""Characters; the limit of the module csv is one of the whole process, and not this file's to set."""
_SUFFIX = ".questions"
_NOT_UTF8 = "Save it as UTF-8 (in Excel: CSV UTF-8)."


class Problem(NamedTuple):
    """What is wrong in a row, 0 for the whole file, and what to do."""

    row: int
    text: str
    remedy: str

    def __str__(self) -> str:
        where = f"Row {self.row}: " if self.row else ""
        return f"{where}{self.text}. {self.remedy}"


class Sheet(NamedTuple):
    """What a file holds: the rows that can be asked, what is wrong with the others, and columns that are not used."""

    questions: tuple[Question, ...]
    problems: tuple[Problem, ...]
    unused: tuple[str, ...] = ()


class _UnreadableError(Exception):
    def __init__(self, row: int, text: str, remedy: str) -> None:
        super().__init__(text)
        self.problem = Problem(row, text, remedy)


def read(data: bytes, scoring: Scoring = "exact") -> Sheet:
    """All rows of a file, and every problem of it up to :data:`MAX_PROBLEMS`; never raises for what it holds.

    Args:
        data: The file.
        scoring: For rows that do not say how they are scored.
    """
    questions: list[Question] = []
    problems: list[Problem] = []
    unused: dict[str, None] = {}
    try:
        text = _text(data)
        rows = _json_rows(text) if text.lstrip()[:1] in ("{", "[") else _csv_rows(text)
        for count, (number, values) in enumerate(rows, 1):
            if count > MAX_ROWS:
                raise _UnreadableError(number, f"there are more than {MAX_ROWS:,} rows", "Use a part of the file.")
            if isinstance(values, Problem):
                problems.append(values)
            else:
                if len(unused) < _MAX_COLUMNS:
                    unused.update(dict.fromkeys(clean(name, 80) for name in values if name not in COLUMNS))
                made = _question(number, values, scoring)
                (problems if isinstance(made, Problem) else questions).append(made)  # type: ignore[arg-type]
            if len(problems) == MAX_PROBLEMS:
                raise _UnreadableError(number, "reading ends here after so many problems", "Mend those above first.")
    except _UnreadableError as error:
        problems.append(error.problem)
    if not questions and not problems:
        problems.append(Problem(0, "The file has no question", "Give it one row at least below the names of columns."))
    return Sheet(tuple(questions), tuple(problems), tuple(unused))


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _UnreadableError(0, f"The file is larger than {MAX_BYTES >> 20} MiB", "Use a part of it.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _UnreadableError(0, "The file is in UTF-16", _NOT_UTF8)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(row, f"the byte 0x{data[error.start]:02x} is no UTF-8", _NOT_UTF8) from error


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    # Not splitlines: a text in JSON may hold U+2028 and its like, which end no line of the file.
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        if not line.strip():
            continue
        try:
            values = parsed(line)
        except ValueError as error:
            yield number, Problem(number, f"no JSON ({str(error)[:100]})", "Write one JSON object in each line.")
            continue
        if not isinstance(values, dict):
            yield number, Problem(number, "no JSON object", "Write one JSON object in each line, and no list.")
            continue
        yield number, values


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    lines = io.StringIO(text, newline="")
    first = lines.readline(_MAX_FIELD)
    lines.seek(0)
    reader = csv.reader(lines, delimiter=max(",;\t", key=first.count), strict=True)
    names: list[str] = []
    begins = 1
    try:
        for row in reader:
            if any(len(field) > _MAX_FIELD for field in row):
                raise csv.Error(f"field larger than {_MAX_FIELD:,} characters")
            number, begins = begins, reader.line_num + 1
            if not any(field.strip() for field in row):
                continue
            if not names:
                names = _names(row, number)
            elif len(row) > len(names):
                yield (
                    number,
                    Problem(
                        number,
                        f"{len(row)} fields, but {len(names)} columns",
                        "Put a field that holds the separator into double quotes.",
                    ),
                )
            else:
                yield number, from_csv(dict(zip(names, row, strict=False)))
    except csv.Error as error:
        raise _UnreadableError(begins, f"no CSV ({error})", "Look for a double quote that is not closed.") from error


def _names(row: Sequence[str], number: int) -> list[str]:
    names = [name.strip().lower() for name in row]
    remedy = f"The first line holds the names of the columns: {', '.join(COLUMNS)}."
    if "question" not in names:
        raise _UnreadableError(number, "there is no column named question", remedy)
    if len(names) > _MAX_COLUMNS:
        raise _UnreadableError(number, f"there are more than {_MAX_COLUMNS} columns", "Remove those that are not used.")
    if twice := next((name for name in COLUMNS if names.count(name) > 1), ""):
        raise _UnreadableError(number, f"the column {twice} is there twice", "Remove one.")
    return names


def _question(number: int, values: Mapping[str, Any], scoring: Scoring) -> Question | Problem:
    fields = {name: values[name] for name in COLUMNS if values.get(name) not in (None, "")}
    if isinstance(fields.get("scoring"), str):
        fields["scoring"] = fields["scoring"].strip().lower()
    try:
        return Question.model_validate({"scoring": scoring, **fields, "row": number})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        return Problem(number, f"{where}: {what}" if where else what, "Mend the row.")
    except RecursionError:
        return Problem(number, "a field is nested too deeply", "Mend the row.")


def checked(data: bytes, scoring: Scoring = "exact") -> tuple[Question, ...]:
    """The questions of a file in which nothing is wrong.

    Raises:
        SuiteDataError: something is; the message names the first problem's row and says how many there are.
    """
    sheet = read(data, scoring)
    if sheet.problems:
        more = len(sheet.problems) - 1
        told = f" There {'is 1 more problem' if more == 1 else f'are {more} more problems'}." if more else ""
        first = sheet.problems[0]
        place = f"Row {first.row}: " if first.row else ""
        raise SuiteDataError(f"{place}{first.text}.{told}", first.remedy)
    return sheet.questions


def add(folder: Path, data: bytes, scoring: Scoring = "exact") -> str:
    """Check a file and keep it in ``folder`` under its SHA-256, which is returned.

    Raises:
        SuiteDataError: as :func:`checked`.
        StudyError: it cannot be written.
    """
    checked(data, scoring)
    try:
        return kept_files.keep(folder, _SUFFIX, data)
    except OSError as error:
        raise StudyError(
            f"The questions cannot be kept in {folder} ({error.strerror}).", "Check its permissions."
        ) from error


def content(folder: Path, digest: str) -> bytes:
    """The file that :func:`add` kept.

    Raises:
        SuiteDataError: it is gone or was changed.
    """
    try:
        data = kept_files.read(folder, _SUFFIX, digest)
    except OSError as error:
        raise SuiteDataError(
            f"The questions {digest[:12]} are not in {folder}.", "Add the file with `trilemma questions add`."
        ) from error
    except kept_files.ChangedError:
        raise SuiteDataError(
            f"The questions {digest[:12]} were changed.", "Add the file again with `trilemma questions add`."
        ) from None
    return data


def find(folder: Path, beginning: str) -> str:
    """The digest that begins so.

    Raises:
        StudyError: none or several do.
    """
    hits = kept_files.beginning_with(folder, _SUFFIX, beginning)
    if len(hits) != 1:
        found = "Several files of questions begin" if hits else "No file of questions begins"
        raise StudyError(f"{found} with {beginning[:64]!r}.", "`trilemma questions list` lists them.")
    return hits[0]


def known(folder: Path) -> Sequence[str]:
    """The digests of the files in ``folder``."""
    return kept_files.known(folder, _SUFFIX)
