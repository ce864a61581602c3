"""A suite's own options, checked."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from trilemma.errors import StudyError
from trilemma.schema import SuiteSpec

O = TypeVar("O", bound=BaseModel)  # noqa: E741


def parse_options(options_type: type[O], spec: SuiteSpec, title: str) -> O:
    """The options of ``spec``.

    Raises:
        StudyError: one is unknown or out of range.
    """
    try:
        return options_type.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(options_type.model_fields) or "none"
        raise StudyError(
            f"The option {name!r} of {title} is wrong: {first['msg']}.", f"Its options are: {known}."
        ) from error


def listed(value: Any) -> Any:
    """A list as it comes from the command line: ``512;1024``, or one entry alone; anything else as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(";")]
    return [value] if isinstance(value, int) else value
