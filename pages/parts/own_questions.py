"""A file of one's own questions: brought here, looked through row by row, and chosen."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import get_args

import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.access.roles import Action
from trilemma.errors import TrilemmaError
from trilemma.settings import get_settings
from trilemma.suites.custom import file as questions
from trilemma.suites.custom.question import Question, Scoring

_SHOWN = 200
_WITHOUT_SCROLLING = 6
_CHARS = 300
_HELP = (
    "CSV with a line of column names, or one JSON object a line: question, answer, scoring (exact, regex, numeric, "
    "choice, json_schema, judge), choices, schema, tolerance, system. 20 MB at most."
)


def own_questions(scoring: str) -> str:
    """Choose a file that was added, or bring one; its digest, empty until there is one without problems.

    Args:
        scoring: How rows are scored that do not say.
    """
    folder = get_settings().questions_dir
    usual: Scoring = next((kind for kind in get_args(Scoring) if kind == scoring), "exact")
    with st.container(border=True):
        uploaded = st.file_uploader("A file of questions", type=["csv", "jsonl", "ndjson"], key="own_file", help=_HELP)
        try:
            if uploaded is not None:
                data = uploaded.getvalue()
                sheet = _sheet(data, usual)
                _preview(sheet)
                digest = hashlib.sha256(data).hexdigest()
                if not sheet.problems and digest not in questions.known(folder):
                    with entrance.guard().doing(Action.ADD_FILE, f"questions {digest[:12]}", size_bytes=len(data)):
                        questions.add(folder, data, usual)
                return "" if sheet.problems else digest
            digest = _known()
            if not digest:
                st.caption(":red[:material/error: Bring or choose a file of questions, or take the mark off.]")
                return ""
            sheet = _sheet(questions.content(folder, digest), usual)
            _preview(sheet)
            return "" if sheet.problems else digest
        except TrilemmaError as error:
            shared.show_error(error)
            return ""


@st.cache_resource(show_spinner=False, max_entries=2)
def _sheet(data: bytes, usual: Scoring) -> questions.Sheet:
    """The file, read once and not at every click."""
    return questions.read(data, usual)


def _known() -> str:
    """One of the files that were added before."""
    known = questions.known(get_settings().questions_dir)
    if not known:
        return ""
    chosen: str | None = st.selectbox(
        "or one that was added before",
        known,
        key="own_known",
        bind="query-params",
        index=None,
        format_func=_called,
        placeholder="Choose a file",
    )
    return chosen or ""


@st.cache_data(show_spinner=False, max_entries=200)
def _called(digest: str) -> str:
    """``6e253c6302b8: What is the capital ...``."""
    try:
        sheet = questions.read(questions.content(get_settings().questions_dir, digest))
    except TrilemmaError:
        return f"{digest[:12]} (was changed)"
    first = f": {' '.join(sheet.questions[0].question[:60].split())}" if sheet.questions else ""
    return f"{digest[:12]}{first}"


def _preview(sheet: questions.Sheet) -> None:
    """What the file is understood to hold. Tables show texts letter for letter: nothing in them does anything."""
    if sheet.problems:
        st.caption(f":red[:material/error: {_many(sheet)}]")
        st.dataframe(
            [{"row": p.row or None, "problem": p.text, "what to do": p.remedy} for p in sheet.problems],
            hide_index=True,
            column_config={"row": st.column_config.NumberColumn(width="small")},
        )
    if sheet.questions:
        counts = Counter(one.scoring for one in sheet.questions)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        total = len(sheet.questions)
        unused = f" Columns that are not used: {', '.join(sheet.unused)}." if sheet.unused else ""
        st.caption(shared.plain(f"{total:,} question{'' if total == 1 else 's'}: {kinds}.{unused}"))
        lines = [_line(one) for one in sheet.questions[:_SHOWN]]
        st.dataframe(lines, hide_index=True, height="content" if len(lines) <= _WITHOUT_SCROLLING else 240)
        if total > _SHOWN:
            st.caption(f"The first {_SHOWN} are shown.")


def _many(sheet: questions.Sheet) -> str:
    count = len(sheet.problems)
    return (
        f"{count} problem{'' if count == 1 else 's'}: the file can be chosen when "
        f"{'it is' if count == 1 else 'they are'} mended."
    )


def _line(question: Question) -> dict[str, object]:
    wanted = question.json_schema if question.scoring == "json_schema" else question.expected
    return {
        "row": question.row,
        "question": question.question[:_CHARS],
        "answer": wanted[:_CHARS],
        "scoring": question.scoring,
        "choices": " | ".join(question.choices)[:_CHARS],
    }
