"""``trilemma questions``: files of the user's own questions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, get_args

import typer

from trilemma.access.roles import Action
from trilemma.cli.base import Json, acting, emit_json, err, out, plain, session, table
from trilemma.errors import StudyError, SuiteDataError
from trilemma.suites.custom import file as questions
from trilemma.suites.custom.question import SCORINGS, Question, Scoring

app = typer.Typer(help="Add, list and show files of your own questions.", no_args_is_help=True)

_CHARS = 60
_ScoringOption = Annotated[str, typer.Option("--scoring", help=f"For rows without one: {', '.join(SCORINGS)}.")]


@app.command("list")
def listing(json_: Json = False) -> None:
    """List the files that were added."""
    with session() as (settings, _):
        rows = []
        for digest in questions.known(settings.questions_dir):
            sheet = questions.read(questions.content(settings.questions_dir, digest))
            begins = sheet.questions[0].question[:_CHARS] if sheet.questions else ""
            rows.append({"file": digest, "questions": len(sheet.questions) + len(sheet.problems), "begins": begins})
        if json_:
            emit_json(rows)
            return
        if not rows:
            out.print("There is no file yet. `trilemma questions add FILE` adds one: see docs/user-guide.md.")
            return
        shown = table("file", "questions", "begins with", right=("questions",))
        for row in rows:
            shown.add_row(str(row["file"])[:12], str(row["questions"]), plain(row["begins"]))
        out.print(shown)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="CSV or JSON lines with the column question; see docs/user-guide.md.")],
    scoring: _ScoringOption = "exact",
    json_: Json = False,
) -> None:
    """Check a file of questions and keep it, so that a study can name it: own:file=BEGINNING."""
    with acting() as (settings, guard):
        data, usual = _bytes(file), _scoring(scoring)
        sheet = questions.read(data, usual)
        if sheet.problems:
            _problems(sheet)
        with guard.doing(Action.ADD_FILE, f"questions {file.name}", size_bytes=len(data)):
            digest = questions.add(settings.questions_dir, data, usual)
        if json_:
            emit_json({"file": digest, "questions": len(sheet.questions)})
            return
        out.print(f"Added {digest[:12]}: {_kinds(sheet.questions)}.")
        if sheet.unused:
            out.print(plain(f"Columns that are not used: {', '.join(sheet.unused)}."))
        rule = "" if usual == "exact" else f",scoring={usual}"
        out.print(f"Use it as --suite own:file={digest[:12]}{rule}")


@app.command()
def show(
    file: Annotated[str, typer.Argument(help="A file, or the beginning of the hash of one that was added.")],
    scoring: _ScoringOption = "exact",
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many questions are shown.")] = 10,
    json_: Json = False,
) -> None:
    """Show the questions of a file as they are understood, and what is wrong with it row by row."""
    with session() as (settings, _):
        path = Path(file)
        folder = settings.questions_dir
        data = _bytes(path) if path.is_file() else questions.content(folder, questions.find(folder, file))
        sheet = questions.read(data, _scoring(scoring))
        if json_:
            problems = [problem._asdict() for problem in sheet.problems]
            emit_json({"questions": list(sheet.questions[:rows]), "problems": problems, "unused": list(sheet.unused)})
            return
        shown = table("row", "scoring", "question", "answer", right=("row",))
        for one in sheet.questions[:rows]:
            shown.add_row(str(one.row), one.scoring, plain(_short(one.question)), plain(_short(_wanted(one))))
        out.print(shown)
        out.print(f"{_kinds(sheet.questions)}.")
        _problems(sheet)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > questions.MAX_BYTES:
            raise SuiteDataError(f"{path} is larger than {questions.MAX_BYTES >> 20} MiB.", "Use a part of it.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SuiteDataError(f"{path} cannot be read ({why}).", "Give the path of a file.") from error


def _scoring(name: str) -> Scoring:
    for known in get_args(Scoring):
        if name == known:
            found: Scoring = known
            return found
    raise StudyError(f"There is no scoring {name[:40]!r}.", f"Known: {', '.join(SCORINGS)}.")


def _kinds(asked: tuple[Question, ...]) -> str:
    """``12 questions: 8 exact, 4 numeric``."""
    counts = Counter(one.scoring for one in asked)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{len(asked)} question{'' if len(asked) == 1 else 's'}" + (f": {kinds}" if kinds else "")


def _wanted(question: Question) -> str:
    return question.json_schema if question.scoring == "json_schema" else question.expected


def _short(text: str) -> str:
    folded = " ".join(text[: 4 * _CHARS].split())
    return folded if len(folded) <= _CHARS else f"{folded[: _CHARS - 1]}…"


def _problems(sheet: questions.Sheet) -> None:
    for problem in sheet.problems:
        err.print(plain(problem), soft_wrap=True)
