"""Which questions are asked: the suites by kind, and what can be set about each."""

from __future__ import annotations

from typing import Any, NamedTuple

import streamlit as st
from pydantic import JsonValue

from pages import shared
from pages.parts.options_form import options_form
from pages.parts.own_questions import own_questions
from trilemma import registry
from trilemma.effort import is_written
from trilemma.errors import TrilemmaError
from trilemma.schema import StoppingRule, SuiteSpec
from trilemma.suites.custom.suite import Own
from trilemma.suites.multiple_choice import MultipleChoice

_FIRST_SUITES = ("hellaswag", "perplexity")
_ITEMS = 100
_MOST_AT_ONCE = 256
_KINDS = {
    "choices": ("Choices", "The likeliest of the given answers counts. Nothing is written, so this is quick."),
    "written": ("Written answers", "The model writes, and every answer is timed and metered while it does."),
    "agents": ("Agents", "Tasks of several steps, done by calling tools; all steps are timed and metered."),
    "other": ("Other tools", "Asked and scored by rules of their own. What that takes is not metered."),
    "text": ("Running text", "How well a text is predicted, and how far that is from the unquantized model."),
}


class _Offer(NamedTuple):
    """A suite as it is offered; without one, why it is not there."""

    name: str
    suite: Any
    available: bool
    about: str
    kind: str

    @property
    def title(self) -> str:
        return shared.plain(self.suite.title if self.suite else self.name)


def choose_suites(seed: int) -> tuple[list[SuiteSpec], bool]:
    """Show all suites; those that are wanted, and whether what was set about them is valid."""
    offers = [_offer(name) for name in registry.names("trilemma.suites")]
    chosen: list[SuiteSpec] = []
    valid = True
    for kind, (title, about) in _KINDS.items():
        of_kind = [offer for offer in offers if offer.kind == kind]
        if not of_kind:
            continue
        st.markdown(f"**{title}**  \n:small[:gray[{about}]]")
        # Your own come last: they take more room than a line.
        for offer in sorted(of_kind, key=lambda one: one.name == Own.name):
            spec, fine = _row(offer, seed)
            valid = valid and fine
            if spec is not None:
                chosen.append(spec)
    if rule := _stopping():
        scored = {offer.name for offer in offers if offer.kind != "text"}
        chosen = [s.model_copy(update={"stopping": rule}) if s.name in scored else s for s in chosen]
    return chosen, valid


def _stopping() -> StoppingRule | None:
    """When suites may end early; None where all items are to be asked."""
    usual = StoppingRule()
    wanted = st.checkbox(
        "Stop a suite when a configuration's place is decided",
        key="stop",
        bind="query-params",
        help="A test that may be looked at after every item compares each configuration with those asked before it. "
        "The first one is asked everything. It saves most in long suites.",
    )
    if not wanted:
        return None
    error, margin = st.columns(2)
    given = error.number_input(
        "Chance that a place is wrong, at most",
        min_value=0.001,
        max_value=0.5,
        value=usual.error,
        step=0.01,
        format="%.3f",
        key="stop_error",
        bind="query-params",
    )
    apart = margin.number_input(
        "Scores that differ by less count as equal",
        min_value=0.0,
        max_value=0.5,
        value=usual.margin,
        step=0.01,
        key="stop_margin",
        bind="query-params",
    )
    return StoppingRule(error=given or usual.error, margin=usual.margin if apart is None else apart)


def _offer(name: str) -> _Offer:
    try:
        suite: Any = registry.load("trilemma.suites", name)()
        available, detail, remedy = suite.availability()
    except (TrilemmaError, ImportError) as error:
        return _Offer(name, None, False, str(error), "choices")
    licence = f" Licence: {suite.licence}." if suite.licence else ""
    about = f"{detail}{licence}" if available else f"{detail} {remedy}"
    return _Offer(name, suite, available or name == Own.name, about, _kind(suite))


def _kind(suite: Any) -> str:
    if is_written(suite.name):
        return "agents" if "success_rate" in suite.figures else "written"
    if isinstance(suite, MultipleChoice):
        return "choices"
    return "other" if "accuracy" in suite.figures else "text"


def _row(offer: _Offer, seed: int) -> tuple[SuiteSpec | None, bool]:
    """One suite; None where it is not wanted, and whether all that was set about it is valid."""
    row = st.container(horizontal=True, vertical_alignment="center")
    wanted = row.checkbox(
        offer.title,
        value=offer.available and offer.name in _FIRST_SUITES,
        key=f"q_{offer.name}",
        bind="query-params",
        disabled=not offer.available,
    )
    if not wanted or not offer.available:
        row.caption(shared.plain(offer.about))
        return None, True
    limit = row.number_input(
        f"Items of {offer.title}",
        min_value=1,
        value=None if offer.name == Own.name else _ITEMS,
        step=1,
        key=f"q_{offer.name}_n",
        bind=shared.bound(f"q_{offer.name}_n"),
        placeholder="all items",
        label_visibility="collapsed",
        width=140,
    )
    if limit:
        row.caption("items", width="content")
    needed = _needed_options(offer, row)
    options, at_once, valid = _options(offer, row, tuple(needed))
    row.caption(shared.plain(offer.about))
    if not all(needed.values()):
        row.caption("left out until that is filled in")
        return None, True
    options |= needed
    if offer.name == Own.name:
        digest = own_questions(str(options.get("scoring", "exact")))
        if not digest:
            return None, False
        options["file"] = digest
    if not valid:
        st.caption(f":red[:material/error: An option of {offer.title} needs mending.]")
        return None, False
    spec = SuiteSpec(
        name=offer.name, limit=int(limit) if limit else None, seed=seed, concurrency=at_once, options=options
    )
    return spec, True


def _needed_options(offer: _Offer, row: Any) -> dict[str, str]:
    """What a suite cannot do without: its options that have no default, as text; empty until they are filled in."""
    fields = getattr(getattr(offer.suite, "options_type", None), "model_fields", {})
    return {
        option: row.text_input(
            field.title or option,
            key=f"q_{offer.name}_{option}",
            bind="query-params",
            max_chars=150,
            placeholder=field.title or option,
            label_visibility="collapsed",
        ).strip()
        for option, field in fields.items()
        if field.is_required() and offer.name != Own.name
    }


def _options(offer: _Offer, row: Any, elsewhere: tuple[str, ...]) -> tuple[dict[str, JsonValue], int, bool]:
    """The suite's own options and how many answers are written at once, behind a button where there is any to set."""
    written, options_type = is_written(offer.name), getattr(offer.suite, "options_type", None)
    if not written and options_type is None:
        return {}, 1, True
    with row.popover("Options", icon=":material/tune:"):
        at_once = _at_once(offer.name) if written else 1
        if options_type is None:
            return {}, at_once, True
        options, valid = options_form(options_type, f"o_{offer.name}", leave_out=("file", *elsewhere))
        return options, at_once, valid


def _at_once(name: str) -> int:
    given = st.number_input(
        "Answers at the same time",
        min_value=1,
        max_value=_MOST_AT_ONCE,
        value=1,
        step=1,
        key=f"q_{name}_users",
        bind=shared.bound(f"q_{name}_users"),
        help="More than one needs an engine that serves several at once: llama.cpp with slots, vLLM, an endpoint.",
    )
    return int(given or 1)
