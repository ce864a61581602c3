"""The program in an answer. Every step is one search forward, so that long answers take time in proportion."""

from __future__ import annotations

import ast
import textwrap

_LONGEST = 200_000
"""Characters of an answer that are looked at."""
_FENCES = ("```", "~~~")


def fenced(answer: str) -> str | None:
    """The first fenced block of ``answer``, without its fences; None if there is none.

    A block that is not closed, as when the answer was cut, goes on to the end.
    """
    mark = ""
    lines: list[str] = []
    for line in answer[:_LONGEST].splitlines(keepends=True):
        bare = line.strip()
        if not mark:
            mark = next((fence for fence in _FENCES if bare.startswith(fence)), "")
        elif bare == mark:
            break
        else:
            lines.append(line)
    return textwrap.dedent("".join(lines)) if mark else None


def continued(prompt: str, answer: str) -> str:
    """``prompt``, the beginning of a function, and ``answer`` as what follows it, to the letter."""
    return prompt + answer[:_LONGEST]


def completed(prompt: str, answer: str, name: str) -> str:
    """The program that a chat's ``answer`` makes of ``prompt``, which begins the function ``name``.

    Its first fenced block, or all of it. Where this defines the function anew it follows the prompt, whose imports and
    helpers it may need; else it is the function's body, indented if need be.
    """
    block = fenced(answer)
    code = answer[:_LONGEST] if block is None else block
    if any(line.startswith((f"def {name}(", f"async def {name}(")) for line in code.splitlines()):
        # The prompt ends with the function's description, so that it is whole by itself.
        return f"{prompt.rstrip()}\n\n\n{code}" if _compiles(prompt) else code
    body = code if code.startswith((" ", "\t")) else textwrap.indent(code, "    ")
    return f"{prompt.rstrip()}\n{body}"


def _compiles(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
