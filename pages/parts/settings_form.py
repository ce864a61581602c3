"""A form out of the JSON schema of an engine's settings; each setting may take several values."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, Literal

import streamlit as st
from pydantic import BaseModel, JsonValue, ValidationError

from pages import shared

_FIRST = ("threads", "context", "kv_cache_type", "flash_attention")
"""Settings shown at once, where an engine has them; the others stand behind "More settings"."""

NULL_WORD = "none"
NULL_WORDS = {"context": "longest"}
"""What is written for a setting's null where the default is a number; a setting may have a word of its own."""
MAX_COMBINATIONS = 1000
"""Lists multiply, and a link could ask for more than any memory holds."""


def resolved(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The field's own schema, references followed and "or null" made ``nullable``."""
    if "$ref" in field:
        field = {**definitions[field["$ref"].rpartition("/")[2]], **{k: v for k, v in field.items() if k != "$ref"}}
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        rest = {k: v for k, v in field.items() if k != "anyOf"}
        return resolved({**rest, **options[0], "nullable": len(options) < len(field["anyOf"])}, definitions)
    return field


def field_title(name: str, field: dict[str, Any]) -> str:
    """What a field is called on the page."""
    title = str(field.get("title") or name)
    return title.replace("_", " ").capitalize() if title.islower() or title == title.title() else title


def _number(text: str, kind: str) -> int | float:
    return int(text) if kind == "integer" else float(text)


def _chosen(name: str, field: dict[str, Any], prefix: str) -> tuple[list[JsonValue], str]:
    """Show one field; its values (empty: leave the engine's default) and what is wrong with them."""
    key, label, help_text = f"{prefix}_{name}", field_title(name, field), field.get("description")
    default = field.get("default")
    if "enum" in field:
        options = [str(option) for option in field["enum"]]
        label += f" (default {default})" if default is not None else ""
        return list(st.pills(label, options, selection_mode="multi", key=key, bind="query-params", help=help_text)), ""
    if field.get("type") == "boolean":
        label += f" (default {'on' if default else 'off'})"
        values = st.pills(label, ["on", "off"], selection_mode="multi", key=key, bind="query-params", help=help_text)
        return [value == "on" for value in values], ""
    if field.get("type") in ("integer", "number"):
        shown = "automatic" if default is None else f"default {default}"
        # Where the default is a number, "nothing" can only be chosen by its name.
        word = NULL_WORDS.get(name, NULL_WORD) if default is not None and field.get("nullable") else ""
        if word:
            help_text = f"{help_text or ''} Write {word} for no number at all.".strip()
        text = st.text_input(label, key=key, bind="query-params", help=help_text, placeholder=shown)
        parts = [part for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
        try:
            return [
                None if word and part.lower() == word else _number(part, field["type"]) for part in dict.fromkeys(parts)
            ], ""
        except ValueError:
            return [], f"Write numbers separated by commas{f', or {word}' if word else ''}."
    if field.get("type") == "string":
        shown = "automatic" if default is None else f"default {default}"
        # A link that somebody sends must not say which key is used, or whom else the machine asks.
        bind: Literal["query-params"] | None = None if field.get("not_from_links") else "query-params"
        text = st.text_input(label, key=key, bind=bind, help=help_text, placeholder=shown)
        return ([text] if text else []), ""
    return [], ""


def problem_with(settings_type: type[BaseModel], settings: dict[str, JsonValue], field: str = "") -> str:
    """What is wrong with ``settings``, empty if nothing is; with ``field``, what is wrong with that one alone."""
    try:
        settings_type.model_validate(settings)
    except ValidationError as error:
        items = [item for item in error.errors() if not field or item["loc"][:1] == (field,)]
        return "; ".join(dict.fromkeys(item["msg"] for item in items))
    return ""


def settings_form(settings_type: type[BaseModel], prefix: str) -> tuple[list[dict[str, JsonValue]], bool]:
    """Show the settings of an engine, each error beside its field.

    A value that is the default anyway is left out, so that the same configuration is not measured under two names.

    Returns:
        The cross product of all chosen values (one empty dictionary when nothing is chosen), and whether it is valid.
    """
    schema = settings_type.model_json_schema()
    definitions = schema.get("$defs", {})
    fields = {name: resolved(field, definitions) for name, field in schema.get("properties", {}).items()}
    chosen: dict[str, list[JsonValue]] = {}
    valid = True

    def show(names: list[str]) -> None:
        nonlocal valid
        columns = st.columns(2)
        for number, name in enumerate(names):
            with columns[number % 2]:
                values, problem = _chosen(name, fields[name], prefix)
                for value in values:
                    problem = problem or problem_with(settings_type, {name: value})
                if problem:
                    st.caption(f":red[:material/error: {shared.plain(problem)}]")
                    valid = False
                elif values:
                    chosen[name] = values

    first = [name for name in _FIRST if name in fields]
    show(first)
    if rest := [name for name in fields if name not in first]:
        with st.expander("More settings"):
            show(rest)
    if (count := math.prod(map(len, chosen.values()))) > MAX_COMBINATIONS:
        st.caption(
            f":red[:material/error: These settings make {count:,} combinations; {MAX_COMBINATIONS:,} are the most.]"
        )
        return [{}], False
    combinations: list[dict[str, JsonValue]] = []
    for values in product(*chosen.values()):
        settings = dict(zip(chosen, values, strict=True))
        settings = {name: value for name, value in settings.items() if value != fields[name].get("default")}
        if valid and (problem := problem_with(settings_type, settings)):
            st.caption(f":red[:material/error: {shared.plain(problem)}]")
            valid = False
        if settings not in combinations:
            combinations.append(settings)
    return combinations, valid
