"""Regular expressions of a user's file, run on a model's output.

They are RE2's (package ``google-re2``): it takes time linear in the text whatever the expression, where Python's ``re``
can take longer than anybody waits, and no process has to be started and ended to be safe from that. The price is that
it knows neither look-around nor references to groups.
"""

from __future__ import annotations

from typing import Any

import re2

MAX_CHARS = 1000
_MEMORY = 8 << 20


def compiled(pattern: str) -> Any:
    """The expression, ready to search with.

    Raises:
        ValueError: it is no expression that RE2 takes; the message says why.
    """
    if len(pattern) > MAX_CHARS:
        raise ValueError(f"the regular expression is longer than {MAX_CHARS:,} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"the regular expression is not understood ({told})") from error
    except UnicodeEncodeError as error:
        raise ValueError("the regular expression holds half a character") from error


def found(pattern: str, text: str) -> str | None:
    """The first place of ``text`` that matches; None without one.

    Raises:
        ValueError: as :func:`compiled`.
    """
    match = compiled(pattern).search(whole(text))
    return None if match is None else str(match.group(0))


def whole(text: str) -> str:
    """``text`` with a question mark for each half of a surrogate pair, which RE2 cannot be given."""
    return text.encode("utf-8", "replace").decode("utf-8")
