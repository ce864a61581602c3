"""Jinja for chat templates, which come with the weights and may be anybody's: sandboxed, timed, and short of memory.

Jinja's sandbox keeps a template from reaching out of it. It does not keep one from working for ever, or from filling
the memory: loops nest, texts double, and a filter may pad a text to any width. So a trace function looks at the clock
between the lines of the rendering, on Linux the address space may grow by so much only, and what would keep the
interpreter in one long step (huge powers and products) is refused.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jinja2 import Environment, Template, TemplateError, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import do_round, make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_PROMPT_CHARACTERS = 4_000_000
"""A rendered prompt longer than this is refused before it is tokenised."""
MAX_SECONDS = 5.0
"""CPU time; real templates take milliseconds."""
MAX_BYTES = 512 * 2**20
"""By which the address space may grow meanwhile."""
FAILURES = (
    TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, MemoryError,
    SyntaxError,
)  # fmt: skip
"""What a template that cannot be rendered raises."""

_MAX_BITS = 65_536
"""Of a product of whole numbers."""
_MAX_POWER = 1000
"""Of what is raised to a power, and of the power."""
_BACKWARDS = frozenset({"rfind", "rindex", "rsplit", "rpartition"})
"""Searches that take as many steps as both texts' lengths multiplied; those that go forward do not."""
_MAX_SEARCH = 50_000_000
"""Of both lengths multiplied; some hundredths of a second."""
_UNWANTED_FILTERS = ("urlize", "xmlattr", "striptags", "wordwrap", "pprint", "random")
"""No prompt needs them; most search a text with expressions that may take long."""
# The limit of the address space is the process's, and is put back to what it was.
_TURN = threading.Lock()


def render(source: str, variables: Mapping[str, Any], *, seconds: float = MAX_SECONDS) -> str:
    """The text that a template makes of ``variables``.

    Raises:
        Exception: one of :data:`FAILURES`; of them ``SecurityError`` where it takes too long, and ``MemoryError``
            where it takes too much.
    """
    with _TURN, _short_of_memory(), _timed(seconds):
        return _compiled(source).render(variables)


@functools.lru_cache(maxsize=4)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse products and powers that are larger than any prompt, or than reckoning with them is quick."""
        texts = [len(v) for v in (left, right) if isinstance(v, str | bytes | list | tuple)]
        numbers = [v for v in (left, right) if isinstance(v, int)]
        if operator == "*" and texts and numbers:
            large = texts[0] * abs(numbers[0]) > MAX_PROMPT_CHARACTERS
        elif operator == "*" and len(numbers) == 2:
            large = left.bit_length() + right.bit_length() > _MAX_BITS
        else:
            large = operator == "**" and any(abs(number) > _MAX_POWER for number in numbers)
        if large:
            raise SecurityError(f"too large a result of {operator}")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Refuse what would search long texts backwards: one long step of the interpreter."""
        text = getattr(obj, "__self__", None)
        if isinstance(text, str) and obj.__name__ in _BACKWARDS:
            sought = max((len(one) for one in (*args, *kwargs.values()) if isinstance(one, str)), default=1)
            if len(text) * sought > _MAX_SEARCH:
                raise SecurityError(f"too long a search of {obj.__name__}")
        return super().call(context, obj, *args, **kwargs)


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(str(message))

    def to_json(value: Any, indent: int | None = None, **_: Any) -> str:
        # Not Jinja's own filter, which escapes for HTML.
        return json.dumps(value, ensure_ascii=False, indent=indent)

    def rounded(value: Any, precision: int = 0, method: Any = "common") -> float:
        if abs(precision) > 300:  # ten to that power is worked out
            raise SecurityError("too many digits")
        return do_round(value, precision, method)

    @pass_environment
    def total(environment: Environment, values: Any, attribute: Any = None, start: Any = 0) -> Any:
        if attribute is not None:
            values = map(make_attrgetter(environment, attribute), values)
        values = [start, *values]
        if not all(isinstance(value, int | float) for value in values):
            raise SecurityError("a sum of what are no numbers")  # of lists, all are copied for each
        return sum(values)

    environment.filters["sum"] = total
    environment.filters["tojson"] = to_json
    environment.filters["round"] = rounded
    for name in _UNWANTED_FILTERS:
        del environment.filters[name]
    del environment.globals["lipsum"]
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(str(form))
    return environment


@contextlib.contextmanager
def _timed(seconds: float) -> Iterator[None]:
    """Raises SecurityError out of what runs inside, in this thread, when it has taken so much CPU time."""
    deadline = time.thread_time() + seconds

    def look(_frame: FrameType, _event: str, _argument: object) -> Any:
        if time.thread_time() > deadline:
            raise SecurityError(f"it takes longer than {seconds:g} s")
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _short_of_memory(n_bytes: int = MAX_BYTES) -> Iterator[None]:
    """What runs inside gets MemoryError before it has taken ``n_bytes``; where the system cannot say so, no limit."""
    if sys.platform != "linux":
        yield
        return
    import resource  # noqa: PLC0415 (not on every system)

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + n_bytes
    ends = [wanted, *(one for one in (soft, hard) if one != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(ends), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
