"""The model's own chat template, rendered in a sandbox: it comes with the weights and is not to be trusted."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from trilemma.engines.base import Message
from trilemma.engines.llama_cpp import template as jinja
from trilemma.engines.llama_cpp.native import native
from trilemma.errors import EngineError


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
        variables = {
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": True,
            "bos_token": bos,
            "eos_token": eos,
            "tools": None,
            "documents": None,
        }
        text = jinja.render(template, variables)
    except jinja.FAILURES as error:
        try:
            text = _builtin(template, messages)
        except EngineError:
            raise EngineError(
                f"The model's chat template cannot be rendered ({type(error).__name__}: {str(error)[:200]}).",
                "Use a file with a working chat template.",
            ) from error
    if len(text) > jinja.MAX_PROMPT_CHARACTERS:
        raise EngineError(
            f"The model's chat template made a prompt of {len(text)} characters.", "Use a file with another template."
        )
    return text


def _builtin(template: str, messages: Sequence[Message]) -> str:
    """llama.cpp's own rendering, for the templates that it recognises."""
    api = native()
    # Holds the bytes that the C structures point into.
    texts = [tuple(message[part].encode("utf-8", "replace") for part in ("role", "content")) for message in messages]
    name = template.encode("utf-8", "replace")
    chat = (api.llama_chat_message * len(texts))(*(api.llama_chat_message(role, content) for role, content in texts))
    size = 256 + 4 * sum(len(role) + len(content) for role, content in texts)
    for _ in range(2):
        buffer = ctypes.create_string_buffer(size)
        written = api.llama_chat_apply_template(name, chat, len(texts), True, buffer, size)
        if written < 0:
            raise EngineError("llama.cpp does not know the model's chat template.", "Use a file with another template.")
        if written <= size:
            return buffer.raw[:written].decode("utf-8", "replace")
        size = written
    raise EngineError("llama.cpp could not render the model's chat template.", "Use a file with another template.")
