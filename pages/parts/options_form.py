"""A form out of the JSON schema of a suite's options: one value each, and what is the default anyway left out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import streamlit as st
from pydantic import BaseModel, JsonValue

from pages import shared
from pages.parts.settings_form import field_title, problem_with, resolved

_LONG_TEXT = 1000
"""A text that may be longer gets several lines."""


def options_form(
    options_type: type[BaseModel], prefix: str, leave_out: Collection[str] = ()
) -> tuple[dict[str, JsonValue], bool]:
    """Show the options of a suite, each error beside its field.

    Args:
        options_type: The suite's.
        prefix: Of the fields' keys.
        leave_out: Names of options that something else asks for.

    Returns:
        The options that are not the default, and whether they are valid.
    """
    schema = options_type.model_json_schema()
    definitions = schema.get("$defs", {})
    found: dict[str, JsonValue] = {}
    valid = True
    for name, raw in schema.get("properties", {}).items():
        if name in leave_out:
            continue
        field = resolved(raw, definitions)
        value = _value(f"{prefix}_{name}", name, field)
        if value is None or value == field.get("default"):
            continue
        if problem := problem_with(options_type, {name: value}, name):
            st.caption(f":red[:material/error: {shared.plain(problem)}]")
            valid = False
        else:
            found[name] = value
    return found, valid


def _value(key: str, name: str, field: dict[str, Any]) -> JsonValue:
    """What was entered; None where the field was left empty or shows a kind of value that no form has."""
    label, help_text, default = field_title(name, field), field.get("description"), field.get("default")
    kind = field.get("type")
    # A link that somebody sends must not say where a key goes.
    bind: Literal["query-params"] | None = None if field.get("not_from_links") else "query-params"
    if "enum" in field:
        values: dict[str, JsonValue] = {str(option): option for option in field["enum"]}
        index = list(values).index(str(default)) if str(default) in values else None
        chosen = st.selectbox(label, list(values), index=index, key=key, bind=bind, help=help_text)
        return None if chosen is None else values[chosen]
    if kind == "boolean":
        return bool(st.checkbox(label, value=bool(default), key=key, bind=bind, help=help_text))
    if kind in ("integer", "number"):
        number = int if kind == "integer" else float
        given = {"min_value": field.get("minimum"), "max_value": field.get("maximum"), "value": default}
        # Streamlit takes whole numbers or others, but never both in one field.
        alike: dict[str, Any] = {name: None if one is None else number(one) for name, one in given.items()}
        shown = "the suite's own" if default is None else str(default)
        entered = st.number_input(
            label,
            **alike,
            step=1 if kind == "integer" else 0.1,
            key=key,
            bind=bind and shared.bound(key),
            help=help_text,
            placeholder=shown,
        )
        return None if entered is None else number(entered)
    if kind == "array":
        shown = ", ".join(map(str, default or ())) or "none"
        listed = st.text_input(label, key=key, bind=bind, help=help_text, placeholder=shown)
        parts = [part for part in listed.replace(",", " ").split() if part]
        whole = field.get("items", {}).get("type") == "integer" and all(part.isdecimal() for part in parts)
        return [int(part) if whole else part for part in parts] or None
    if kind == "string":
        show = st.text_area if field.get("maxLength", 0) > _LONG_TEXT * 2 else st.text_input
        text = show(
            label,
            key=key,
            bind=bind,
            help=help_text,
            placeholder="automatic" if default is None else str(default),
        )
        return text.strip() or None
    return None
