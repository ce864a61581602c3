"""llama.cpp's log: passed to standard error where it matters, and read for what was allocated and what went wrong.

llama.cpp reports buffer sizes and the reason of a refused file through its log alone, so the log is an interface here.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from trilemma.engines.base import MemorySplit

_DEBUG, _INFO, _WARN, _ERROR, _CONTINUED = 1, 2, 3, 4, 5
_BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+)\s*MiB")
_USEFUL = re.compile(r"buffer size|Flash Attention|arch +=|file (type|size)|n_ctx +=")
_FUNCTION = re.compile(r"^[A-Za-z_~][\w:~]*: ")
_KEPT_LINES = 4000


class LogCapture:
    """The lines that llama.cpp wrote while this was open."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def add(self, level: int, line: str) -> None:
        """Keep a line, up to a bound: a hostile file cannot fill the memory with warnings."""
        if len(self.lines) < _KEPT_LINES:
            self.lines.append((level, line))

    @property
    def errors(self) -> list[str]:
        """Error lines, without the name of the C++ function in front."""
        return [_FUNCTION.sub("", line).strip() for level, line in self.lines if level == _ERROR]

    def reason(self) -> str:
        """Why a file was refused: the loader's own error, else the reader's first; the rest say that loading failed."""
        told = [line for line in self.errors if line and "failed to load model" not in line.lower()]
        specific = [line for line in told if line.startswith("error loading model: ")]
        line = specific[-1] if specific else told[0] if told else "llama.cpp gave no reason"
        return line.removeprefix("error loading model: ")

    def flash_attention(self) -> bool | None:
        """Whether ``auto`` ended as flash attention; None where the log does not say."""
        for _, line in reversed(self.lines):
            if "Flash Attention" in line:
                return "enabled" in line
        return None

    def memory(self) -> MemorySplit:
        """What the log says was allocated, bytes (llama.cpp rounds to 0.01 MiB)."""
        return memory_split([line for _, line in self.lines])


def memory_split(lines: list[str]) -> MemorySplit:
    """Sum llama.cpp's ``... buffer size = ... MiB`` lines.

    Weights and caches may come in several buffers, which add up; a compute buffer that is reserved again replaces the
    one before it.
    """
    sums: dict[str, dict[str, float]] = defaultdict(dict)
    for line in lines:
        found = _BUFFER.search(line)
        if not found:
            continue
        name, kind, size = found[1], found[2], float(found[3]) * 1024 * 1024
        adds = kind in ("model", "KV", "RS")
        sums[kind][name] = sums[kind].get(name, 0.0) * adds + size

    def total(*kinds: str) -> int | None:
        sizes = [size for kind in kinds for size in sums.get(kind, {}).values()]
        return round(sum(sizes)) if sizes else None

    return MemorySplit(
        weights_bytes=total("model"),
        kv_cache_bytes=total("KV", "RS"),
        compute_bytes=total("compute", "output"),
        detail={f"{name} {kind}": round(size) for kind, buffers in sums.items() for name, size in buffers.items()},
    )


_captures: list[LogCapture] = []
_callback: Any = None
_partial = ""
_level = _INFO


def _receive(level: int, text: bytes | None, _user: Any) -> None:
    # An exception must not pass into C; a line that cannot be written is not worth a run.
    global _partial, _level  # noqa: PLW0603
    with contextlib.suppress(Exception):
        if level != _CONTINUED:
            _level = level
        _partial += (text or b"").decode("utf-8", "replace")
        *lines, _partial = _partial.split("\n")
        for line in lines:
            for capture in _captures:
                capture.add(_level, line)
            if _level >= _WARN or (_level == _INFO and _USEFUL.search(line)):
                sys.stderr.write(f"llama.cpp: {line}\n")


def install(native: Any) -> None:
    """Send llama.cpp's log here, in place of llama-cpp-python's own handler; once is enough."""
    global _callback  # noqa: PLW0603
    if _callback is None:
        _callback = native.llama_log_callback(_receive)
        native.llama_log_set(_callback, None)


@contextlib.contextmanager
def capture() -> Iterator[LogCapture]:
    """Collect the lines written inside."""
    captured = LogCapture()
    _captures.append(captured)
    try:
        yield captured
    finally:
        _captures.remove(captured)
