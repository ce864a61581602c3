"""The model's own chat template, rendered in a sandbox: it comes with the weights and is not to be trusted."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trilemma.engines.base import Message
from trilemma.engines.llama_cpp.native import native
from trilemma.errors import EngineError

MAX_PROMPT_CHARACTERS = 4_000_000
"""A rendered prompt longer than this is refused before it is tokenised."""


def render(template: str | None, messages: Sequence[Message], *, bos: str, eos: str) -> str:
    """The conversation as one text that ends where the assistant's answer begins.

    Args:
        template: The Jinja template of the GGUF file; None uses ChatML, as llama.cpp does.
        messages: Each with ``role`` and ``content``.
        bos: Text of the start token, which some templates insert.
        eos: Text of the end token.

    Raises:
        EngineError: the template fails and llama.cpp does not know it either.
    """
    if template is None:
        return _builtin("chatml", messages)
    try:
        text = (
            _environment()
            .from_string(template)
            .render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                bos_token=bos,
                eos_token=eos,
                tools=None,
                documents=None,
            )
        )
    except (
        TemplateError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        try:
            text = _builtin(template, messages)
        except EngineError:
            raise EngineError(
                f"The model's chat template cannot be rendered ({type(error).__name__}: {str(error)[:200]}).",
                "Use a file with a working chat template.",
            ) from error
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise EngineError(
            f"The model's chat template made a prompt of {len(text)} characters.", "Use a file with another template."
        )
    return text


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox keeps a template from reaching out; this also keeps one expression from taking all memory."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse products and powers that are larger than any prompt."""
        sizes = [
            len(v) if isinstance(v, str | list | tuple) else abs(v) if isinstance(v, int) else 1 for v in (left, right)
        ]
        repeats = any(isinstance(v, str | list | tuple) for v in (left, right))
        if (operator == "**" and max(sizes) > 1000) or (repeats and sizes[0] * sizes[1] > MAX_PROMPT_CHARACTERS):
            raise SecurityError(f"too large a result of {operator}")
        return super().call_binop(context, operator, left, right)


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(str(message))

    def to_json(value: Any, indent: int | None = None, **_: Any) -> str:
        # Not Jinja's own filter, which escapes for HTML.
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(str(form))
    return environment


def _builtin(template: str, messages: Sequence[Message]) -> str:
    """llama.cpp's own rendering, for the templates that it recognises."""
    api = native()
    # Holds the bytes that the C structures point into.
    texts = [(message["role"].encode(), message["content"].encode()) for message in messages]
    chat = (api.llama_chat_message * len(texts))(*(api.llama_chat_message(role, content) for role, content in texts))
    size = 256 + 4 * sum(len(role) + len(content) for role, content in texts)
    for _ in range(2):
        buffer = ctypes.create_string_buffer(size)
        written = api.llama_chat_apply_template(template.encode(), chat, len(texts), True, buffer, size)
        if written < 0:
            raise EngineError("llama.cpp does not know the model's chat template.", "Use a file with another template.")
        if written <= size:
            return buffer.raw[:written].decode("utf-8", "replace")
        size = written
    raise EngineError("llama.cpp could not render the model's chat template.", "Use a file with another template.")
