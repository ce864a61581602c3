"""An answer as HTML: letter for letter, whatever is in it, with what it takes beside it."""

from __future__ import annotations

import html
from typing import NamedTuple

from trilemma.analysis.format import BLANK, format_figure
from trilemma.analysis.text import count_of
from trilemma.charts.palette import theme
from trilemma.schema import Method
from trilemma.tryout.messages import clean
from trilemma.tryout.rounds import Answer, State

HOLLOW = "○"


def text_html(text: str, label: str, *, dark: bool, empty: str = "", newest: bool = False) -> str:
    """A text of anybody's in a box that scrolls by itself.

    Args:
        text: Shown letter for letter; see :func:`trilemma.tryout.messages.clean` for what is left out of it.
        label: What the box is called for those who cannot see it.
        dark: Which theme.
        empty: Shown fainter where there is no text.
        newest: Keep the end of the text in sight, however often it is drawn again, and not its beginning.
    """
    look = theme(dark)
    style = (
        "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;overflow-y:auto;min-height:3rem;"
        f"max-height:24rem;border-left:2px solid {look.line};padding:0 0 0 0.75rem"
    )
    if newest:  # a box that is filled from below is scrolled to its end
        style += ";display:flex;flex-direction:column-reverse"
    inside = html.escape(clean(text)) or f'<span style="color:{look.muted}">{html.escape(empty)}</span>'
    box = f'<div tabindex="0" role="region" aria-label="{html.escape(label)}" style="{style}">'
    return f'{box}<div style="margin-bottom:auto">{inside}</div></div>'


class StudySpeed(NamedTuple):
    """Tokens a second that a study measured with one user, and under which workload."""

    value: float
    subject: str


def answer_html(name: str, answer: Answer, *, colour: str, longest: int, study: StudySpeed | None, dark: bool) -> str:
    """One configuration's column: its name, how far it is, what it takes, and what it has written.

    Args:
        name: The configuration's.
        answer: So far.
        colour: Of the rule above the name.
        longest: Tokens that it may write.
        study: What the study measured; None if it did not.
        dark: Which theme.
    """
    look = theme(dark)
    head = (
        f'<div style="border-top:3px solid {colour};padding-top:0.4rem;margin-bottom:0.35rem">'
        f'<div style="font-weight:650;overflow-wrap:anywhere">{html.escape(name)}</div>'
        f'<div style="color:{look.muted};font-size:0.85rem">{html.escape(state_text(answer, longest))}'
        "</div></div>"
    )
    cells = "".join(_cell(title, value, note, dark) for title, value, note in _figures(answer, study))
    grid = (
        '<div style="display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:0.35rem 0.75rem;'
        f'margin-bottom:0.75rem">{cells}</div>'
    )
    if answer.state is State.FAILED:
        body = (
            f'<div role="alert" style="color:{look.warning};overflow-wrap:anywhere">{html.escape(answer.reason)}</div>'
        )
        body += text_html(answer.text, f"Answer of {name}", dark=dark) if answer.text else ""
    else:
        nothing = "(it wrote nothing)" if answer.state.final else "…"
        writing = answer.state is State.WRITING
        body = text_html(answer.text, f"Answer of {name}", dark=dark, empty=nothing, newest=writing)
    return head + grid + body


def state_text(answer: Answer, longest: int) -> str:
    """How far an answer is, in a few words."""
    words, written = answer.state.value, answer.written
    length = count_of(written.tokens, "token" if written.counted else "piece") if written else ""
    match answer.state:
        case State.WRITING if written and written.counted:
            return f"{words}: {written.tokens:,} of at most {longest:,} tokens"
        case State.WRITING | State.DONE if written:
            return f"{words}: {length}" + (", cut at the limit" if written.ended == "length" else "")
        case State.STOPPED:
            why = f": {answer.reason}" if answer.reason else ""
            return words + (f" after {length}" if length else "") + why
    return words


def _figures(answer: Answer, study: StudySpeed | None) -> list[tuple[str, str, str]]:
    """Title, value and a note of each figure."""
    written, reading = answer.written, answer.reading
    speed = written.decode_tps if written else None
    beside = f"{format_figure(study.value, 'tok/s')} in the study, {study.subject}" if study is not None else ""
    if written and not written.counted:
        beside = "its tokens are not counted"
    loaded = f"loaded in {format_figure(answer.load_s, 's')}" if answer.load_s is not None else ""
    found = [
        ("Speed", format_figure(speed, "tok/s"), beside),
        ("First token", format_figure(written.ttft_s if written else None, "s"), loaded),
    ]
    if reading is None:
        return [*found, ("Memory", BLANK, ""), ("Power", BLANK, "")]
    kind = "resident" if reading.memory_kind == "rss" else ""
    found.append(("Memory", format_figure(reading.memory_bytes, "B"), kind))
    if reading.gpu_memory_bytes is not None:
        found.append(("GPU memory", format_figure(reading.gpu_memory_bytes, "B"), ""))
    hollow = f" {HOLLOW}" if reading.method is Method.MODELLED else ""
    about = "" if reading.power_w is None else "mean" if reading.mean else "now"
    return [*found, ("Power", format_figure(reading.power_w, "W") + hollow, about)]


def _cell(title: str, value: str, note: str, dark: bool) -> str:
    faint = f"color:{theme(dark).muted};font-size:0.8rem"
    return (
        f'<div><div style="{faint}">{html.escape(title)}</div>'
        f'<div style="font-weight:600;font-size:1.1rem">{html.escape(value)}</div>'
        f'<div style="{faint};min-height:1.2rem">{html.escape(note)}</div></div>'
    )
